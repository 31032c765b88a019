"""Texts from outside: numbers and JSON, whose length, exponents and depth are bounded."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from fractions import Fraction
from numbers import Real
from pathlib import Path
from typing import Any, TypeVar

import msgspec

MAX_BYTES = 100_000_000
Document = TypeVar("Document")


def parse_number(text: str) -> Fraction:
    """Read a decimal number or a quotient, exactly. Raises ValueError.

    More than 64 characters, or an exponent of more than two digits, is no number: its digits alone could fill memory.
    """
    exponent = text.lower().partition("e")[2].strip()
    if len(text) > 64 or len(exponent.lstrip("+-")) > 2:
        raise ValueError("too long for a number")
    try:
        return Fraction(text)
    except ZeroDivisionError as error:
        raise ValueError("a quotient by zero") from error


def parse_whole(text: str) -> int | None:
    """Read a whole number from 0, of digits alone and at most 64 of them; None for anything else."""
    return int(text) if text.isdecimal() and len(text) <= 64 else None


def parse_json(data: bytes, kind: type[Document]) -> Document:
    """Read a JSON document as `kind`. Raises msgspec.DecodeError, and nothing else, for one that is not."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (UnicodeDecodeError, RecursionError) as error:  # the latter by lists in lists in lists
        raise msgspec.DecodeError(str(error)) from error


def plain(value: Any) -> Any:
    """Numbers and arrays of numpy, and of whatever else has `tolist`, as Python's own; also those in tuples and lists.

    Other real numbers, such as fractions, become floats; whole numbers that nothing accepts become infinite, since an
    error could not show them; anything else stays.
    """
    if isinstance(value, tuple | list):
        return tuple(plain(item) for item in value)
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, int) and abs(value) >= 10**64:
        return math.inf
    return float(value) if isinstance(value, Real) and not isinstance(value, int | float) else value


def read_text(path: Path) -> str:
    """Read a text file in UTF-8, with or without its mark. Raises OSError, and ValueError for what is no such file."""
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:  # a picture, or a device without an end
        raise ValueError(f"more than {MAX_BYTES} bytes")
    return data.decode("utf-8-sig")


def printable(text: object) -> str:
    """The text with bytes that are not UTF-8 replaced, for file names that cannot be shown or written down."""
    return re.sub("[\ud800-\udfff]", "\ufffd", str(text))


def make_unique(name: str, keys: set[str], key: Callable[[str], str] = str) -> str:
    """Return the name, or the first of name-2, name-3 ... whose key is new, and add its key to `keys`.

    key: says which names count as the same.
    """
    unique, number = name, 1
    while key(unique) in keys:
        number += 1
        unique = f"{name}-{number}"
    keys.add(key(unique))
    return unique


def is_text(text: str) -> bool:
    """Whether a text can be written down and name files: UTF-8, as not all bytes of a command line are, without NUL."""
    return "\0" not in text and printable(text) == text
