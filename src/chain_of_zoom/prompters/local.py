"""What prompters with a network on this machine share: where it is kept, and what happens when memory is short."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from chain_of_zoom.prompters.base import PromptContext, Prompter
from chain_of_zoom.runtime.placement import place
from chain_of_zoom.runtime.plan import Need
from chain_of_zoom.runtime.residence import Residence
from chain_of_zoom.runtime.shortage import compute_in_batches, make_full_error, try_in_memory

Asked = TypeVar("Asked")


class LocalPrompter(Prompter):
    """Loads once, asks as many pictures together as fit, and fewer when memory turns out to be short."""

    def __init__(self) -> None:
        self._residence: Residence | None = None
        self._batch = 1
        self._fallbacks: list[str] = []
        self._is_loaded = False
        self._lock = threading.Lock()

    @abstractmethod
    def _needs(self) -> Need:
        """The sizes of its networks and what was asked for."""

    @abstractmethod
    def _read(self, residence: Residence) -> None:
        """Read the weights and give the networks to the residence as stage "prompts". Raises MissingError."""

    @abstractmethod
    def _ask(self, contexts: Sequence[PromptContext]) -> list[str]:
        """The texts of pictures that are asked about together."""

    def needs(self) -> Need | None:
        """The sizes of its networks; None once they are loaded."""
        return None if self._is_loaded else self._needs()

    def place(self, residence: Residence) -> None:
        """Take the place that was planned together with a backbone's."""
        self._residence = residence

    def load(self) -> None:
        """Read the weights, once; safe to call from several threads. Raises MissingError."""
        with self._lock:
            if not self._is_loaded:
                residence = self._residence = self._residence or place([self._needs()])
                self._read(residence)
                self._batch, self._is_loaded = residence.batch("prompts"), True

    def fallbacks(self) -> list[str]:
        """How the last call made do with little memory."""
        return list(self._fallbacks)

    def __call__(self, contexts: Sequence[PromptContext]) -> list[str]:
        """One text per context, in order. Raises MissingError for the weights, BackboneError for lack of memory."""
        return self._together(contexts, self._ask)

    def _together(self, asked: Sequence[Asked], ask: Callable[[Sequence[Asked]], list[str]]) -> list[str]:
        """What `ask` gives for each of `asked`, as many together as fit."""
        self.load()
        said: dict[str, None] = {}

        def compute(indices: list[int]) -> list[str]:
            return ask([asked[index] for index in indices])

        def alone(index: int) -> str:
            assert self._residence
            if self._residence.offload("prompts"):
                said["out of GPU memory; all models but the prompter's moved off the GPU"] = None
                if (texts := try_in_memory(partial(compute, [index]))) is not None:
                    return texts[0]
            raise make_full_error()

        made, self._batch = compute_in_batches(
            range(len(asked)), self._batch, compute, lambda _, what: said.setdefault(f"prompter {what}"), alone
        )
        self._fallbacks = list(said)
        return [made[index] for index in range(len(asked))]
