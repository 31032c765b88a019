"""How deep a zoom is supported: by the real detail of the photo at the spot, and by the tests of the backbone."""

from __future__ import annotations

from fractions import Fraction
from math import floor

from chain_of_zoom.chain.schedule import Aim
from chain_of_zoom.chain.state import magnification_name
from chain_of_zoom.imaging.geometry import Box
from chain_of_zoom.truth.resolution import SOFT, DetailMeter, count_blur


def find_supported(aim: Aim, meter: DetailMeter, evidence_limit: float | None) -> Fraction:
    """Find the magnification up to which a zoom is supported, at least 1, in hundredths.

    A backbone has evidence for so many output pixels per pixel of a sharp photo; a pixel that is blurred over three
    counts as a third of one. Plain enlargement, whose limit is None, is supported as far as the photo has detail.
    """
    limit = Fraction(1 if evidence_limit is None else evidence_limit)
    blur = count_blur(meter.measure(Box(*aim.spot, *aim.spot)))
    return max(Fraction(1), Fraction(floor(float(aim.fit * limit) / blur * 100), 100))


def describe_support(finest: float | None, supported: float | None) -> str:
    """Say how fine the detail of the photo is at the spot, in px, and how deep that supports a zoom."""
    text = "no detail above noise here" if finest is None else f"real detail down to {finest:.2g} px here"
    return text if supported is None else f"{text}; supported to about {round_magnification(supported)}"


def round_magnification(magnification: float) -> str:
    """Write a magnification that is an estimate: `9x`, `1.4x`."""
    return magnification_name(round(magnification, 1 if magnification < 5 else None))


def describe_softness(finest: float | None) -> str | None:
    """Say that a whole photo has less detail than pixels; None where it is sharp. finest: of all of it, in px."""
    if finest is None:
        return "no detail of this photo stands out of its noise"
    if finest < SOFT:
        return None
    return (
        f"this photo has fewer details than pixels, as when it is soft or was enlarged: the finest is {finest:.2g} px"
    )
