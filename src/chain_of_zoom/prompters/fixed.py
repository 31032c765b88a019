"""Prompters that look at nothing: the empty text, and the user's own."""

from __future__ import annotations

from collections.abc import Sequence

from chain_of_zoom.prompters.base import PromptContext, Prompter


class Fixed(Prompter):
    """The same text for every step; without one, the empty text (the paper's "null" prompt)."""

    def __init__(self, text: str = "") -> None:
        self.text = text
        self.name = "text" if text else "null"

    def __call__(self, contexts: Sequence[PromptContext]) -> list[str]:
        """The text, once per context."""
        return [self.text] * len(contexts)
