"""A map of straight lines at every scale: do they stay where they are?"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import numpy as np

from chain_of_zoom.evaluation.arena.scene import Plane, Scene, list_centres, mix_colours, read_ink
from chain_of_zoom.imaging.geometry import Size, Window
from chain_of_zoom.imaging.images import RGB8

LEVELS = 6
"""Scales with lines of their own, each 4 times finer."""
PER_LEVEL = 3
"""Lines of a level."""
WIDTH = 0.018
"""Width of the coarsest lines, in shares of the 1x view: 4.6 px of 256."""
DARKNESS = 0.26
"""Ink of one line; where two cross, it adds up, so that means of areas stay exact."""
NARROWEST, WIDEST = 2.0, 40.0
"""Pixels of a state that a line is wide that is looked for."""
LIKENESS = 0.5
"""Correlation of a line's profile with the exact one from which it counts as there."""


class MapLine(NamedTuple):
    """A straight line without ends."""

    angle: float
    """Direction of its normal, in radians."""
    distance: float
    """Place of its middle along the normal, from the origin, in shares of the 1x view."""
    width: float
    """Its width, likewise."""


class Lines(Scene):
    """Lines through the neighbourhood of the middle, with as many in a window of any depth."""

    name, about = "lines", "a map of straight lines, four times finer at every step"
    words = "street map, roads, thin lines"
    measures: ClassVar[dict[str, str]] = {
        "there": "share of the places along lines where the state shows the line",
        "moved": "distance that those have moved, in pixels of the photo",
    }

    def __init__(self, side: int, seed: int) -> None:
        super().__init__(side, seed)
        self.lines: list[MapLine] = []
        for level in range(LEVELS):
            turn = self.draws.uniform(0, np.pi)
            for number in range(PER_LEVEL):
                angle = turn + np.pi * (number + self.draws.uniform(-0.2, 0.2)) / PER_LEVEL
                offset = self.draws.uniform(-0.35, 0.35) / 4**level
                middle = 0.5 * (np.cos(angle) + np.sin(angle))
                self.lines.append(MapLine(float(angle), float(middle + offset), WIDTH / 4**level))

    def draw(self, window: Window, size: Size) -> Plane:
        """Add up the share of every pixel that lies in each line: exact, since pixels and lines are polygons."""
        x = list_centres(window[0], window[2], size.width)
        y = list_centres(window[1], window[3], size.height)
        ink = np.zeros((size.height, size.width))
        pixel = (window[2] - window[0]) / size.width
        for line in self.lines:
            along = np.cos(line.angle) * x + (np.sin(line.angle) * y)[:, None] - line.distance
            ink += _cover(along + line.width / 2, line.angle, pixel) - _cover(along - line.width / 2, line.angle, pixel)
        return mix_colours(np.clip(DARKNESS * ink, 0, 1))

    def judge(self, state: RGB8, truth: RGB8, window: Window) -> dict[str, float | None]:
        """Compare profiles across every line with the exact ones, every few pixels along it."""
        pixel = (window[2] - window[0]) / state.shape[1]
        ink, true_ink = read_ink(state), read_ink(truth)
        likenesses: list[float] = []
        moves: list[float] = []
        for line in self.lines:
            wide = line.width / pixel
            if NARROWEST <= wide <= WIDEST:
                for likeness, move in _follow(line, ink, true_ink, window, wide):
                    likenesses.append(likeness)
                    moves.append(move)
        if not likenesses:
            return {"there": None, "moved": None}
        is_there = np.array(likenesses) >= LIKENESS
        moved = float(np.array(moves)[is_there].mean()) * pixel * self.side if is_there.any() else None
        return {"there": float(is_there.mean()), "moved": moved}


def _cover(distance: Plane, angle: float, pixel: float) -> Plane:
    """Return the share of square pixels on the near side of a line; distance: of their middles beyond it."""
    wide, narrow = sorted((abs(np.cos(angle)) * pixel / 2, abs(np.sin(angle)) * pixel / 2), reverse=True)
    narrow = max(narrow, 1e-9 * pixel)

    def ramp(value: Plane) -> Plane:
        return np.square(np.clip(value, 0, None)) / 2

    # The second integral of the four edges of the trapezoid that a square throws on the normal.
    corners = ramp(distance + wide + narrow) - ramp(distance + wide - narrow)
    corners -= ramp(distance - wide + narrow) - ramp(distance - wide - narrow)
    share: Plane = corners / (4 * wide * narrow)
    return share


def _follow(line: MapLine, ink: Plane, true_ink: Plane, window: Window, wide: float) -> list[tuple[float, float]]:
    """List, for places along a line, how like the exact profile the best one is, and how many pixels it has moved."""
    from scipy.ndimage import map_coordinates

    height, width = ink.shape
    normal = np.array([np.cos(line.angle), np.sin(line.angle)])
    corner = np.array(window[:2])
    foot = (normal * line.distance - corner) * width / (window[2] - window[0])
    reach = max(1.5 * wide, 6.0)
    across = np.arange(-2 * reach, 2 * reach + 0.25, 0.5)
    results: list[tuple[float, float]] = []
    for step in np.arange(-1.5 * width, 1.5 * width, 6.0):
        # Foot of the normal from the origin, which may lie far outside: measured from the point nearest to the middle.
        middle = foot + (np.array([width, height]) / 2 - foot) @ _along(normal) * _along(normal) + step * _along(normal)
        if not (2 * reach < middle[0] < width - 2 * reach and 2 * reach < middle[1] < height - 2 * reach):
            continue
        points = middle[:, None] + normal[:, None] * across - 0.5
        profile, true_profile = (
            map_coordinates(plane, points[::-1], order=1, mode="nearest") for plane in (ink, true_ink)
        )
        results.append(_compare(profile, true_profile, round(reach / 0.5)))
    return results


def _along(normal: Plane) -> Plane:
    return np.array([-normal[1], normal[0]])


def _compare(profile: Plane, true_profile: Plane, slack: int) -> tuple[float, float]:
    """Return the highest correlation of a profile with a part of the exact one, and its distance in pixels."""
    cut = true_profile[slack:-slack]
    cut = cut - cut.mean()
    best, distance = -1.0, 0.0
    for shift in sorted(range(-slack, slack + 1), key=abs):
        part = profile[slack + shift : len(profile) - slack + shift]
        part = part - part.mean()
        norm = float(np.linalg.norm(part) * np.linalg.norm(cut))
        likeness = float(part @ cut) / norm if norm > 1e-6 else 0.0
        if likeness > best + 1e-6:
            best, distance = likeness, abs(shift) * 0.5
    return best, distance
