"""The policy that decides where models go: a pure function of the free memory and the sizes of their parts.

It tries, in this order: everything resident; everything resident with large encoders in int8; stages swapped, once per
step and not per picture; the same in int8. `runtime.placement` measures and asks, `runtime.residence` moves the
weights as planned.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, cast, get_args

from chain_of_zoom.errors import BackboneError, UsageError

Stage = Literal["prompts", "texts", "image"]
"""Networks that work at the same time: the prompter's; the text encoders; those that make pixels."""
STAGES: tuple[Stage, ...] = get_args(Stage)
Memory = Literal["auto", "low"]
Mode = Literal["resident", "staged", "low"]
SMALLER: tuple[frozenset[Stage], ...] = (frozenset(), frozenset({"texts"}), frozenset({"texts", "prompts"}))
"""Stages whose large layers become int8 so that all can stay, least first: to copy them every step costs more."""

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2, "int8": 1}
AT_MOST = 16
"""Pictures at once: the words are bound by memory traffic, which a batch shares; more only cost memory."""
BESIDE = 4
"""Pictures for which there must still be room beside a stage that stays though others are swapped."""
RESERVE = 300_000_000
"""Bytes of a GPU that its context and libraries take beside what is planned."""
COMPILE_CALLS = 64
"""Calls of the prompter from which compiling its decoding (some 40 s) is expected to pay."""
STEPS = 4
"""Generated states of a typical zoom, for counting calls."""


@dataclass(frozen=True, kw_only=True)
class NetworkPart:
    """Describes the size of a network."""

    name: str
    """Name in records."""
    stage: Stage
    """When it works."""
    parameters: int
    """Number of its weights."""
    work: int = 0
    """Bytes it works with beside the weights, for one picture of 512 x 512 pixels."""
    quantisable: int = 0
    """Number of weights that int8 can store when memory is low."""
    dtype: str | None = None
    """Precision that it keeps, whatever is asked for; None for one that follows."""

    def weights(self, dtype: str, *, low: bool = False) -> int:
        """Return the bytes of the weights."""
        small = self.quantisable if low else 0
        return (self.parameters - small) * BYTES[self.dtype or dtype] + small * BYTES["int8"]


@dataclass(frozen=True, kw_only=True)
class Need:
    """Says what a backbone or a prompter brings, and where its user wants it."""

    parts: tuple[NetworkPart, ...]
    """Its networks."""
    device: str = "auto"
    """Torch name with its index, or "auto"."""
    dtype: str = "auto"
    """Name of a precision, or "auto"."""
    memory: Memory = "auto"
    """How to use the memory: "low" swaps stages and stores large layers in int8, even where everything fits."""

    def __post_init__(self) -> None:
        check_memory(self.memory)


def check_memory(memory: str) -> Memory:
    """Return the word itself. Raises UsageError for any other."""
    if memory not in get_args(Memory):
        raise UsageError(f"memory {memory!r}; accepted: {', '.join(get_args(Memory))}; for example --memory low")
    return cast("Memory", memory)


