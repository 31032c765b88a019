"""Choose the size at which a backbone sees a window: what it costs, and how much of the parent's detail it keeps."""

from __future__ import annotations

from enum import StrEnum
from fractions import Fraction
from typing import NamedTuple

from chain_of_zoom.chain.schedule import SMALL_PHOTO, Origin, Step
from chain_of_zoom.imaging.geometry import Size, ceil_size

PHOTO_SIDE, STATE_SIDE = Fraction(7, 5), Fraction(1)
"""Side of the largest window over that of a full step, which makes two times its pixels at most.

Of a photo's own pixels more is worth seeing than of those that a network made.
"""

STRETCH = Fraction(5, 4)
"""Largest enlargement of a state that is made by Lanczos, which is truer than another pass (docs/evidence.md)."""
STRETCHED = "the state before, enlarged by Lanczos"


class WindowFit(StrEnum):
    """Says how a backbone's input is made from the window of a step."""

    WHOLE = "whole"  # whole pixels of the parent
    ENLARGED = "enlarged"  # by bicubic, since one pass does not fill the output
    REDUCED = "reduced"  # by Lanczos, since the window is much larger than that of a full step


class FittedWindow(NamedTuple):
    """The input of a backbone."""

    size: Size
    """Its size in pixels."""
    fit: WindowFit
    """How it is made."""


def is_stretch(step: Step, output: Size) -> bool:
    """Return whether a step enlarges what a backbone made by so little that no backbone is asked again."""
    is_of_generated = step.origin is Origin.GENERATED and not step.from_source and SMALL_PHOTO not in step.fallbacks
    return is_of_generated and output.width <= STRETCH * step.region.width


def fit_window(step: Step, output: Size, factor: int) -> FittedWindow:
    """Return the backbone's input for a step of less, as much or more than its `factor`.

    A full pass over the window of a small step would make up to 16 times the pixels that are shown. Reduced, it is
    about as true, since the parent's own detail is put back into the result (docs/evidence.md).
    """
    ratio = output.width / step.region.width
    side = Fraction(1)
    if ratio <= factor:
        if ratio * PHOTO_SIDE >= factor:
            x0, y0, x1, y1 = step.cut.whole()
            return FittedWindow(Size(x1 - x0, y1 - y0), WindowFit.WHOLE)
        side = PHOTO_SIDE if step.from_source else STATE_SIDE
    size = ceil_size(output.width * side / factor, output.height * side / factor)
    return FittedWindow(size, WindowFit.REDUCED if ratio <= factor else WindowFit.ENLARGED)
