"""Ask a prompter for the captions of a training set once, so that training itself needs no prompter."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import msgspec

from chain_of_zoom.distillation.captions import Author, Caption, Crops, Place, read_captions, write_captions
from chain_of_zoom.distillation.data import Skipped, TrainingSet, find_usable_pictures
from chain_of_zoom.errors import BadInputError, MissingError, OccupiedError
from chain_of_zoom.imaging.geometry import Size
from chain_of_zoom.imaging.images import RGB8, load, resize, size_of
from chain_of_zoom.prompters.base import PromptContext, Prompter
from chain_of_zoom.prompters.cleaning import clean
from chain_of_zoom.resources import available_cores
from chain_of_zoom.runs.ahead import work_ahead
from chain_of_zoom.runs.progress import OnProgress, Progress, ignore_progress
from chain_of_zoom.weights.files import file_sha256

BATCH = 8
"""Pictures that the prompter describes at once."""
SHORT_SIDE = 512
"""Short side in pixels to which pictures are reduced for the prompter, as in a zoom."""
SAVE_EVERY = 10.0
"""Seconds between two versions of the file."""


@dataclass(frozen=True, kw_only=True)
class CaptioningResult:
    """Counts the captions of a finished call."""

    new: int
    """Captions that the prompter wrote in this call."""
    reused: int
    """Captions that were in the file before."""
    empty: int
    """Captions without text, among all."""
    skipped: tuple[Skipped, ...]
    """Pictures left out, with the reasons."""


Question = tuple[Caption, RGB8]
"""A caption without its text, and the pixels that it is to be about."""


def caption_pictures(
    source: Path, out: Path, prompter: Prompter, author: Author, on_progress: OnProgress = ignore_progress
) -> CaptioningResult:
    """Write captions of all readable pictures of a folder or list to `out`; those already there stay.

    A caption belongs to the hash of its picture: moved pictures keep theirs, changed ones get a new one. The file is
    complete at any time; it is rewritten every 10 seconds and at the end, also after an error or Ctrl-C.
    Raises BadInputError without a readable picture, OccupiedError when `out` is by another author, and the errors of
    the prompter.
    """
    paths, skipped = find_usable_pictures(source, 1)
    failures: dict[str, str] = {}

    def read(item: tuple[str, Path]) -> Question | Caption | str:
        name, path = item
        try:
            sha256 = file_sha256(path)
            if sha256 in file.texts:
                return Caption(name=name, sha256=sha256, text=file.texts[sha256])
            picture = load(path)
        except (BadInputError, MissingError, OSError) as error:
            return str(error)
        return Caption(name=name, sha256=picture.sha256, text=""), _reduce(picture.pixels)

    def list_questions() -> Iterator[Question | None]:
        for (name, _), result in work_ahead(read, paths.items(), available_cores()):
            if isinstance(result, Caption):
                file.lines[name] = result
            elif isinstance(result, str):
                failures[name] = result
                file.lines.pop(name, None)
            yield result if isinstance(result, tuple) else None

    with CaptionFile(out, author) as file:
        new = file.answer(list_questions(), len(paths), prompter, on_progress)
        file.keep_only(paths)
    return CaptioningResult(
        new=new,
        reused=len(paths) - len(failures) - new,
        empty=file.count_empty(),
        skipped=tuple((skipped | failures).items()),
    )


def caption_crops(
    data: TrainingSet, count: int, out: Path, prompter: Prompter, author: Author,
    on_progress: OnProgress = ignore_progress,
) -> CaptioningResult:  # fmt: skip
    """Write captions of the very crops that the first `count` examples of a run show, as published, to `out`.

    Those that are there and whose picture is unchanged stay. Files and errors as of `caption_pictures`.
    """
    crops = Crops(size=data.size, seed=data.seed, pictures=len(data))
    paths = dict(data.pictures)
    hash_picture = cache(lambda name: file_sha256(paths[name]))

    def read(place: Place) -> Question | None:
        line = file.lines.get(place)
        if line and line.name in paths and hash_picture(line.name) == line.sha256:
            return None
        example = data.example(place[1], place[0])
        return Caption(name=example.name, sha256=example.sha256, text="", example=place), example.hr

    with CaptionFile(out, msgspec.structs.replace(author, crops=crops)) as file:
        questions = work_ahead(read, map(data.find_place, range(count)), available_cores())
        new = file.answer((question for _, question in questions), count, prompter, on_progress)
    return CaptioningResult(new=new, reused=count - new, empty=file.count_empty(), skipped=data.skipped)


class CaptionFile:
    """Holds captions by what they are about, and writes them to a file, at the latest when it is left.

    Raises OccupiedError when the file is by another author.
    """

    def __init__(self, out: Path, author: Author) -> None:
        earlier = read_captions(out) if out.exists() else None
        if earlier and earlier.author != author:
            raise OccupiedError(
                f"{out} holds captions of {earlier.author.prompter} with other options, weights or crops; accepted: "
                "the same ones; name another file with -o"
            )
        self.out = out
        self.author = author
        self.lines = earlier.by_key() if earlier else {}
        self.texts = {line.sha256: line.text for line in self.lines.values()}
        self.saved_lines = dict(self.lines)
        self.saved_at = time.monotonic()

    def __enter__(self) -> CaptionFile:
        return self

    def __exit__(self, *error: object) -> None:
        self.save()

    def answer(
        self, questions: Iterable[Question | None], count: int, prompter: Prompter, on_progress: OnProgress
    ) -> int:
        """Ask the prompter, several at once; return how many were asked. None: nothing to ask."""
        new = number = 0
        queue: list[Question] = []
        for number, question in enumerate(questions, start=1):
            if question:
                queue.append(question)
            if len(queue) == BATCH:
                new += self._ask(prompter, queue)
            on_progress(Progress("captions", number - len(queue), count))
        new += self._ask(prompter, queue)
        on_progress(Progress("captions", number, count))
        return new

    def _ask(self, prompter: Prompter, queue: list[Question]) -> int:
        """Ask the prompter about the queued pictures and empty the queue; return how many there were."""
        contexts = [PromptContext(states=(pixels,), zoomed=pixels, magnification=1.0) for _, pixels in queue]
        texts = prompter(contexts) if contexts else []
        for (caption, _), text in zip(queue, texts, strict=True):
            self.texts[caption.sha256] = clean(text)
            self.lines[caption.key] = msgspec.structs.replace(caption, text=clean(text))
        queue.clear()
        if time.monotonic() > self.saved_at + SAVE_EVERY:
            self.save()
        return len(texts)

    def keep_only(self, names: dict[str, Path]) -> None:
        """Forget the captions of pictures that are gone, and bring the others into the order of the pictures."""
        self.lines = {name: self.lines[name] for name in names if name in self.lines}

    def count_empty(self) -> int:
        """Count the captions without text."""
        return sum(not line.text for line in self.lines.values())

    def save(self) -> None:
        """Write the file where captions or their order changed."""
        if list(self.lines.items()) != list(self.saved_lines.items()):
            write_captions(self.out, self.author, self.lines.values())
            self.saved_lines = dict(self.lines)
        self.saved_at = time.monotonic()


def _reduce(pixels: RGB8) -> RGB8:
    """Reduce the whole picture to a short side of 512; smaller ones stay."""
    width, height = size_of(pixels)
    short = min(width, height)
    if short <= SHORT_SIDE:
        return pixels
    return resize(pixels, Size(width * SHORT_SIDE // short, height * SHORT_SIDE // short), "lanczos")
