"""What is printed: names and texts of strangers can neither steer the terminal nor pretend to be lines of ours."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Sequence

import typer

from chain_of_zoom.resources import WINDOWS

# Control characters (C0, DEL, C1), separators of lines, marks that turn the direction of writing, half characters.
_STEERING = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: str) -> str:
    """The text on one line, with every character that steers a terminal as its JSON escape, such as \\u001b."""
    return _STEERING.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def quote(words: Sequence[str]) -> str:
    """Write words as one line to type, in the quotes of this system's shell."""
    return subprocess.list2cmdline(words) if WINDOWS else shlex.join(words)


def echo(line: str, *, err: bool = False) -> None:
    """Print one line, on stderr with `err`."""
    typer.echo(visible(line), err=err)


def echo_lines(text: str | bytes, *, err: bool = False) -> None:
    """Print a text of several lines; JSON stays the same JSON."""
    text = text.decode() if isinstance(text, bytes) else text
    typer.echo("\n".join(map(visible, text.removesuffix("\n").split("\n"))), err=err)
