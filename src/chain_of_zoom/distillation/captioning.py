"""Ask a prompter for the captions of a training set once, so that training itself needs no prompter."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from chain_of_zoom.distillation.captions import Author, Caption, read_captions, write_captions
from chain_of_zoom.distillation.data import Skipped, find_usable_pictures
from chain_of_zoom.errors import BadInputError, MissingError, OccupiedError
from chain_of_zoom.imaging.geometry import Size
from chain_of_zoom.imaging.images import RGB8, load, resize, size_of
from chain_of_zoom.prompters.base import PromptContext, Prompter
from chain_of_zoom.prompters.cleaning import clean
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
    earlier = read_captions(out) if out.exists() else None
    if earlier and earlier.author != author:
        raise OccupiedError(
            f"{out} holds captions of {earlier.author.prompter} with other options or weights; accepted: the same "
            "ones; name another file with -o"
        )
    file = CaptionFile(out, author, earlier.by_name() if earlier else {})
    new_count = reused_count = failed_count = 0
    queue: list[tuple[str, str, RGB8]] = []  # name, SHA-256 and pixels of pictures without a caption
    try:
        for name, path in paths.items():
            try:
                if file.reuse(name, file_sha256(path)):
                    reused_count += 1
                else:
                    picture = load(path)
                    queue.append((name, picture.sha256, _reduce(picture.pixels)))
            except (BadInputError, MissingError, OSError) as error:
                skipped[name] = str(error)
                file.lines.pop(name, None)
                failed_count += 1
            if len(queue) == BATCH:
                new_count += file.ask(prompter, queue)
            on_progress(Progress("captions", new_count + reused_count + failed_count, len(paths)))
        new_count += file.ask(prompter, queue)
        file.keep_only(paths)
    finally:
        file.save()
    on_progress(Progress("captions", new_count + reused_count + failed_count, len(paths)))
    empty_count = sum(not line.text for line in file.lines.values())
    return CaptioningResult(new=new_count, reused=reused_count, empty=empty_count, skipped=tuple(skipped.items()))


class CaptionFile:
    """Holds captions by the names of their pictures, and writes them to a file."""

    def __init__(self, out: Path, author: Author, lines: dict[str, Caption]) -> None:
        self.out = out
        self.author = author
        self.lines = lines
        self.texts = {line.sha256: line.text for line in lines.values()}
        self.saved_lines = dict(lines)
        self.saved_at = time.monotonic()

    def reuse(self, name: str, sha256: str) -> bool:
        """Give the picture the caption that its content had before; False when there is none."""
        if sha256 not in self.texts:
            return False
        self.lines[name] = Caption(name=name, sha256=sha256, text=self.texts[sha256])
        return True

    def ask(self, prompter: Prompter, queue: list[tuple[str, str, RGB8]]) -> int:
        """Ask the prompter about the queued pictures and empty the queue; return how many there were."""
        contexts = [PromptContext(states=(pixels,), zoomed=pixels, magnification=1.0) for _, _, pixels in queue]
        texts = prompter(contexts) if contexts else []
        for (name, sha256, _), text in zip(queue, texts, strict=True):
            self.texts[sha256] = clean(text)
            self.reuse(name, sha256)
        queue.clear()
        if time.monotonic() > self.saved_at + SAVE_EVERY:
            self.save()
        return len(texts)

    def keep_only(self, names: dict[str, Path]) -> None:
        """Forget the captions of pictures that are gone, and bring the others into the order of the pictures."""
        self.lines = {name: self.lines[name] for name in names if name in self.lines}

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
