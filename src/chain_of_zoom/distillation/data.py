"""Training pairs: a crop of a picture, a degraded copy of it, and a caption.

Examples are not stored: each is a function of the seed, the epoch and its number, so that a run can be resumed and any
example can be made again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np

from chain_of_zoom.distillation.captions import (
    Author,
    Caption,
    CaptionKey,
    Crops,
    Place,
    captions_command,
    read_captions,
)
from chain_of_zoom.distillation.degradation import DEGRADATIONS, SCALE, Degradation, degrade
from chain_of_zoom.errors import BadInputError, MissingError, UsageError
from chain_of_zoom.imaging.decode import peek_size
from chain_of_zoom.imaging.folder import is_file, is_folder, pictures_in
from chain_of_zoom.imaging.images import RGB8, load
from chain_of_zoom.parsing import read_text

Skipped = tuple[str, str]
"""Name of a picture and the reason why it is left out."""


@dataclass(frozen=True)
class Example:
    """Holds one training pair."""

    name: str
    """Name of the picture that the crop is from."""
    sha256: str
    """SHA-256 of the picture's file."""
    hr: RGB8
    """The truth: a crop, uint8, size x size x 3, sRGB."""
    lr: RGB8
    """The crop after the degradation, enlarged back to the same size: uint8, size x size x 3."""
    caption: str
    """Caption of the crop or of the whole picture; empty without a file of captions."""


