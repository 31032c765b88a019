"""Ask a prompter for the captions of a training set once, so that training itself needs no prompter."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from chain_of_zoom.distillation.captions import Author, Caption, read_captions, write_captions
from chain_of_zoom.distillation.data import Skipped, usable_pictures
from chain_of_zoom.errors import BadInputError, MissingError, OccupiedError
from chain_of_zoom.imaging.geometry import Size
from chain_of_zoom.imaging.images import RGB8, load, resize, size_of
from chain_of_zoom.prompters.base import PromptContext, Prompter
from chain_of_zoom.prompters.cleaning import clean
from chain_of_zoom.weights.files import file_sha256

BATCH = 8  # pictures shown to the prompter at once
SHORT_SIDE = 512  # of what it is shown, as in a zoom
SAVE_EVERY = 10.0  # seconds

Progress = Callable[[int, int], None]  # pictures done, pictures in all


@dataclass(frozen=True, kw_only=True)
class Captioned:
    """What was done: captions asked for, captions kept from before, empty ones among all, pictures left out."""

    asked: int
    kept: int
    empty: int
    skipped: tuple[Skipped, ...]


def caption_pictures(
    source: Path, out: Path, prompter: Prompter, author: Author, progress: Progress | None = None
) -> Captioned:
    """Write the captions of every readable picture of a folder or list to `out`, and keep those that are there.

    A caption is known by the hash of its picture: moved pictures keep theirs, changed ones get a new one. The file is
    whole at any time, and rewritten every 10 seconds and at the end, also when that is an error or Ctrl-C.
    Raises BadInputError without a readable picture, OccupiedError when `out` is by another author, and what the
    prompter raises.
    """
    paths, skipped = usable_pictures(source, 1)
    before = read_captions(out) if out.exists() else None
    if before and before.author != author:
        raise OccupiedError(
            f"{out} holds captions of {before.author.prompter} with other options or weights; accepted: the same ones; "
            "name another file with -o"
        )
    book = _Book(out, author, {} if before is None else before.by_name())
    asked = kept = done = 0
    waiting: list[tuple[str, str, RGB8]] = []
    try:
        for name, path in paths.items():
            try:
                if book.reuse(name, file_sha256(path)):
                    kept, done = kept + 1, done + 1
                else:
                    picture = load(path)
                    waiting.append((name, picture.sha256, _shown(picture.pixels)))
            except (BadInputError, MissingError, OSError) as error:
                skipped[name] = str(error)
                book.lines.pop(name, None)
                done += 1
            if len(waiting) == BATCH:
                asked += book.ask(prompter, waiting)
            if progress:
                progress(done + asked, len(paths))
        asked += book.ask(prompter, waiting)
        book.keep_only(paths)
    finally:
        book.save()
    if progress:
        progress(done + asked, len(paths))
    empty = sum(not line.text for line in book.lines.values())
    return Captioned(asked=asked, kept=kept, empty=empty, skipped=tuple(skipped.items()))


class _Book:
    """The captions so far, by name, and the file they go into."""

    def __init__(self, out: Path, author: Author, lines: dict[str, Caption]) -> None:
        self.out = out
        self.author = author
        self.lines = lines
        self.texts = {line.sha256: line.text for line in lines.values()}
        self.saved = dict(lines)
        self.saved_at = time.monotonic()

    def reuse(self, name: str, sha256: str) -> bool:
        """Whether the picture has a caption from before, which is then its own."""
        if sha256 not in self.texts:
            return False
        self.lines[name] = Caption(name=name, sha256=sha256, text=self.texts[sha256])
        return True

    def ask(self, prompter: Prompter, waiting: list[tuple[str, str, RGB8]]) -> int:
        """Caption what is waiting, and wait for nothing. The number of captions."""
        contexts = [PromptContext(states=(shown,), zoomed=shown, magnification=1.0) for _, _, shown in waiting]
        texts = prompter(contexts) if contexts else []
        for (name, sha256, _), text in zip(waiting, texts, strict=True):
            self.texts[sha256] = clean(text)
            self.reuse(name, sha256)
        waiting.clear()
        if time.monotonic() > self.saved_at + SAVE_EVERY:
            self.save()
        return len(texts)

    def keep_only(self, names: dict[str, Path]) -> None:
        """Forget the captions of pictures that are no longer there, and sort the others as the pictures are."""
        self.lines = {name: self.lines[name] for name in names if name in self.lines}

    def save(self) -> None:
        """Write the file, if that changes it."""
        if self.lines != self.saved or list(self.lines) != list(self.saved):
            write_captions(self.out, self.author, self.lines.values())
            self.saved = dict(self.lines)
        self.saved_at = time.monotonic()


def _shown(pixels: RGB8) -> RGB8:
    """The whole picture, reduced to a short side of 512."""
    width, height = size_of(pixels)
    short = min(width, height)
    if short <= SHORT_SIDE:
        return pixels
    return resize(pixels, Size(width * SHORT_SIDE // short, height * SHORT_SIDE // short), "lanczos")
