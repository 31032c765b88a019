"""`--find` at a terminal: asks which place is meant, where the model is unsure."""

from __future__ import annotations

import re
from collections.abc import Sequence

import typer

from chain_of_zoom.chain.place import Place, refuse_to_choose
from chain_of_zoom.cli.terminal import echo


def ask_back(words: str, places: Sequence[Place]) -> Place:
    """Let the user choose one of the places. Raises UsageError for none."""
    echo(f"{words}: the model is unsure; it may be")
    for number, place in enumerate(places, 1):
        doubt = "" if place.confirmed else "  (not found again in a close-up)"
        echo(f"  {number}  --box {place.describe()}{doubt}")
    number = typer.prompt("which one? its number, or 0 for none", type=int, default=0)
    return places[number - 1] if 1 <= number <= len(places) else refuse_to_choose(words, places)


def name_words(words: str) -> str:
    """Return words as part of a folder's name: letters and digits of any script, joined by hyphens, 40 at most."""
    return re.sub(r"[\W_]+", "-", words.lower())[:40].strip("-") or "found"