@dataclass(frozen=True, kw_only=True)
class TrainingSet:
    """Draws examples from pictures. `open_training_set` makes one; it can be sent to other processes."""

    pictures: tuple[tuple[str, Path], ...]
    """Names and paths of the pictures, in order."""
    size: int
    """Side of a crop in pixels; a multiple of 4."""
    stage: Degradation | None
    """The degradation of crops; None leaves them as they are."""
    seed: int
    """Seed of crops and degradations."""
    captions: Mapping[CaptionKey, Caption] | None
    """Captions by what they are about; None without a file of captions."""
    of_crops: bool = False
    """Whether captions are about crops, not about whole pictures."""
    _skipped: dict[str, str] = field(default_factory=dict)
    """Reasons by the names of pictures that are left out."""

    def __len__(self) -> int:
        return len(self.pictures)

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """Pictures left out so far; more join, in this process alone, when a picture proves damaged as it is drawn."""
        return tuple(self._skipped.items())

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks about the set for the user, one sentence each."""
        notes = []
        if self._skipped:
            name, reason = next(iter(self._skipped.items()))
            notes.append(f"pictures skipped: {len(self._skipped)}, the first {name}: {reason}")
        if self.captions is None and self.stage:
            notes.append("no captions: every picture is trained with the empty text")
        return tuple(notes)

    def find_place(self, k: int) -> Place:
        """Return epoch and index of example k of a run: each epoch has the whole set once, in an order of its own."""
        epoch, number = divmod(k, len(self))
        return epoch, int(_permutation(len(self), self.seed, epoch)[number])

    def find_caption(self, place: Place) -> str:
        """Return the caption of an example without making it; of a picture that proves damaged, its own."""
        if self.captions is None:
            return ""
        return self.captions[place if self.of_crops else self.pictures[place[1]][0]].text

    def example(self, index: int, epoch: int) -> Example:
        """Make example `index` (from 0, below the length) of an epoch, a pure function of both and the seed.

        A picture that proves damaged, or has changed since its caption was written, is skipped in favour of the next
        example that has a caption. Raises BadInputError when no picture is left.
        """
        for step in range(len(self)):
            place = epoch, (index + step) % len(self)
            name, path = self.pictures[place[1]]
            if name in self._skipped or (step and self.of_crops and place not in (self.captions or {})):
                continue
            try:
                return self._make(name, path, place)
            except (BadInputError, MissingError) as error:
                self._skipped[name] = str(error)
        raise BadInputError(f"every picture of the set is damaged; the first: {self.notes[0]}")

    def _make(self, name: str, path: Path, place: Place) -> Example:
        """Make an example of this very picture."""
        picture = load(path)
        _check_size(*picture.size, self.size)
        if self.captions is not None:
            caption = self.captions[place if self.of_crops else name]
            if caption.sha256 != picture.sha256:
                raise BadInputError(f"{name} has changed since its caption was written; run coz train captions again")
        rng = np.random.default_rng((self.seed, *place))
        hr = _crop(picture.pixels, self.size, rng)
        lr = degrade(hr, self.stage, rng) if self.stage else hr
        return Example(name=name, sha256=picture.sha256, hr=hr, lr=lr, caption=self.find_caption(place))


def open_training_set(
    source: Path,
    *,
    size: int = 512,
    stage: Degradation | None = "real-esrgan",
    seed: int = 0,
    captions: Path | None = None,
    examples: int = 0,
) -> TrainingSet:
    """Open the pictures of a folder and the folders in it, or of a list, to draw crops of size x size from.

    source: a folder, or a text file with a path on each line, relative to the file; lines that begin with # are
    comments. Only headers of pictures are read; pictures that cannot be read, or have a side below `size`, are skipped.
    captions: a file that `coz train captions` wrote, with a line for each picture, or for the crop of each of the first
    `examples` of a run; without it captions are empty.
    Raises BadInputError when no picture is left or a caption is missing, UsageError for options that make no sense.
    """
    check_options(size, stage, seed)
    paths, skipped = find_usable_pictures(source, size)
    content = None if captions is None else read_captions(captions)
    data = TrainingSet(
        pictures=tuple(paths.items()),
        size=size,
        stage=stage,
        seed=seed,
        captions=None if content is None else content.by_key(),
        of_crops=content is not None and content.author.crops is not None,
        _skipped=skipped,
    )
    if content and captions:
        _require_captions(data, content.author, examples, source, captions)
    return data


def check_options(size: int, stage: str | None, seed: int = 0) -> None:
    """Check options of a training set. Raises UsageError for those that make no sense."""
    if size < SCALE or size % SCALE:
        raise UsageError(f"size {size}; accepted: multiples of {SCALE}; for example 512")
    if stage is not None and stage not in DEGRADATIONS:
        raise UsageError(f"stage {stage!r}; accepted: {', '.join(DEGRADATIONS)}; for example {DEGRADATIONS[0]}")
    if seed < 0:
        raise UsageError(f"seed {seed}; accepted: whole numbers from 0; for example 0")


def find_usable_pictures(source: Path, size: int) -> tuple[dict[str, Path], dict[str, str]]:
    """Find the pictures of a folder or list whose sides are at least `size`.

    Returns their paths by name, and the reasons by the names of all other pictures. Raises BadInputError when no
    picture serves.
    """
    paths: dict[str, Path] = {}
    skipped: dict[str, str] = {}
    for name, path in _list_pictures(source):
        try:
            _check_size(*peek_size(path), size)
        except (BadInputError, MissingError) as error:
            skipped[name] = str(error)
        else:
            paths[name] = path
    if not paths:
        name, reason = next(iter(skipped.items()), (str(source), "it holds no picture"))
        raise BadInputError(
            f"{source} has no picture to train on, {len(skipped)} skipped ({name}: {reason}); accepted: a folder or a "
            f"list of pictures of at least {size}x{size} pixels; check the path or make --size smaller"
        )
    return paths, skipped


def _list_pictures(source: Path) -> Iterable[tuple[str, Path]]:
    """List names and paths of the pictures of a folder or list, in order and without repetitions."""
    if is_folder(source):
        return [(path.relative_to(source).as_posix(), path) for path in pictures_in(source, recursive=True)]
    if source.suffix.lower() != ".txt" or not is_file(source):
        raise BadInputError(
            f"{source}: no folder and no list; accepted: a folder of pictures, or a .txt file with a path on each "
            "line; check the path"
        )
    try:
        lines = read_text(source).splitlines()
    except (OSError, ValueError) as error:
        raise BadInputError(f"{source} cannot be read ({error}); accepted: UTF-8, one path a line") from error
    names = dict.fromkeys(line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#"))
    return [(name, source.parent / name) for name in names]


def _check_size(width: int, height: int, size: int) -> None:
    if min(width, height) < size:
        raise BadInputError(f"{width}x{height} pixels; accepted: at least {size}x{size}")


def _require_captions(data: TrainingSet, author: Author, examples: int, source: Path, path: Path) -> None:
    """Raises BadInputError where captions are of other crops, or some are missing."""
    crops = Crops(size=data.size, seed=data.seed, pictures=len(data))
    keys: Iterable[CaptionKey] = (name for name, _ in data.pictures)
    options = ""
    if author.crops:
        keys = (data.find_place(k) for k in range(examples))
        options = f"--crops {examples} --size {data.size} --seed {data.seed} "
    if author.crops not in (None, crops):
        raise BadInputError(
            f"{path} is about other crops ({author.crops}); accepted: those of the training ({crops}); type, with "
            f"another -o: {captions_command(source, path, options)}"
        )
    missing = [key for key in keys if key not in (data.captions or {})]
    if missing:
        raise BadInputError(
            f"captions missing from {path}: {len(missing)}, the first for {missing[0]}; accepted: one for each; "
            f"type: {captions_command(source, path, options)}"
        )


@lru_cache(maxsize=2)
def _permutation(count: int, seed: int, epoch: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.random.default_rng((seed, epoch, count)).permutation(count)


def _crop(pixels: RGB8, size: int, rng: np.random.Generator) -> RGB8:
    """Cut a random square out of the picture and mirror it in half of the cases."""
    height, width = pixels.shape[:2]
    y, x = int(rng.integers(height - size + 1)), int(rng.integers(width - size + 1))
    crop = pixels[y : y + size, x : x + size]
    return np.ascontiguousarray(crop[:, ::-1] if rng.random() < 0.5 else crop)