@dataclass(frozen=True, kw_only=True)
class PlacedPart:
    """Says where a network goes and in which precision."""

    part: NetworkPart
    """The network."""
    device: str
    """Torch name of its device."""
    dtype: str
    """Name of its precision."""
    int8: bool = False
    """Whether its large layers are stored in int8."""

    @property
    def weights(self) -> int:
        """Return the bytes of the weights as they are stored here."""
        return self.part.weights(self.dtype, low=self.int8)

    def __str__(self) -> str:
        return f"{self.device} {self.dtype}{' with int8 weights' if self.int8 else ''}"


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Says where everything goes."""

    mode: Mode
    """"resident": all parts stay; "staged": stages take turns on a device; "low": the same with int8 weights.

    Single parts may have int8 weights when resident, too.
    """
    parts: tuple[PlacedPart, ...]
    """All networks."""
    pinned: frozenset[Stage]
    """Stages that stay on their device in any mode."""
    batch: Mapping[Stage, int]
    """Pictures that a stage takes at once."""
    together: int = 1
    """Pictures that should advance together."""
    static: bool = False
    """Whether the prompter's decoding is to be compiled."""
    free: Mapping[str, int]
    """Bytes of each GPU that were free when this was planned."""

    def parts_of(self, stage: Stage) -> tuple[PlacedPart, ...]:
        """Return the parts of a stage."""
        return tuple(part for part in self.parts if part.part.stage == stage)

    @property
    def is_pipelined(self) -> bool:
        """Whether prompts and pictures have a GPU each, so that both can work at the same time."""
        words, pixels = ({part.device for part in self.parts_of(stage)} for stage in ("prompts", "image"))
        return bool(words and pixels) and not words & pixels and "cpu" not in words | pixels

    def as_record(self) -> dict[str, str]:
        """Return what the record of a run says: how the memory is used, and each part's device and precision."""
        return {"memory": self.mode} | {part.part.name: str(part) for part in self.parts}

    def __str__(self) -> str:
        return describe_placement(self.as_record(), self.free)


def describe_placement(record: Mapping[str, str], free: Mapping[str, int]) -> str:
    """Say in one line what a record says of a placement (`Placement.as_record`) with so many free bytes."""
    groups: dict[str, list[str]] = {}
    for name, place in record.items():
        groups.setdefault(place, []).append(name)
    mode = next(iter(groups))
    places = "; ".join(f"{', '.join(names)} on {place}" for place, names in groups.items() if place != mode)
    room = ", ".join(f"{size / 1e9:.1f} GB free on {device}" for device, size in free.items())
    return f"memory {mode}: {places}{f' ({room})' if room else ''}"


