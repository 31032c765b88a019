"""What a scene of the arena is: a picture without an end, which is drawn anew at each scale, from a seed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from chain_of_zoom.imaging.geometry import Size, Window
from chain_of_zoom.imaging.images import RGB8, RGBF, to_uint8

Plane = NDArray[np.float64]

WHOLE: Window = (0.0, 0.0, 1.0, 1.0)
"""The 1x view, in the unit of all windows: its side."""
PAPER, INK = np.array([0.95, 0.93, 0.86]), np.array([0.12, 0.12, 0.2])
"""The colours of scenes with two, RGB in [0, 1]; never without colour, so that no zoom counts as grey."""


class Scene(ABC):
    """A picture whose pixels are exact at any depth: means over the area of each pixel.

    It has as much to show about its middle at every depth. side: pixels of the 1x view along a side, which lets a scene
    choose what is just visible there. seed: of everything random.
    """

    name: ClassVar[str]
    """Its name in tables."""
    about: ClassVar[str]
    """What it shows, for reports."""
    words: ClassVar[str]
    """The right words for it, for backbones that read them."""
    measures: ClassVar[dict[str, str]]
    """What is measured beside the detail: the name of each number and what it says; the first one leads."""
    deepest: ClassVar[int] = 1024
    """The last depth at which it has anything to show."""
    takes: ClassVar[int] = 1
    """Pictures for each seed that was asked for, where one of them shows little."""

    def __init__(self, side: int, seed: int) -> None:
        self.side, self.seed = side, seed
        self.draws = np.random.default_rng([seed, *self.name.encode()])

    @abstractmethod
    def draw(self, window: Window, size: Size) -> Plane:
        """Draw a window (edges as shares of the 1x view): H x W x 3, float64 in [0, 1], the mean over each pixel."""

    @abstractmethod
    def judge(self, state: RGB8, truth: RGB8, window: Window) -> dict[str, float | None]:
        """Compare a state with the exact picture of its window; None where this window shows too little for a number.

        window: as for `draw`. Returns a value for each of `measures`.
        """

    def photograph(self, window: Window, size: Size) -> RGB8:
        """Draw a window in 8 bits."""
        drawn: RGBF = self.draw(window, size).astype(np.float32)
        return to_uint8(drawn)


def list_centres(start: float, stop: float, count: int) -> Plane:
    """List the centres of `count` pixels from start to stop."""
    return start + (np.arange(count) + 0.5) * (stop - start) / count


def mix_colours(share: Plane) -> Plane:
    """Colour a plane by shares of ink: H x W to H x W x 3."""
    coloured: Plane = PAPER + share[..., None] * (INK - PAPER)
    return coloured


def read_ink(pixels: RGB8) -> Plane:
    """Return the share of ink in every pixel, 0 to 1 but for colours that are not of the scene."""
    direction = INK - PAPER
    shares: Plane = (pixels / 255 - PAPER) @ direction / (direction @ direction)
    return shares


def average_blocks(values: Plane, count: int) -> Plane:
    """Average squares of count x count values of the first two axes."""
    height, width = values.shape[0] // count, values.shape[1] // count
    means: Plane = values.reshape(height, count, width, count, *values.shape[2:]).mean(axis=(1, 3))
    return means
