"""Flat areas with sharp edges at every scale: a checkered field, and vector art."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from chain_of_zoom.evaluation.arena.scene import (
    Plane,
    Scene,
    average_blocks,
    list_centres,
    mix_colours,
    read_ink,
)
from chain_of_zoom.imaging.geometry import Size, Window
from chain_of_zoom.imaging.images import RGB8

SAMPLES = 6
"""Samples of a pixel along a side."""
SECTORS = 16
"""Fields of the checkered disc on a ring."""
RINGS = 1.77
"""Its rings for each halving of the distance from the middle: fields are about square."""
SHAPES = 90
"""Shapes of the vector art."""
DEEPEST = 11.5
"""Halvings of the distance to the middle at which the last of them lie."""


def _sample(window: Window, size: Size) -> tuple[Plane, Plane]:
    """Return the places of all samples, from the middle of the 1x view: a row of x and a column of y."""
    x = list_centres(window[0] - 0.5, window[2] - 0.5, size.width * SAMPLES)
    return x, list_centres(window[1] - 0.5, window[3] - 0.5, size.height * SAMPLES)[:, None]


class Checkers(Scene):
    """A disc of light and dark fields that halve towards the middle, over and over."""

    name, about = "checkers", "a checkered disc whose fields shrink towards the middle without an end"
    words = "woven fabric, black and white"
    measures: ClassVar[dict[str, str]] = {"right": "share of the pixels that are on the right side of grey"}

    def __init__(self, side: int, seed: int) -> None:
        super().__init__(side, seed)
        self.turn, self.phase = self.draws.uniform(0, 1, 2)

    def draw(self, window: Window, size: Size) -> Plane:
        """Average samples; fields finer than those are grey."""
        x, y = _sample(window, size)
        rings = RINGS * np.log2(np.maximum(np.hypot(x, y), 1e-12)) + self.phase
        sectors = np.arctan2(y, x) * SECTORS / (2 * np.pi) + self.turn
        return mix_colours(average_blocks((np.floor(rings) + np.floor(sectors)) % 2, SAMPLES))

    def judge(self, state: RGB8, truth: RGB8, window: Window) -> dict[str, float | None]:
        """Count pixels, but for those on edges and finer than any pixel."""
        ink, true_ink = read_ink(state), read_ink(truth)
        clear = np.abs(true_ink - 0.5) > 0.25
        return {"right": float(((ink > 0.5) == (true_ink > 0.5))[clear].mean()) if clear.any() else None}


class Shape(NamedTuple):
    """A flat shape of the vector art."""

    x: float
    """Place of its middle, from that of the 1x view."""
    y: float
    """Likewise, down."""
    radius: float
    """Its radius, in shares of the 1x view."""
    corners: int
    """Number of its corners; 0 for a disc."""
    turn: float
    """How far it is turned, in radians."""
    colour: tuple[float, float, float]
    """Its colour, R, G and B in [0, 1]."""


class VectorArt(Scene):
    """Discs, triangles and squares about the middle, smaller the nearer, the nearer ones on top."""

    name, about = "vector art", "flat shapes with sharp edges, ever smaller towards the middle"
    words = "coloured paper shapes, flat illustration"
    measures: ClassVar[dict[str, str]] = {}

    def __init__(self, side: int, seed: int) -> None:
        super().__init__(side, seed)
        self.shapes: list[Shape] = []
        for number in range(SHAPES):
            distance = 0.6 * 2 ** (-DEEPEST * number / SHAPES)
            turn, where, size = self.draws.uniform(0, 2 * np.pi, 2).tolist() + [self.draws.uniform(0.25, 0.6)]
            corners = int(self.draws.choice([0, 0, 3, 4]))
            red, green, blue = self.draws.uniform(0.05, 0.95, 3).tolist()
            x, y = distance * np.cos(where), distance * np.sin(where)
            self.shapes.append(Shape(float(x), float(y), distance * size, corners, turn, (red, green, blue)))

    def draw(self, window: Window, size: Size) -> Plane:
        """Paint from the outside in, in samples, and average them."""
        x, y = _sample(window, size)
        picture = np.empty((y.size, x.size, 3))
        picture[:] = 0.85, 0.87, 0.8
        for shape in self.shapes:
            rows = np.abs(y[:, 0] - shape.y) <= shape.radius
            columns = np.abs(x - shape.x) <= shape.radius
            if rows.any() and columns.any():
                part = np.ix_(rows, columns)
                block = picture[part]
                block[_contains(shape, x[columns], y[rows])] = shape.colour
                picture[part] = block
        return average_blocks(picture, SAMPLES)

    def judge(self, state: RGB8, truth: RGB8, window: Window) -> dict[str, float | None]:
        """Leave it to the detail."""
        return {}


def _contains(shape: Shape, x: Plane, y: Plane) -> NDArray[np.bool_]:
    """Return which samples lie in a shape."""
    x, y = x - shape.x, y - shape.y
    if not shape.corners:
        disc: NDArray[np.bool_] = np.hypot(x, y) <= shape.radius
        return disc
    angles = shape.turn + 2 * np.pi * np.arange(shape.corners) / shape.corners
    inner = shape.radius * np.cos(np.pi / shape.corners)
    sides = [np.cos(angle) * x + np.sin(angle) * y <= inner for angle in angles]
    polygon: NDArray[np.bool_] = np.logical_and.reduce(sides)
    return polygon