def plan(
    free: Mapping[str, int],
    needs: Sequence[Need],
    *,
    pictures: int = 1,
    half: Mapping[str, str] | None = None,
    can_compile: bool = True,
) -> Placement:
    """Decide where the parts of a backbone and a prompter go.

    free: bytes of every GPU that may be used, by its torch name; none means the CPU. pictures: how many are to come.
    half: the short float type of a GPU where that is not bfloat16. can_compile: whether torch compiles here.
    The same input always gives the same placement. Raises BackboneError when not even the smallest way fits.
    """
    parts = _assign_devices(free, needs, half or {})
    low = any(need.memory == "low" for need in needs)
    smaller = SMALLER if all(need.dtype == "auto" for need in needs) else SMALLER[:1]
    modes: dict[str, Mode] = {}
    pinned: set[Stage] = set()
    batch: dict[Stage, int] = {}
    for device in dict.fromkeys(part.device for part in parts):
        load = _DeviceLoad([part for part in parts if part.device == device], free.get(device))
        modes[device] = load.choose_mode(smaller, low=low)
        stay = load.choose_pinned(resident=modes[device] == "resident")
        pinned |= stay
        batch |= {stage: load.choose_batch(stage, stay) for stage in load.stages}
        parts = [next((placed for placed in load.parts if placed.part is part.part), part) for part in parts]
    together = AT_MOST if any(part.device in free for part in parts) else 1
    words = [part for part in parts if part.part.stage == "prompts"]
    calls = -(-pictures // together) * STEPS * (together // batch.get("prompts", together))
    return Placement(
        mode=max(modes.values(), key=get_args(Mode).index, default="resident"),
        parts=tuple(parts),
        pinned=frozenset(pinned),
        batch=batch,
        together=together,
        # Weights that move would have to be compiled and captured anew each time.
        static=bool(words) and modes[words[0].device] == "resident" and words[0].device in free
        and can_compile and calls >= COMPILE_CALLS,
        free={device: free[device] for device in modes if device in free},
    )  # fmt: skip


def _assign_devices(free: Mapping[str, int], needs: Sequence[Need], half: Mapping[str, str]) -> list[PlacedPart]:
    """Put pixels on the GPU with the most memory; prompts, where there is another GPU, on that."""
    by_room = sorted(free, key=lambda device: -free[device]) or ["cpu"]
    chosen = {part.stage: need.device for need in needs for part in need.parts if need.device != "auto"}
    pixels = chosen.get("image", by_room[0])
    words = next((device for device in by_room if device != pixels), by_room[0])
    parts = []
    for need in needs:
        for part in need.parts:
            device, dtype = need.device, need.dtype
            if device == "auto":
                device = words if part.stage == "prompts" else pixels
            if dtype == "auto":
                dtype = half.get(device, "bfloat16" if device.startswith("cuda") else "float32")
            parts.append(PlacedPart(part=part, device=device, dtype=part.dtype or dtype))
    return parts


class _DeviceLoad:
    """What is to go on one device; `free`: its bytes, None for a CPU and for Apple's GPU, which shares its memory."""

    def __init__(self, parts: list[PlacedPart], free: int | None) -> None:
        self.parts, self.free = parts, free
        self.stages = [stage for stage in STAGES if any(part.part.stage == stage for part in parts)]
        # Parts of a stage work one after the other.
        self.work = {stage: max(part.part.work for part in self.parts_of(stage)) for stage in self.stages}

    def parts_of(self, stage: Stage) -> list[PlacedPart]:
        return [part for part in self.parts if part.part.stage == stage]

    def weights(self, stage: Stage) -> int:
        return sum(part.weights for part in self.parts_of(stage))

    @property
    def room(self) -> int:
        """What may be filled: fragments of the allocator and kernels' workspaces take the rest."""
        assert self.free is not None
        return self.free - self.free // 20 - RESERVE

    def shrink(self, stages: Collection[Stage]) -> None:
        """Store the large layers of these stages in int8, and of no others."""
        self.parts = [
            replace(part, int8=part.part.quantisable > 0 and part.part.stage in stages) for part in self.parts
        ]

    def choose_mode(self, smaller: Sequence[Collection[Stage]], *, low: bool) -> Mode:
        """Choose the first mode that fits, and what becomes int8 for it. Raises BackboneError.

        smaller: sets of stages that may be int8 so that everything can stay, in order.
        """
        if not low:
            if self.free is None:
                return "resident"
            for stages in smaller:
                self.shrink(stages)
                if sum(map(self.weights, self.stages)) + max(self.work.values()) <= self.room:
                    return "resident"
            self.shrink(())
            if max(self.weights(stage) + self.work[stage] for stage in self.stages) <= self.room:
                return "staged"
        self.shrink(STAGES)
        if self.free is not None:
            # What works beside the weights is an estimate and may turn out less; the weights are certain.
            least = max(map(self.weights, self.stages))
            if least > self.free:
                raise BackboneError(
                    f"models need {least / 1e9:.1f} GB at once, in int8 and swapped, and {self.parts[0].device} has "
                    f"{self.free / 1e9:.1f} GB free; accepted: a GPU with more, or the CPU; type: --device cpu"
                )
        return "low"

    def choose_pinned(self, *, resident: bool) -> set[Stage]:
        """Choose the stages that stay: all, or the smallest as long as the others still work well beside them."""
        if resident or self.free is None:
            return set(self.stages)
        stay: set[Stage] = set()
        for stage in sorted(self.stages, key=self.weights):
            if all(
                sum(map(self.weights, {*stay, stage, working})) + BESIDE * self.work[working] <= self.room
                for working in self.stages
            ):
                stay.add(stage)
        return stay

    def choose_batch(self, stage: Stage, pinned: set[Stage]) -> int:
        """Choose pictures at once, a power of two; one on a CPU, where company saves nothing and changes bits."""
        if self.free is None:
            return 1
        fitting = (self.room - sum(map(self.weights, {*pinned, stage}))) // max(self.work[stage], 1)
        return 1 << min(max(fitting, 1).bit_length() - 1, AT_MOST.bit_length() - 1)
