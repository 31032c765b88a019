"""The pictures of an animation: every frame put together from the states whose windows the view meets.

A state is drawn where its exact window lies, enlarged or reduced in one go. Deeper states fade in while they grow to
fill the view, with a border that dissolves into the state around them: nothing jumps in place, size or brightness.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from chain_of_zoom.chain.state import ScaleState
from chain_of_zoom.imaging.geometry import Size, Window, covers
from chain_of_zoom.imaging.images import RGB8
from chain_of_zoom.movie.camera import Camera

# A state that is this share of the view's width begins to show, and shows fully.
FADE = (0.3, 0.9)


class Frames:
    """Frames of a zoom through `states`, of pixel size `size`; each is made when asked for, so memory stays small."""

    def __init__(self, states: Sequence[ScaleState], size: Size) -> None:
        self.states = states
        self.size = size
        self.camera = Camera(states[0].window, states[-1].window)
        self._pictures = [Image.fromarray(state.marked_image) for state in states]

    def draw(self, depth: float) -> RGB8:
        """Draw the frame at a depth from 0 (the first state) to 1 (the last): uint8, H x W x 3."""
        view = self.camera.view(depth)
        frame = Image.new("RGB", self.size)
        for index, weight in self.weigh(depth):
            self._draw_state(frame, view, index, weight)
        return np.asarray(frame)

    def weigh(self, depth: float) -> list[tuple[int, float]]:
        """Return (index, weight) of the states that are visible at a depth, the one around all others first."""
        view = self.camera.view(depth)
        visible = [(0, 1.0)]
        for index, state in enumerate(self.states[1:], 1):
            weight = fade(_width(state.window) / _width(view))
            if weight == 1 and covers(state.window, view):
                visible = [(index, 1.0)]
            elif weight > 0:
                visible.append((index, weight))
        return visible

    def magnification(self, depth: float) -> float:
        """Return the linear magnification of the view."""
        return self.states[0].magnification * math.pow(self.camera.total, depth)

    def _draw_state(self, frame: Image.Image, view: Window, index: int, weight: float) -> None:
        picture, window = self._pictures[index], self.states[index].window
        spans = [
            _Span(view[axis], view[axis + 2], window[axis], window[axis + 2], self.size[axis], picture.size[axis])
            for axis in (0, 1)
        ]
        if any(span.stop <= span.start for span in spans):
            return
        across, down = spans
        box = (across.box[0], down.box[0], across.box[1], down.box[1])
        drawn = picture.resize((across.stop - across.start, down.stop - down.start), Image.Resampling.BICUBIC, box=box)
        rows, columns = down.mask() * (255 * weight), across.mask()
        mask = None
        if rows.min() < 255 or columns.min() < 1:
            shades = np.multiply.outer(rows.astype(np.float32), columns.astype(np.float32))
            mask = Image.fromarray(np.rint(shades, out=shades).astype(np.uint8))
        frame.paste(drawn, (across.start, down.start), mask)


class _Span:
    """One axis of a state in the view: whole frame pixels from start to stop, and the box of the state they show."""

    def __init__(self, v0: float, v1: float, w0: float, w1: float, frame: int, pixels: int) -> None:
        scale = frame / (v1 - v0)
        self.edges = (w0 - v0) * scale, (w1 - v0) * scale
        self.frame = frame
        near = 1e-6  # edges that coincide with those of the frame, but for rounding
        self.start = max(0, math.ceil(self.edges[0] - near))
        self.stop = min(frame, math.floor(self.edges[1] + near))
        ratio = pixels / (self.edges[1] - self.edges[0])
        self.box = tuple(min(max((edge - self.edges[0]) * ratio, 0.0), pixels) for edge in (self.start, self.stop))

    def mask(self) -> NDArray[np.float64]:
        """Return 1 inside, falling to 0 at an edge in the view, over all pixels between it and the frame's edge."""
        centres = np.arange(self.start, self.stop, dtype=np.float64) + 0.5
        inside = np.ones(len(centres))
        for distance, gap in (
            (centres - self.edges[0], self.edges[0]),
            (self.edges[1] - centres, self.frame - self.edges[1]),
        ):
            if gap > 1e-6:
                inside *= _smooth(distance / max(gap, 1))
        return inside


def fade(share: float) -> float:
    """Return the weight of a state whose window is `share` of the view's width."""
    return float(_smooth(np.array((share - FADE[0]) / (FADE[1] - FADE[0]))))


def _smooth(x: NDArray[np.float64]) -> NDArray[np.float64]:
    x = np.clip(x, 0, 1)
    return np.asarray(x * x * (3 - 2 * x))


def _width(window: Window) -> float:
    return window[2] - window[0]
