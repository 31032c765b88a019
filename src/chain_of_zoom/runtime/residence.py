"""Keep the weights where the plan wants them: stages enter a device, others leave it for the host."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from chain_of_zoom.runtime.plan import Placement, Stage, describe_placement

Slot = tuple[dict[str, Any], str, Any]
"""The dictionary in which a module keeps a parameter or a buffer, its name there, and the tensor."""
Lock = Callable[[Iterable[Any], int], int]
"""Given tensors and the bytes that are locked already; returns the bytes that are locked then."""


class Residence:
    """Moves the modules of all stages between the host and their devices. It imports no torch: modules are given to it.

    A module that has to leave keeps its weights in host memory, so that entering is one copy and leaving none.
    lock: puts weights that will come and go into page-locked memory (`runtime.locking`).
    """

    def __init__(self, placement: Placement, lock: Lock | None = None) -> None:
        self.placement = placement
        self._lock_weights = lock
        self.pinned = set(placement.pinned)
        self.swaps = 0
        self.locked = 0
        self.changed: dict[str, str] = {}
        self._locks = {part.device: threading.RLock() for part in placement.parts}
        self._modules: dict[Stage, list[Any]] = {}
        self._host: dict[Stage, list[Slot]] = {}
        self._inside: dict[str, set[Stage]] = {}

    def device(self, stage: Stage) -> str:
        """Return the torch name of a stage's device."""
        return self.placement.parts_of(stage)[0].device

    def dtype(self, name: str) -> str:
        """Return the precision of a part."""
        return next(part.dtype for part in self.placement.parts if part.part.name == name)

    def int8(self, name: str) -> bool:
        """Tell whether the large layers of a part are to be stored in int8."""
        return any(part.int8 for part in self.placement.parts if part.part.name == name)

    def as_record(self) -> dict[str, str]:
        """Return what the record of a run says; empty until all networks are here, as reading may choose precision."""
        if any(part.part.stage not in self._modules for part in self.placement.parts):
            return {}
        return self.placement.as_record() | self.changed

    def __str__(self) -> str:
        return describe_placement(self.placement.as_record() | self.changed, self.placement.free)

    def batch(self, stage: Stage) -> int:
        """Return how many pictures a stage takes at once."""
        return self.placement.batch[stage]

    def add(self, stage: Stage, *modules: Any) -> None:
        """Take care of a stage's modules, which are in host memory. Those that stay on their device go there now.

        Those that will come and go wait in page-locked memory, as far as there is any.
        """
        with self._locks[self.device(stage)]:
            self._modules.setdefault(stage, []).extend(modules)
            if stage in self.pinned:
                for module in modules:
                    module.to(self.device(stage))
                self._inside.setdefault(self.device(stage), set()).add(stage)
            elif self._lock_weights and self.device(stage).startswith("cuda"):
                self.locked = self._lock_weights((tensor for _, _, tensor in list_slots(modules)), self.locked)

    def enter(self, stage: Stage) -> None:
        """Move a stage to its device; other stages that are not pinned leave it."""
        with self._locks[self.device(stage)]:
            inside = self._inside.setdefault(self.device(stage), set())
            if stage in inside:
                return
            for leaving in inside - self.pinned:
                self._leave(leaving)
            self._host[stage] = copy_in(self._modules.get(stage, []), self.device(stage))
            inside.add(stage)
            self.swaps += 1

    def release(self) -> None:
        """Move all stages that are not pinned to the host."""
        for device, inside in list(self._inside.items()):
            with self._locks[device]:
                for stage in inside - self.pinned:
                    self._leave(stage)

    def offload(self, keep: Stage) -> bool:
        """Let only one stage at a time have the device of `keep` from now on; `keep` has it now.

        Returns False when it was so already. Weights of stages that were pinned are copied to the host once.
        """
        with self._locks[self.device(keep)]:
            inside = self._inside.get(self.device(keep), set())
            staying = {stage for stage in self.pinned if self.device(stage) == self.device(keep)} - {keep}
            if not staying:
                return False
            self.pinned -= {*staying, keep}
            for stage in list(inside - {keep}):
                self._leave(stage)
            return True

    @contextmanager
    def using(self, stage: Stage) -> Iterator[None]:
        """Hold a stage on its device, alone, while it works."""
        with self._locks[self.device(stage)]:
            self.enter(stage)
            yield

    def _leave(self, stage: Stage) -> None:
        if stage in self._host:
            put_back(self._host.pop(stage))
        else:  # it was moved there for good
            for module in self._modules.get(stage, []):
                module.to("cpu")
        self._inside[self.device(stage)].discard(stage)


def list_slots(modules: Iterable[Any]) -> Iterator[Slot]:
    """Yield every parameter and buffer, with the dictionary that its module keeps it in."""
    for module in modules:
        for inner in module.modules():
            for holder in (inner._parameters, inner._buffers):
                for name, tensor in holder.items():
                    if tensor is not None:
                        yield holder, name, tensor


def copy_in(modules: Iterable[Any], device: str) -> list[Slot]:
    """Put copies on a device in place of all weights; return what `put_back` needs. Tied weights stay tied."""
    slots = list(list_slots(modules))
    copies: dict[int, Any] = {}
    for holder, name, tensor in slots:
        if id(tensor) not in copies:
            copies[id(tensor)] = tensor.detach().to(device, non_blocking=True)
        holder[name] = copies[id(tensor)]
    return slots


def put_back(slots: Iterable[Slot]) -> None:
    """Give modules their own weights again; the copies are freed."""
    for holder, name, tensor in slots:
        holder[name] = tensor
