"""Captions of training pictures, which a prompter writes beforehand into a file with a line of JSON for each.

The first line names the prompter. Each line after it holds the name of a picture, the SHA-256 of its file, the caption,
and, where the captions are of crops, the example whose crop it describes.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import msgspec

from chain_of_zoom.errors import BadInputError
from chain_of_zoom.files import write_atomic
from chain_of_zoom.parsing import parse_json

Place = tuple[int, int]
"""Epoch and index of an example."""
CaptionKey = str | Place
"""What a caption is about: a whole picture, by its name, or the crop of an example."""


class Crops(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Says what the crops of a training set depend on."""

    size: int
    """Side of a crop in pixels."""
    seed: int
    """Seed of the set."""
    pictures: int
    """Number of pictures in the set."""

    def __str__(self) -> str:
        return f"{self.pictures} pictures, {self.size} px, seed {self.seed}"


class Author(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Identifies the prompter that wrote a file of captions; captions of different authors are not mixed."""

    version: Literal[1] = 1
    """Version of the file format."""
    prompter: str
    """Name of the prompter."""
    options: dict[str, Any] = {}
    """Options of the prompter that change its texts."""
    weights_sha256: dict[str, str] = {}
    """SHA-256 of its weight files by their names."""
    package: str | None = None
    """Package and version of a prompter that is a plugin."""
    crops: Crops | None = None
    """The crops that it saw; None where it saw whole pictures."""


class Caption(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Holds the caption of one picture, or of one crop of it."""

    name: str
    """Path of the picture relative to the folder of the set, with slashes."""
    sha256: str
    """SHA-256 of the picture's file."""
    text: str
    """The caption; may be empty."""
    example: Place | None = None
    """The example whose crop it describes; None where it describes the whole picture."""

    @property
    def key(self) -> CaptionKey:
        """What it is about."""
        return self.name if self.example is None else self.example


class Captions(msgspec.Struct, frozen=True, kw_only=True):
    """Holds the content of a file of captions."""

    author: Author
    """The prompter that wrote all of them."""
    lines: tuple[Caption, ...] = ()
    """The captions, in the order of the file."""

    def by_key(self) -> dict[CaptionKey, Caption]:
        """Return the captions by what they are about."""
        return {line.key: line for line in self.lines}


def read_captions(path: Path) -> Captions:
    """Read a file of captions. Raises BadInputError for a file that is absent or of another kind."""
    try:
        header, *body = path.read_bytes().splitlines()
        author = parse_json(header, Author)
        lines = tuple(parse_json(line, Caption) for line in body)
    except (OSError, ValueError) as error:  # of msgspec, of UTF-8, or no line at all
        raise BadInputError(
            f"{path} is no file of captions ({error}); accepted: what coz train captions writes; "
            f"type: {captions_command('FOLDER', path)}"
        ) from error
    return Captions(author=author, lines=lines)


def write_captions(path: Path, author: Author, lines: Iterable[Caption]) -> None:
    """Replace a file of captions, completely or not at all. Raises OutputError."""
    write_atomic(path, b"".join(msgspec.json.encode(line) + b"\n" for line in (author, *lines)))


def captions_command(data: object, path: Path, options: str = "") -> str:
    """Return the command that writes captions of a set to `path`."""
    return f"coz train captions --data {data} --prompter NAME {options}-o {path}"
