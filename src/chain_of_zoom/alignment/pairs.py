"""Training pairs, a view and its 4x zoom as a prompter is shown them, read from a folder or a JSONL file.

One line of the file is one pair. The layout is the "imagefolder" of the datasets library, with two columns of pictures:
`load_dataset("imagefolder", data_dir="pairs")` gives `parent` and `zoomed`, and all that a line says besides.
"""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Literal

import msgspec

from chain_of_zoom.errors import BadInputError, ChainOfZoomError
from chain_of_zoom.imaging.decode import decode
from chain_of_zoom.imaging.folder import is_folder
from chain_of_zoom.parsing import parse_json
from chain_of_zoom.resources import available_cores

METADATA = "metadata.jsonl"
MAKE = "type: coz align pairs PHOTOS -o pairs"

Split = Literal["train", "held-out"]
Window = tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A view and its zoom. parent, zoomed: picture files, RGB. split: "train", or "held-out" for comparisons.

    photo: what it is of; pairs of one photo are no independent observations. Its own name where the file does not say.
    """

    name: str
    parent: Path
    zoomed: Path
    split: Split
    photo: str = ""


@dataclass(frozen=True)
class Pairs:
    """The pairs that can be used, in the file's order; and those that cannot: (name or line, why)."""

    pairs: tuple[Pair, ...]
    skipped: tuple[tuple[str, str], ...]

    def select(self, split: Split) -> tuple[Pair, ...]:
        """The pairs of one split."""
        return tuple(pair for pair in self.pairs if pair.split == split)


class PairRow(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the file; other keys may stand beside these. Paths: relative, within the file's folder.

    photo, photo_sha256: the file that the pair was made from.
    """

    name: str = ""
    parent_file_name: str
    zoomed_file_name: str
    split: Split = "train"
    photo: str = ""
    photo_sha256: str = ""


class FullPairRow(PairRow, frozen=True, kw_only=True):
    """A line that `coz align pairs` writes.

    origin: "photo" when the parent shows the photo's own pixels, "chain" when a backbone made it, in `depth` steps of
    4x from them. box: of the parent, zoomed_box: of the zoomed view, in pixels of the oriented
    photo. source_scale: pixels of the parent per pixel of the photo.
    """

    origin: Literal["photo", "chain"]
    depth: int
    source_scale: float
    box: Window
    zoomed_box: Window


def read_pairs(source: Path, *, needed: int = 2) -> Pairs:
    """The pairs of a folder that `coz align pairs` wrote, or of any JSONL file of that shape.

    Every picture is decoded, so that training does not meet a bad one hours later; pairs that cannot be read are
    skipped and listed. Raises BadInputError when the file cannot be read, or fewer than `needed` pairs are left.
    """
    file = source / METADATA if is_folder(source) else source
    try:
        lines = file.read_bytes().splitlines()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BadInputError(
            f"{file} cannot be read ({reason}); accepted: a folder with {METADATA}, or a JSONL file with "
            f"parent_file_name and zoomed_file_name in each line; {MAKE}"
        ) from error
    pairs: dict[str, Pair] = {}
    skipped: list[tuple[str, str]] = []
    read = partial(_read, home=file.parent)
    # Decoders let go of Python's lock; each thread sets what becomes of warnings, and this puts it back.
    with warnings.catch_warnings(), ThreadPoolExecutor(available_cores()) as threads:
        for number, found in enumerate(threads.map(read, lines), 1):
            if isinstance(found, Pair) and found.name not in pairs:
                pairs[found.name] = found
            elif isinstance(found, Pair):
                skipped.append((found.name, f"line {number} has the name of another pair"))
            elif found:
                name, why = found
                skipped.append((name or f"line {number}", why))
    if len(pairs) < needed:
        first = f"; the first skipped: {skipped[0][0]}: {skipped[0][1]}" if skipped else ""
        raise BadInputError(
            f"{file} has {len(pairs)} usable pairs of {len(pairs) + len(skipped)}{first}; "
            f"accepted: {needed} or more; {MAKE}"
        )
    return Pairs(tuple(pairs.values()), tuple(skipped))


def _read(line: bytes, home: Path) -> Pair | tuple[str, str] | None:
    """The pair of a line, whose pictures can be decoded; or (its name, why not); None for an empty line."""
    name = ""
    try:
        if not line.strip():
            return None
        row = parse_json(line, PairRow)
        name = row.name or PurePosixPath(row.zoomed_file_name).stem
        files = [_within(home, text) for text in (row.parent_file_name, row.zoomed_file_name)]
        for file in files:
            decode(file)
    except (msgspec.DecodeError, ChainOfZoomError) as error:
        return name, " ".join(str(error).split())
    photo = row.photo_sha256 or row.photo or name
    return Pair(name=name, parent=files[0], zoomed=files[1], split=row.split, photo=photo)


def _within(home: Path, text: str) -> Path:
    """The datasets library refuses other paths, too: a file from elsewhere must not name any file of this machine."""
    path, windows = PurePosixPath(text), PureWindowsPath(text)
    if path.is_absolute() or windows.drive or windows.root or ".." in (*path.parts, *windows.parts) or not path.name:
        raise BadInputError(f"{text[:80]!r} lies outside the folder; accepted: a path relative to it, without ..")
    return home / path
