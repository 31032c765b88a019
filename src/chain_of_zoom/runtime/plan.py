"""The policy that says where models go: a pure function of the free memory and the sizes of their parts.

What is tried, in order: everything resident; stages swapped, once per step and not per picture; the same with the
large encoders in int8. `models.placement` measures and asks, `models.residence` does what is planned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, cast, get_args

from chain_of_zoom.errors import BackboneError, UsageError

Stage = Literal["prompts", "texts", "image"]
"""What works at the same time: the prompter; the text encoders; what makes pixels."""
STAGES: tuple[Stage, ...] = get_args(Stage)
Memory = Literal["auto", "low"]
Mode = Literal["resident", "staged", "low"]

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2, "int8": 1}
AT_MOST = 16
"""Pictures at once: the words are bound by memory traffic, which a batch shares; more only cost memory."""
BESIDE = 4
"""Pictures for which there must still be room beside a stage that stays though others are swapped."""
COMPILE_CALLS = 64
"""Calls of the prompter from which compiling its decoding (some 40 s) is expected to pay."""
STEPS = 4
"""Generated states of a typical zoom, for counting calls."""


@dataclass(frozen=True, kw_only=True)
class NetworkPart:
    """A network: how many parameters, and the bytes it works with beside them for one picture of 512x512 pixels.

    quantisable: how many of the parameters int8 can store when memory is low. dtype: kept whatever is asked for.
    """

    name: str
    stage: Stage
    parameters: int
    work: int = 0
    quantisable: int = 0
    dtype: str | None = None

    def weights(self, dtype: str, *, low: bool = False) -> int:
        """Bytes of the weights."""
        small = self.quantisable if low else 0
        return (self.parameters - small) * BYTES[self.dtype or dtype] + small * BYTES["int8"]


@dataclass(frozen=True, kw_only=True)
class Need:
    """What a backbone or a prompter brings and was asked for. device: a torch name with its index, or "auto"."""

    parts: tuple[NetworkPart, ...]
    device: str = "auto"
    dtype: str = "auto"
    memory: Memory = "auto"

    def __post_init__(self) -> None:
        check_memory(self.memory)


def check_memory(memory: str) -> Memory:
    """The word itself. Raises UsageError."""
    if memory not in get_args(Memory):
        raise UsageError(f"memory {memory!r}; accepted: {', '.join(get_args(Memory))}; for example --memory low")
    return cast("Memory", memory)


@dataclass(frozen=True, kw_only=True)
class PlacedPart:
    """Where a part goes and as what; int8: its large layers are stored so."""

    part: NetworkPart
    device: str
    dtype: str
    int8: bool = False

    def __str__(self) -> str:
        return f"{self.device} {self.dtype}{' with int8 weights' if self.int8 else ''}"


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where everything goes.

    mode: "resident", all parts stay; "staged", one stage after another has a device; "low", the same with int8 weights.
    pinned: stages that stay on their device all the same. batch: pictures that a stage takes at once. together:
    pictures that should advance together. static: whether the prompter's decoding is to be compiled.
    free: bytes of each GPU when this was planned.
    """

    mode: Mode
    parts: tuple[PlacedPart, ...]
    pinned: frozenset[Stage]
    batch: Mapping[Stage, int]
    together: int = 1
    static: bool = False
    free: Mapping[str, int]

    def of(self, stage: Stage) -> tuple[PlacedPart, ...]:
        """The parts of a stage."""
        return tuple(each for each in self.parts if each.part.stage == stage)

    @property
    def is_pipelined(self) -> bool:
        """Whether prompts and pictures have a GPU each, so that both can work at the same time."""
        words, pixels = {each.device for each in self.of("prompts")}, {each.device for each in self.of("image")}
        return bool(words and pixels) and not words & pixels and "cpu" not in words | pixels

    def recorded(self) -> dict[str, str]:
        """For the record of a run: how the memory is used, and each part's device and precision."""
        return {"memory": self.mode} | {each.part.name: str(each) for each in self.parts}

    def __str__(self) -> str:
        return described(self.recorded(), self.free)


def described(recorded: Mapping[str, str], free: Mapping[str, int]) -> str:
    """What is recorded, in one line for people."""
    groups: dict[str, list[str]] = {}
    for name, where in recorded.items():
        groups.setdefault(where, []).append(name)
    mode = next(iter(groups))
    listed = "; ".join(f"{', '.join(names)} on {where}" for where, names in groups.items() if where != mode)
    room = ", ".join(f"{size / 1e9:.1f} GB free on {device}" for device, size in free.items())
    return f"memory {mode}: {listed}{f' ({room})' if room else ''}"


