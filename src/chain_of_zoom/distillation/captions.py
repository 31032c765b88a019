"""Captions of training pictures, written beforehand: what a prompter says of each, in a file of lines of JSON.

The first line says who wrote them; each other line holds one picture: its name, the SHA-256 of its file, the caption.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import msgspec

from chain_of_zoom.errors import BadInputError
from chain_of_zoom.files import write_atomic
from chain_of_zoom.parsing import parse_json


class Author(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who wrote the captions: a prompter with its options. Captions of others are not mixed with them."""

    version: Literal[1] = 1
    prompter: str
    options: dict[str, Any] = {}
    weights_sha256: dict[str, str] = {}
    package: str | None = None


class Caption(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The caption of one picture. name: relative to the folder of the set, with slashes. sha256: of the file."""

    name: str
    sha256: str
    text: str


class Captions(msgspec.Struct, frozen=True, kw_only=True):
    """A file of captions."""

    author: Author
    lines: tuple[Caption, ...] = ()

    def by_name(self) -> dict[str, Caption]:
        """The captions by the names of their pictures."""
        return {line.name: line for line in self.lines}


def read_captions(path: Path) -> Captions:
    """Raises BadInputError for a file that is absent or not of this kind."""
    try:
        first, *others = path.read_bytes().splitlines()
        author = parse_json(first, Author)
        lines = tuple(parse_json(line, Caption) for line in others)
    except (OSError, ValueError) as error:  # of msgspec, of UTF-8, or no line at all
        raise BadInputError(
            f"{path} is no file of captions ({error}); accepted: what coz train captions writes; "
            f"type: {command('FOLDER', path)}"
        ) from error
    return Captions(author=author, lines=lines)


def write_captions(path: Path, author: Author, lines: Iterable[Caption]) -> None:
    """Whole or not at all. Raises OutputError."""
    write_atomic(path, b"".join(msgspec.json.encode(line) + b"\n" for line in (author, *lines)))


def command(data: object, path: Path) -> str:
    """What to type for captions."""
    return f"coz train captions --data {data} --prompter NAME -o {path}"
