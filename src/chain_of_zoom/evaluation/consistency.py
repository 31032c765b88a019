"""Measure whether a state still shows what the picture it was made from shows.

A state is reduced by area to the pixels of an ancestor (its parent, the 1x frame, or the photo) and compared there.
What a model made up within an ancestor's pixels is free; what contradicts them is an error. The paper has no such
measure, and metrics without a reference cannot see one: a chain may drift to another place in good looks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import ceil, floor, hypot
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from chain_of_zoom.errors import MetricError, MissingError
from chain_of_zoom.evaluation.metrics.base import Direction, Metric, MetricInfo
from chain_of_zoom.evaluation.metrics.psnr import CAP, psnr_of
from chain_of_zoom.evaluation.registration import find_shift
from chain_of_zoom.imaging.geometry import Box, Size
from chain_of_zoom.imaging.images import RGB8, area_reduce, size_of

if TYPE_CHECKING:
    from chain_of_zoom.chain.state import ScaleState

PlacedState: TypeAlias = "ScaleState | StateView"
Window = tuple[float, float, float, float]
Levels = NDArray[np.float64]

BLUR = 2.0
"""Sigma of the low-pass for colours, in pixels of the ancestor."""

_SLACK = 1e-6  # pixels; windows read from a record are floats


@dataclass(frozen=True)
class StateView:
    """A picture and where it lies, where there is no ScaleState."""

    image: RGB8
    """uint8, H x W x 3."""
    window: Window
    """(x0, y0, x1, y1) in pixels of the source, or in any other unit that all pictures compared share."""


@dataclass(frozen=True, kw_only=True)
class Consistency:
    """A state compared with one ancestor, over the state's window, on the ancestor's pixels.

    Where the ancestor is a photo that is finer than the state, the state's own pixels count instead.
    """

    psnr: float
    """In dB, at most 100; higher is better."""
    color: float
    """The mean absolute difference after a Gaussian of 2 pixels, in levels (0..255)."""
    gradient: float | None
    """The mean length of the difference of gradients, over that of the ancestor's gradients plus one level per pixel.

    0 is perfect, about 1 is as bad as no texture at all; the added level keeps flat windows from exploding. None for
    fewer than 2x2 pixels.
    """
    shift: tuple[float, float] | None
    """How far (x, y) the content moved to the right and down, in pixels of the ancestor; None where `gap` says why."""
    color_shift: tuple[float, float, float]
    """How much was added to the mean of R, G and B, in levels."""
    size: Size
    """The pixels that were compared; 1 where the window holds no whole one."""
    gap: str | None = None
    """Why there is no shift."""

    def name_numbers(self) -> dict[str, float | None]:
        """Return the numbers that INFOS describes, by name."""
        return {
            "consistency.psnr": self.psnr,
            "consistency.color": self.color,
            "consistency.gradient": self.gradient,
            "consistency.shift": hypot(*self.shift) if self.shift is not None else None,
            "consistency.color-shift": float(np.mean(np.abs(self.color_shift))),
        }


@dataclass(frozen=True, kw_only=True)
class StateConsistency:
    """A state of a chain compared with its parent and the 1x frame."""

    parent: Consistency
    """Against the state before it."""
    frame: Consistency
    """Against the 1x frame."""
    drift: tuple[float, float] | None
    """The sum (x, y) of all shifts up to this step in pixels of the 1x frame; None once a shift cannot be told.

    Deep states have too few pixels of the 1x frame to be placed on it directly.
    """

    def name_numbers(self) -> dict[str, float | None]:
        """Return the numbers that INFOS describes, by name."""
        frame = self.frame.name_numbers()
        return self.parent.name_numbers() | {
            "consistency.1x-psnr": frame["consistency.psnr"],
            "consistency.1x-color-shift": frame["consistency.color-shift"],
            "consistency.1x-drift": hypot(*self.drift) if self.drift is not None else None,
        }


class ConsistencyMetric(Metric):
    """One number of a StateConsistency; needs no truth, since the chain brings its own references."""

    needs = ("scipy",)
    needs_truth = False

    def __init__(self, name: str) -> None:
        self.info = INFOS[name]

    def read(self, consistency: StateConsistency) -> float | None:
        """Return the number, or None where it cannot be told."""
        return consistency.name_numbers()[self.info.name]


def measure_consistency(state: PlacedState, ancestor: PlacedState) -> Consistency:
    """Compare a state with an ancestor, any number of steps above it.

    Raises MetricError when the state's window leaves the ancestor's, and MissingError without the extra [eval].
    """
    if reason := ConsistencyMetric("consistency.psnr").missing():
        raise MissingError(f"consistency {reason}")
    from scipy.ndimage import gaussian_filter

    levels, true_levels = put_on_common_grid(state, ancestor)
    size = Size(true_levels.shape[1], true_levels.shape[0])
    difference = levels - true_levels
    blurred = gaussian_filter(difference, (BLUR, BLUR, 0), mode="nearest")
    red, green, blue = difference.mean(axis=(0, 1))
    grey, true_grey = levels.mean(axis=2), true_levels.mean(axis=2)
    shift = find_shift(grey, true_grey)
    gradient = _gradient_error(grey, true_grey) if min(size) > 1 else None
    gap = None if shift is not None else f"shift cannot be told from {size} pixels like these"
    return Consistency(
        psnr=psnr_of(levels, true_levels),
        color=float(np.abs(blurred).mean()),
        gradient=gradient,
        shift=shift,
        color_shift=(float(red), float(green), float(blue)),
        size=size,
        gap=gap,
    )


def measure_chain(states: Sequence[PlacedState]) -> list[StateConsistency]:
    """Compare every state but the first with the one before it and with the first, which is the 1x frame."""
    frame_pixel = _pixel_size(states[0])
    drift: tuple[float, float] | None = (0.0, 0.0)
    steps = []
    for parent, state in pairwise(states):
        to_parent = measure_consistency(state, parent)
        if drift is not None and to_parent.shift is not None:
            scale = np.divide(_pixel_size(parent), frame_pixel)
            (x, y), (dx, dy) = drift, to_parent.shift
            drift = (x + dx * float(scale[0]), y + dy * float(scale[1]))
        else:
            drift = None
        to_frame = to_parent if parent is states[0] else measure_consistency(state, states[0])
        steps.append(StateConsistency(parent=to_parent, frame=to_frame, drift=drift))
    return steps


def put_on_common_grid(state: PlacedState, ancestor: PlacedState) -> tuple[Levels, Levels]:
    """Reduce the finer of both by area to the pixels of the other, over the state's window: float64, levels 0..255.

    The ancestor is the coarser one, unless it is the photo and has more to show than the state. Its whole pixels
    inside the window count; where there is none, the mean over what the window has. Raises MetricError.
    """
    width, height = _pixel_size(ancestor)
    x0, y0, x1, y1 = (
        (edge - start) / unit
        for edge, start, unit in zip(state.window, ancestor.window[:2] * 2, (width, height) * 2, strict=True)
    )
    rows, columns = ancestor.image.shape[:2]
    if min(x0, y0) < -_SLACK or x1 > columns + _SLACK or y1 > rows + _SLACK or x1 <= x0 or y1 <= y0:
        raise MetricError(f"the window {state.window} leaves that of its ancestor, {ancestor.window}")
    own_size = size_of(state.image)
    across, down = own_size.width / (x1 - x0), own_size.height / (y1 - y0)
    if min(across, down) < 1:
        return state.image.astype(np.float64), _reduce(ancestor.image, (x0, y0, x1, y1), own_size)
    first_x, last_x = _whole_pixels(x0, x1)
    first_y, last_y = _whole_pixels(y0, y1)
    size = Size(max(1, round(last_x - first_x)), max(1, round(last_y - first_y)))
    inside = ((first_x - x0) * across, (first_y - y0) * down, (last_x - x0) * across, (last_y - y0) * down)
    return _reduce(state.image, inside, size), _reduce(ancestor.image, (first_x, first_y, last_x, last_y), size)


def _reduce(image: RGB8, box: Window, size: Size) -> Levels:
    """Average `box` of an image, in its pixels, down to `size`; only what the box touches is read."""
    x, y = max(0, floor(box[0])), max(0, floor(box[1]))
    pixels = image[y : ceil(box[3]), x : ceil(box[2])].astype(np.float32)
    inside = Box(*map(Fraction, (box[0] - x, box[1] - y, box[2] - x, box[3] - y)))
    return area_reduce(pixels, inside, size).astype(np.float64)


def _whole_pixels(start: float, stop: float) -> tuple[float, float]:
    """Return the ends of the whole pixels from start to stop, or the span itself where there is none."""
    first, last = ceil(start - _SLACK), floor(stop + _SLACK)
    return (first, last) if last > first else (start, stop)


def _pixel_size(state: PlacedState) -> tuple[float, float]:
    """Return width and height of a pixel, in the unit of the windows."""
    x0, y0, x1, y1 = state.window
    return float(x1 - x0) / state.image.shape[1], float(y1 - y0) / state.image.shape[0]


def _gradient_error(grey: Levels, true_grey: Levels) -> float:
    true_gradients = np.gradient(true_grey)
    down, right = np.subtract(np.gradient(grey), true_gradients)
    return float(np.hypot(down, right).mean() / (np.hypot(*true_gradients).mean() + 1))


def _describe(name: str, direction: Direction, top: float, note: str) -> MetricInfo:
    return MetricInfo(
        name=f"consistency.{name}",
        direction=direction,
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
        _describe("psnr", "higher", CAP, f"dB, at most {CAP:g}; reduced to the parent's pixels, against the parent"),
        _describe("color", "lower", 255, "levels; the same after a Gaussian of 2 pixels, mean absolute difference"),
        _describe("gradient", "lower", float("inf"), "relative; 0 is perfect, 1 as bad as no texture"),
        _describe("shift", "lower", float("inf"), "pixels of the parent that the content moved in this step"),
        _describe("color-shift", "lower", 255, "levels that the mean colour moved in this step"),
        _describe("1x-psnr", "higher", CAP, f"dB, at most {CAP:g}; reduced to the 1x frame's pixels, against that"),
        _describe("1x-color-shift", "lower", 255, "levels that the mean colour moved since the 1x frame"),
        _describe(
            "1x-drift", "lower", float("inf"), "pixels of the 1x frame that the content moved, all steps together"
        ),
    )
}
