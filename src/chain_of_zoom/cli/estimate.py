"""What `coz doctor --estimate` says: whether a preset of the paper fits this card or another, and what a step takes."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from chain_of_zoom.cli.step_times import name_devices, read_times
from chain_of_zoom.errors import ShortageError, UsageError
from chain_of_zoom.resources import human_size, lack_of_memory
from chain_of_zoom.runtime.estimate import BUS, SLOW_BUS, StepEstimate, estimate_step, list_needs
from chain_of_zoom.runtime.plan import plan
from chain_of_zoom.weights.presets import PRESETS, find_preset

ESTIMATED = [name for name, preset in PRESETS.items() if preset.prompter in ("vlm", "null")]


def estimate_preset(name: str, vram: list[float] | None, gpus: list[dict[str, Any]]) -> dict[str, Any]:
    """Tell what a step of a preset takes on cards of `vram` GB each, or on those of this machine.

    gpus: their names and bytes. Raises UsageError for presets that are not planned and for cards that cannot be,
    BackboneError where no way fits, and ShortageError where this machine has too little memory beside its own card.
    """
    if find_preset(name).prompter not in ("vlm", "null"):
        raise UsageError(f"preset {name} cannot be estimated; accepted: {', '.join(ESTIMATED)}; for example paper")
    if any(not math.isfinite(size) or size <= 0 for size in vram or ()):
        raise UsageError(f"--vram {min(vram or [])}; accepted: GB of a card above 0; for example --vram 24")
    sizes = [size * 1e9 for size in vram] if vram else [gpu["memory"] for gpu in gpus]
    free = {f"cuda:{number}": int(size) for number, size in enumerate(sizes)}
    step = estimate_step(plan(free, list_needs(prompts=find_preset(name).prompter == "vlm")))
    if not vram and (lack := lack_of_memory(max(step.waiting, step.reading))):
        raise ShortageError(
            f"not enough memory for the weights that wait outside the GPU: {lack}; accepted: a machine with more, or "
            "a smaller stack; close other programs, or use --preset paper-null"
        )
    cards = [gpu["name"] for gpu in gpus] if not vram else []
    return {"preset": name, "cards": cards, **_describe(step, cards), **({} if vram else _measured(name, step, cards))}


def _measured(name: str, step: StepEstimate, cards: list[str]) -> dict[str, Any]:
    """Return the last run of a preset on these devices, and what is wrong with the memory of such runs."""
    times, problem = read_times()
    devices = name_devices(step.placement, cards)
    last = next((time for time in times if (time.preset, time.devices) == (name, devices)), None)
    return {"measured": last and {**msgspec.to_builtins(last), "line": str(last)}, "problem": problem}


def _describe(step: StepEstimate, cards: list[str]) -> dict[str, Any]:
    placement = step.placement
    return {
        "placement": placement.as_record(),
        "free": dict(placement.free),
        "at_once": dict(placement.batch),
        "together": placement.together,
        "copied_bytes": step.copied,
        "waiting_bytes": step.waiting,
        "reading_bytes": step.reading,
        "passes": dict(step.passes),
        "floor_seconds": min((floor for card in cards if (floor := step.find_floor(card))), default=None),
        "line": str(placement),
    }


def list_lines(estimated: dict[str, Any]) -> list[str]:
    """Say it in lines."""
    copied, together = estimated["copied_bytes"], estimated["together"]
    bus = "nothing is copied between steps"
    if copied:
        fast, slow = copied / BUS, copied / SLOW_BUS
        bus = (
            f"{human_size(copied)} copied in a step for all {together}: about {fast:.1f} s from page-locked memory, "
            f"{slow:.1f} s from other memory, by PCIe 4"
        )
    floor = estimated["floor_seconds"]
    speed = "the speed of this card is not known here"
    if floor is not None:
        speed = f"at least {floor:.2g} s a picture and step by what its maker states ({estimated['cards'][0]})"
    measured = []
    if "measured" in estimated:
        last, problem = estimated["measured"], estimated["problem"]
        measured = [f"last run here: {last['line']}" if last else "not run here yet"]
        measured += [f"note: {problem}"] * (problem is not None)
    at_once = ", ".join(f"{stage} {count}" for stage, count in estimated["at_once"].items())
    return [
        f"preset {estimated['preset']} fits: {estimated['line']}",
        f"at once: {at_once}; {together} picture{'s' * (together > 1)} advance{'s' * (together == 1)} together",
        f"{bus}; {human_size(estimated['waiting_bytes'])} of weights wait in main memory, and reading takes up to "
        f"{human_size(estimated['reading_bytes'])} of it",
        *measured,
        f"{speed}; a real run: coz doctor --selftest {estimated['preset']}",
    ]
