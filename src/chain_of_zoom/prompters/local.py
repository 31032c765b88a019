"""What prompters with a network on this machine share: loading once, and fewer pictures when memory is short."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from chain_of_zoom.prompters.base import PromptContext, Prompter
from chain_of_zoom.runtime.local import LocalModel

Question = TypeVar("Question")


class LocalPrompter(LocalModel, Prompter):
    """Loads once, asks as many pictures together as fit, and fewer when memory turns out to be short."""

    stage = "prompts"
    leaving = "models but the prompter's"

    def __init__(self, device: str = "auto", dtype: str = "auto", memory: str = "auto") -> None:
        super().__init__(device, dtype, memory)
        self._notes: list[str] = []
        self._lock = threading.Lock()

    @abstractmethod
    def _ask(self, contexts: Sequence[PromptContext]) -> list[str]:
        """Return the texts of pictures that are asked about together."""

    def load(self) -> None:
        """Read the weights, once; safe to call from several threads. Raises MissingError."""
        with self._lock:
            if not self._is_read:
                self._read_in_place()

    def fallbacks(self) -> list[str]:
        """Return how the last call made do with little memory."""
        return list(self._notes)

    def __call__(self, contexts: Sequence[PromptContext]) -> list[str]:
        """Return one text per context, in order. Raises MissingError for the weights, BackboneError without memory."""
        return self._ask_together(contexts, self._ask)

    def _ask_together(self, questions: Sequence[Question], ask: Callable[[Sequence[Question]], list[str]]) -> list[str]:
        """Return what `ask` answers to each question, as many together as fit."""
        self.load()
        notes: dict[str, None] = {}

        def compute(indices: list[int]) -> list[str]:
            return ask([questions[index] for index in indices])

        def alone(index: int) -> str:
            return self._compute_offloaded(partial(compute, [index]), notes.setdefault)[0]

        texts = self._compute(
            range(len(questions)), compute, lambda _, note: notes.setdefault(f"prompter {note}"), alone
        )
        self._notes = list(notes)
        return [texts[index] for index in range(len(questions))]
