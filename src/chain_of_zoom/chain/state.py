"""A scale-state: one picture of the chain and how it came about."""

from __future__ import annotations

from dataclasses import dataclass

from chain_of_zoom.chain.choice import Variant
from chain_of_zoom.chain.schedule import Origin
from chain_of_zoom.imaging.images import RGB8


@dataclass(frozen=True, kw_only=True)
class ScaleState:
    """One state of a zoom (the paper's x_i).

    image: uint8, H x W x 3, sRGB. input: the bicubic enlargement it was made from (None for states that were reduced,
    or read back from a folder). magnification: linear, relative to the 1x frame. source_scale: output pixels
    per source pixel. window: (x0, y0, x1, y1) in pixels of the oriented source picture; exact, so not always whole.
    prompter, prompt_raw, prompt: who wrote the text, as extracted and as sent; None for states that no backbone made;
    "edited", None and the text where the user wrote it into the record. prompt_used: False when the backbone ignores
    text. variant: the alternative that the user chose, if so. beyond_evidence: generated at a source_scale above the
    backbone's evidence limit. seconds: prompt and super-resolution together. fallbacks: what did not go the plain way.
    """

    image: RGB8
    input: RGB8 | None = None
    magnification: float
    source_scale: float
    origin: Origin
    window: tuple[float, float, float, float]
    prompter: str | None = None
    prompt: str | None = None
    prompt_raw: str | None = None
    prompt_used: bool = False
    variant: Variant | None = None
    beyond_evidence: bool = False
    seconds: float = 0.0
    fallbacks: tuple[str, ...] = ()


def magnification_name(magnification: float) -> str:
    """`64x`, `7.81x`: for file names and captions."""
    return f"{magnification:.2f}".rstrip("0").rstrip(".") + "x"
