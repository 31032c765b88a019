"""Prompters that look at nothing: the empty text, and the user's own."""

from __future__ import annotations

from collections.abc import Sequence

from chain_of_zoom.prompters.base import PromptContext, Prompter


class Fixed(Prompter):
    """Writes the same text for every step; by default the empty text (the paper's "null" prompt).

    The user's own words (--prompt) are appended by the engine, whatever the prompter.
    """

    looks = False

    def __init__(self, text: str = "", name: str = "null") -> None:
        self.text = text
        self.name = name

    def __call__(self, contexts: Sequence[PromptContext]) -> list[str]:
        """Return the text, once per context."""
        return [self.text] * len(contexts)
