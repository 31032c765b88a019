"""Consistency: does a state still show what the picture it was made from shows?

A state is reduced by area to the pixels of an ancestor (its parent, the 1x frame, or the photo) and compared there.
What a model made up within an ancestor's pixels is free; what contradicts them is an error. The paper has no such
measure, and those without a reference cannot see one: a chain may drift to another place in good looks.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import ceil, floor, hypot
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from chain_of_zoom.errors import MetricError, MissingError
from chain_of_zoom.evaluation.metrics.base import MetricInfo
from chain_of_zoom.evaluation.metrics.psnr import CAP, psnr_of
from chain_of_zoom.evaluation.registration import shift_between
from chain_of_zoom.imaging.geometry import Box, Size
from chain_of_zoom.imaging.images import RGB8, area_reduce, size_of

Window = tuple[float, float, float, float]
Levels = NDArray[np.float64]

BLUR = 2.0
"""Sigma of the low-pass for colours, in pixels of the ancestor."""

_SLACK = 1e-6  # pixels; windows read from a record are floats


class Placed(Protocol):
    """A picture and where it lies; a ScaleState is one.

    image: uint8, H x W x 3. window: (x0, y0, x1, y1), in pixels of the source or any other unit that all share.
    """

    @property
    def image(self) -> RGB8:
        """Its pixels."""

    @property
    def window(self) -> Window:
        """Where it lies."""


@dataclass(frozen=True)
class View:
    """A picture and where it lies, for those that are no state: the photo has the window (0, 0, width, height)."""

    image: RGB8
    window: Window


@dataclass(frozen=True, kw_only=True)
class Consistency:
    """A state against one ancestor, over the state's window, on the ancestor's pixels.

    psnr: dB, at most 100; higher is better. color: mean absolute difference after a Gaussian of 2 pixels, in levels
    (0..255). gradient: mean length of the difference of gradients, over that of the ancestor's gradients plus one
    level per pixel; 0 is perfect, about 1 is as bad as no texture at all. shift: (x, y) that the content moved to the
    right and down, in pixels of the ancestor. color_shift: what was added to the mean of R, G and B, in levels.
    size: the pixels compared; where the window holds no whole one, 1. Of a photo that is finer than the state, the
    state's own pixels count instead.

    gradient and shift are None where they cannot be told: `gap` says why.
    """

    psnr: float
    color: float
    gradient: float | None
    shift: tuple[float, float] | None
    color_shift: tuple[float, float, float]
    size: Size
    gap: str | None = None

    def values(self) -> dict[str, float | None]:
        """The numbers that INFOS describes, by name."""
        return {
            "consistency.psnr": self.psnr,
            "consistency.color": self.color,
            "consistency.gradient": self.gradient,
            "consistency.shift": hypot(*self.shift) if self.shift is not None else None,
            "consistency.color-shift": float(np.mean(np.abs(self.color_shift))),
        }


@dataclass(frozen=True, kw_only=True)
class StateConsistency:
    """A state of a chain against its parent and the 1x frame.

    drift: the shifts of this step and all before it, (x, y) in pixels of the 1x frame; None from the first step on
    whose shift cannot be told.
    """

    parent: Consistency
    frame: Consistency
    drift: tuple[float, float] | None

    def values(self) -> dict[str, float | None]:
        """The numbers that INFOS describes, by name."""
        total = self.frame.values()
        return self.parent.values() | {
            "consistency.1x-psnr": total["consistency.psnr"],
            "consistency.1x-color-shift": total["consistency.color-shift"],
            "consistency.1x-drift": hypot(*self.drift) if self.drift is not None else None,
        }


def missing() -> str | None:
    """What is not installed and needed, and how to get it."""
    return None if importlib.util.find_spec("scipy") else "lacks scipy; type: pip install 'chain-of-zoom[eval]'"


def consistency(state: Placed, ancestor: Placed) -> Consistency:
    """Compare a state with an ancestor, any number of steps above it.

    Raises MetricError when the state's window leaves the ancestor's, and MissingError without the extra [eval].
    """
    if why := missing():
        raise MissingError(f"consistency {why}")
    from scipy.ndimage import gaussian_filter

    here, there = on_common_grid(state, ancestor)
    size = Size(there.shape[1], there.shape[0])
    difference = here - there
    blurred = gaussian_filter(difference, (BLUR, BLUR, 0), mode="nearest")
    red, green, blue = difference.mean(axis=(0, 1))
    one, other = here.mean(axis=2), there.mean(axis=2)
    shift = shift_between(one, other)
    gradient = _gradient_error(one, other) if min(size) > 1 else None
    gap = None if shift is not None else f"shift cannot be told from {size} pixels like these"
    return Consistency(
        psnr=psnr_of(here, there),
        color=float(np.abs(blurred).mean()),
        gradient=gradient,
        shift=shift,
        color_shift=(float(red), float(green), float(blue)),
        size=size,
        gap=gap,
    )


def chain_consistency(states: Sequence[Placed]) -> list[StateConsistency]:
    """Every state but the first against the one before it and against the first, which is the 1x frame."""
    frame_pixel = _pixel(states[0])
    drift: tuple[float, float] | None = (0.0, 0.0)
    found = []
    for parent, state in pairwise(states):
        step = consistency(state, parent)
        if drift is not None and step.shift is not None:
            scale = np.divide(_pixel(parent), frame_pixel)
            drift = (drift[0] + step.shift[0] * float(scale[0]), drift[1] + step.shift[1] * float(scale[1]))
        else:
            drift = None
        frame = step if parent is states[0] else consistency(state, states[0])
        found.append(StateConsistency(parent=step, frame=frame, drift=drift))
    return found


def on_common_grid(state: Placed, ancestor: Placed) -> tuple[Levels, Levels]:
    """The finer of both reduced by area to the pixels of the other, over the state's window: float64, levels 0..255.

    The ancestor is the coarser one, unless it is the photo and has more to show than the state. Its whole pixels
    inside the window count; where there is none, the mean over what the window has. Raises MetricError.
    """
    width, height = _pixel(ancestor)
    x0, y0, x1, y1 = (
        (edge - start) / unit
        for edge, start, unit in zip(state.window, ancestor.window[:2] * 2, (width, height) * 2, strict=True)
    )
    rows, columns = ancestor.image.shape[:2]
    if min(x0, y0) < -_SLACK or x1 > columns + _SLACK or y1 > rows + _SLACK or x1 <= x0 or y1 <= y0:
        raise MetricError(f"the window {state.window} leaves that of its ancestor, {ancestor.window}")
    own = size_of(state.image)
    across, down = own.width / (x1 - x0), own.height / (y1 - y0)
    if min(across, down) < 1:
        return state.image.astype(np.float64), _reduced(ancestor.image, (x0, y0, x1, y1), own)
    left, right = _whole(x0, x1)
    top, bottom = _whole(y0, y1)
    size = Size(max(1, round(right - left)), max(1, round(bottom - top)))
    inside = ((left - x0) * across, (top - y0) * down, (right - x0) * across, (bottom - y0) * down)
    return _reduced(state.image, inside, size), _reduced(ancestor.image, (left, top, right, bottom), size)


def _reduced(image: RGB8, box: Window, size: Size) -> Levels:
    """`box` of an image, in its pixels, averaged down to `size`; only what the box touches is read."""
    left, top = max(0, floor(box[0])), max(0, floor(box[1]))
    touched = image[top : ceil(box[3]), left : ceil(box[2])].astype(np.float32)
    inside = Box(*map(Fraction, (box[0] - left, box[1] - top, box[2] - left, box[3] - top)))
    return area_reduce(touched, inside, size).astype(np.float64)


def _whole(start: float, stop: float) -> tuple[float, float]:
    """The whole pixels from start to stop, or the span itself where there is none."""
    first, last = ceil(start - _SLACK), floor(stop + _SLACK)
    return (first, last) if last > first else (start, stop)


def _pixel(picture: Placed) -> tuple[float, float]:
    """Width and height of a pixel, in the unit of the windows."""
    x0, y0, x1, y1 = picture.window
    return float(x1 - x0) / picture.image.shape[1], float(y1 - y0) / picture.image.shape[0]


def _gradient_error(one: Levels, other: Levels) -> float:
    down, right = (a - b for a, b in zip(np.gradient(one), np.gradient(other), strict=True))
    return float(np.hypot(down, right).mean() / (np.hypot(*np.gradient(other)).mean() + 1))


def _info(name: str, direction: str, top: float, note: str) -> MetricInfo:
    assert direction in ("higher", "lower")
    return MetricInfo(
        name=f"consistency.{name}",
        direction="higher" if direction == "higher" else "lower",
        range=(0, top),
        reference=True,
        source="this project, docs/evaluation-metrics.md",
        licence="Apache-2.0",
        extra="eval",
        note=note,
    )


INFOS: dict[str, MetricInfo] = {
    info.name: info
    for info in (
        _info("psnr", "higher", CAP, f"dB, at most {CAP:g}; reduced to the parent's pixels, against the parent"),
        _info("color", "lower", 255, "levels; the same after a Gaussian of 2 pixels, mean absolute difference"),
        _info("gradient", "lower", float("inf"), "relative; 0 is perfect, 1 as bad as no texture"),
        _info("shift", "lower", float("inf"), "pixels of the parent that the content moved in this step"),
        _info("color-shift", "lower", 255, "levels that the mean colour moved in this step"),
        _info("1x-psnr", "higher", CAP, f"dB, at most {CAP:g}; reduced to the 1x frame's pixels, against that"),
        _info("1x-color-shift", "lower", 255, "levels that the mean colour moved since the 1x frame"),
        _info("1x-drift", "lower", float("inf"), "pixels of the 1x frame that the content moved, all steps together"),
    )
}
