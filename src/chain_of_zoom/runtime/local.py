"""What backbones and prompters with networks on this machine share: where these run, and how many pictures at once.

torch is imported by those that load, so that listing names stays quick.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import ClassVar, TypeVar

from chain_of_zoom.errors import BackboneError
from chain_of_zoom.runtime.plan import AT_MOST, Memory, Need, NetworkPart, Stage, check_memory
from chain_of_zoom.runtime.residence import Residence

T = TypeVar("T")


class LocalModel(ABC):
    """A backbone or a prompter whose networks the policy of `runtime.plan` places.

    device, dtype, memory: as its user chose them (docs/performance.md, Placement). Raises UsageError for `memory`.
    """

    stage: ClassVar[Stage]
    """When it works; the policy says how many pictures that stage takes at once."""
    at_once: ClassVar[int] = AT_MOST
    """Pictures at once beyond which more save nothing."""
    leaving: ClassVar[str] = "other models"
    """What notes call the models that leave the GPU for this one."""

    def __init__(self, device: str = "auto", dtype: str = "auto", memory: str = "auto") -> None:
        super().__init__()
        self.memory: Memory = check_memory(memory)
        self._need = Need(parts=(), device=device, dtype=dtype, memory=self.memory)
        self._residence: Residence | None = None
        self._batch = 1
        self._is_read = False

    @abstractmethod
    def _list_parts(self) -> tuple[NetworkPart, ...]:
        """Return its networks with their sizes, as the headers of their files say."""

    @abstractmethod
    def _read(self, residence: Residence) -> None:
        """Read the weights and give the networks to the residence. Raises MissingError."""

    def needs(self) -> Need | None:
        """Return the sizes of its networks and what its user chose; None once they are read."""
        return None if self._is_read else replace(self._need, parts=self._list_parts())

    def place(self, residence: Residence) -> None:
        """Take the place that was planned together with other models."""
        self._residence = residence

    def _read_in_place(self) -> None:
        """Read the weights into their place, which is planned now where `place` was not called."""
        from chain_of_zoom.runtime.placement import place

        self._residence = self._residence or place([replace(self._need, parts=self._list_parts())])
        self._read(self._residence)
        self._batch = min(self._residence.batch(self.stage), self.at_once)
        self._is_read = True

    def _compute(
        self,
        items: Sequence[int],
        compute: Callable[[list[int]], Sequence[T]],
        tell: Callable[[int, str], None],
        alone: Callable[[int], T] | None = None,
    ) -> dict[int, T]:
        """Compute items together, as many as fit into memory, and remember how many that were.

        tell(item, note) receives every step down. alone: computes an item that does not fit by itself; by default
        `_compute_offloaded`. Raises BackboneError for lack of memory.
        """
        from chain_of_zoom.runtime.shortage import compute_in_batches

        def compute_offloaded(item: int) -> T:
            return self._compute_offloaded(partial(compute, [item]), partial(tell, item))[0]

        results, self._batch = compute_in_batches(items, self._batch, compute, tell, alone or compute_offloaded)
        return results

    def _compute_offloaded(self, compute: Callable[[], T], tell: Callable[[str], None]) -> T:
        """Compute with all other models off the GPU, and tell so. Raises BackboneError when even that does not fit."""
        from chain_of_zoom.runtime.shortage import try_in_memory

        assert self._residence
        if self._residence.offload(self.stage):
            tell(f"out of GPU memory; all {self.leaving} moved off the GPU")
            if (result := try_in_memory(compute)) is not None:
                return result
        advice = "--device cpu" if self._residence.placement.mode == "low" else "--memory low, or --device cpu"
        raise BackboneError(
            "one picture alone does not fit into the memory of the GPU; accepted: smaller pictures, other programs off "
            f"the GPU, or the CPU; type: {advice}"
        )
