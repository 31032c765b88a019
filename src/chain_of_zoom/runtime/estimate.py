"""What a step of the paper's stack takes on a card, told before anything is read or downloaded: arithmetic alone.

Sizes and operations are those of the published networks (benchmarks/placement.py and paper_floor.py count them), speeds
those that makers state for 16-bit matrices with float32 sums: a floor, which no run goes below.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from chain_of_zoom.runtime.plan import Need, NetworkPart, Placement, Stage

PARTS: dict[str, NetworkPart] = {
    part.name: part
    for part in (
        NetworkPart(name="vlm", stage="prompts", parameters=3_754_622_976, quantisable=3_441_197_056, work=400_000_000),
        NetworkPart(name="clip", stage="texts", parameters=818_310_144, work=10_000_000),
        NetworkPart(name="t5", stage="texts", parameters=4_762_310_656, quantisable=4_630_511_616, work=200_000_000),
        NetworkPart(name="transformer", stage="image", parameters=2_028_328_000, work=560_000_000),
        NetworkPart(name="vae", stage="image", parameters=83_819_683, work=1_610_000_000, dtype="float32"),
    )
}
"""Qwen2.5-VL-3B and Stable Diffusion 3 medium."""
OPERATIONS: dict[Stage, float] = {"prompts": 7.6e12, "texts": 4.96e12, "image": 6.19e12}
"""Of one picture of 512 x 512 px, a product and a sum counted as two."""
WORDS, WORD_WEIGHTS = 31, 3.086e9
"""Words after the first, and the weights that pass through memory for each; a batch shares them."""
BUS, SLOW_BUS = 25e9, 6e9
"""Bytes a second from page-locked and from other memory, by PCIe 4 with 16 lanes; rounded from common measurements."""
CARDS: dict[str, tuple[float, float]] = {
    "H200": (989e12, 4.8e12), "H100 PCIe": (756e12, 2.0e12), "H100": (989e12, 3.35e12), "A100": (312e12, 2.0e12),
    "L40S": (362e12, 0.86e12), "RTX A6000": (155e12, 0.77e12), "RTX 5090": (210e12, 1.79e12),
    "RTX 4090": (165e12, 1.01e12), "RTX 3090": (71e12, 0.94e12), "A10": (125e12, 0.6e12), "L4": (121e12, 0.3e12),
    "V100": (125e12, 0.9e12), "T4": (65e12, 0.32e12),
}  # fmt: skip
"""Operations and bytes of memory a second, by a part of the card's name; the first that fits counts."""


@dataclass(frozen=True, kw_only=True)
class StepEstimate:
    """Says what a step takes."""

    placement: Placement
    """Where everything goes."""
    copied: int
    """Bytes that enter the cards in a step, once for all pictures that advance together."""
    waiting: int
    """Bytes of weights that wait in main memory."""
    reading: int
    """Bytes of main memory that reading the largest network takes for a while."""
    passes: Mapping[Stage, int]
    """Passes of each stage for the pictures that advance together."""

    def find_floor(self, card: str) -> float | None:
        """Return the least seconds of a picture's step by a card's stated speed, copies included; None if unknown."""
        speed = next((speed for name, speed in CARDS.items() if name in card), None)
        if speed is None:
            return None
        rate, bandwidth = speed
        seconds = sum(OPERATIONS[stage] / rate for stage in self.passes) + self.copied / BUS / self.placement.together
        if "prompts" in self.passes:
            width = 1 if any(part.int8 for part in self.placement.parts_of("prompts")) else 2
            seconds += WORDS * WORD_WEIGHTS * width / bandwidth / self.placement.batch["prompts"]
        return seconds


def list_needs(*, prompts: bool) -> list[Need]:
    """Return what the paper's backbone needs, and its prompter where there are to be prompts."""
    backbone = Need(parts=tuple(part for part in PARTS.values() if part.stage != "prompts"))
    return [Need(parts=(PARTS["vlm"],)), backbone] if prompts else [backbone]


def estimate_step(placement: Placement) -> StepEstimate:
    """Tell what a step takes where everything lies as planned."""
    stages: list[Stage] = [stage for stage in OPERATIONS if placement.parts_of(stage)]
    on_cards = {part.device for part in placement.parts} & placement.free.keys()
    waiting = [
        part for part in placement.parts if part.device not in on_cards or part.part.stage not in placement.pinned
    ]
    return StepEstimate(
        placement=placement,
        copied=sum(part.weights for part in waiting if part.device in on_cards),
        waiting=sum(part.weights for part in waiting),
        reading=max(part.part.weights(part.dtype) for part in placement.parts),
        passes={stage: -(-placement.together // placement.batch[stage]) for stage in stages},
    )