def plan(free: Mapping[str, int], needs: Sequence[Need], *, pictures: int = 1) -> Placement:
    """Where the parts of a backbone and a prompter go.

    free: bytes of every GPU that may be used, by its torch name; none means the CPU. pictures: how many are to come.
    The same input always gives the same placement. Raises BackboneError when not even the smallest way fits.
    """
    placed = _devices(free, needs)
    low = any(need.memory == "low" for need in needs)
    modes: dict[str, Mode] = {}
    for device in dict.fromkeys(each.device for each in placed):
        modes[device] = _mode([each for each in placed if each.device == device], free.get(device), low=low)
    parts = tuple(replace(each, int8=modes[each.device] == "low" and each.part.quantisable > 0) for each in placed)
    pinned: set[Stage] = set()
    batch: dict[Stage, int] = {}
    for device in modes:
        here = [each for each in parts if each.device == device]
        stay = _pinned(here, free.get(device), resident=modes[device] == "resident")
        pinned |= stay
        batch |= {stage: _batch(here, stage, stay, free.get(device)) for stage in _stages(here)}
    together = AT_MOST if any(each.device in free for each in parts) else 1
    words = [each for each in parts if each.part.stage == "prompts"]
    calls = -(-pictures // together) * STEPS * (together // batch.get("prompts", together))
    return Placement(
        mode=max(modes.values(), key=get_args(Mode).index, default="resident"),
        parts=parts,
        pinned=frozenset(pinned),
        batch=batch,
        together=together,
        # Weights that move would have to be compiled and captured anew each time.
        static=bool(words) and modes[words[0].device] == "resident" and words[0].device in free
        and calls >= COMPILE_CALLS,
        free={device: free[device] for device in modes if device in free},
    )  # fmt: skip


def _devices(free: Mapping[str, int], needs: Sequence[Need]) -> list[PlacedPart]:
    """Pixels are made on the GPU with the most memory; prompts, where there is another GPU, on that."""
    by_room = sorted(free, key=lambda device: -free[device]) or ["cpu"]
    asked = {part.stage: need.device for need in needs for part in need.parts if need.device != "auto"}
    pixels = asked.get("image", by_room[0])
    words = next((device for device in by_room if device != pixels), by_room[0])
    placed = []
    for need in needs:
        for part in need.parts:
            device = need.device if need.device != "auto" else words if part.stage == "prompts" else pixels
            dtype = need.dtype if need.dtype != "auto" else "bfloat16" if device.startswith("cuda") else "float32"
            placed.append(PlacedPart(part=part, device=device, dtype=part.dtype or dtype))
    return placed


def _mode(here: Sequence[PlacedPart], free: int | None, *, low: bool) -> Mode:
    """The first way that fits a device; `free` is None for one whose memory is not ours to plan."""
    if low:
        if free is not None:
            _check_possible(here, free)
        return "low"
    if free is None:
        return "resident"
    room = _room(free)
    work = max(_work(here, stage) for stage in _stages(here))
    if sum(_weights(here, stage) for stage in _stages(here)) + work <= room:
        return "resident"
    if max(_weights(here, stage) + _work(here, stage) for stage in _stages(here)) <= room:
        return "staged"
    _check_possible(here, free)
    return "low"


def _check_possible(here: Sequence[PlacedPart], free: int) -> None:
    """What works beside the weights is an estimate and may turn out less; the weights are certain."""
    least = max(_weights(here, stage, low=True) for stage in _stages(here))
    if least > free:
        raise BackboneError(
            f"models need {least / 1e9:.1f} GB at once, in int8 and swapped, and {here[0].device} has "
            f"{free / 1e9:.1f} GB free; accepted: a GPU with more, or the CPU; type: --device cpu"
        )


def _pinned(here: Sequence[PlacedPart], free: int | None, *, resident: bool) -> set[Stage]:
    """Stages that need not leave: all, or the smallest as long as the others still work well beside them."""
    stages = _stages(here)
    if resident or free is None:
        return set(stages)
    size = {stage: sum(each.part.weights(each.dtype, low=each.int8) for each in _in(here, stage)) for stage in stages}
    stay: set[Stage] = set()
    for stage in sorted(stages, key=lambda each: size[each]):
        tried = {*stay, stage}
        kept = sum(size[each] for each in tried)
        if all(
            kept + (0 if each in tried else size[each]) + BESIDE * _work(here, each) <= _room(free) for each in stages
        ):
            stay = tried
    return stay


def _batch(here: Sequence[PlacedPart], stage: Stage, pinned: set[Stage], free: int | None) -> int:
    """Pictures at once, a power of two; one on a CPU, where company saves nothing and changes bits."""
    if free is None:
        return 1
    on_device = {*pinned, stage}
    weights = sum(each.part.weights(each.dtype, low=each.int8) for each in here if each.part.stage in on_device)
    fitting = (_room(free) - weights) // max(_work(here, stage), 1)
    return 1 << min(max(fitting, 1).bit_length() - 1, AT_MOST.bit_length() - 1)


def _room(free: int) -> int:
    """What may be filled: fragments of the allocator and kernels' workspaces take the rest."""
    return free - free // 20 - 300_000_000


def _stages(here: Sequence[PlacedPart]) -> list[Stage]:
    return [stage for stage in STAGES if any(each.part.stage == stage for each in here)]


def _in(here: Sequence[PlacedPart], stage: Stage) -> list[PlacedPart]:
    return [each for each in here if each.part.stage == stage]


def _weights(here: Sequence[PlacedPart], stage: Stage, *, low: bool = False) -> int:
    return sum(each.part.weights(each.dtype, low=low) for each in _in(here, stage))


def _work(here: Sequence[PlacedPart], stage: Stage) -> int:
    """Parts of a stage work one after the other."""
    return max(each.part.work for each in _in(here, stage))
