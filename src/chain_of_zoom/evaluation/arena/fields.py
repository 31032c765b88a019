"""Random fields with a known spectrum: is the texture that a zoom makes as rough as the one that is there?"""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar

import numpy as np

from chain_of_zoom.evaluation.arena.scene import Plane, Scene, list_centres
from chain_of_zoom.imaging.geometry import Size, Window
from chain_of_zoom.imaging.images import RGB8

OCTAVES = 17
"""Octaves of waves: from one over the 1x view to the finest that 1,024x shows of 256 pixels."""
PER_OCTAVE = 40
"""Waves of an octave."""
TINT = np.array([1.0, 0.92, 0.78])
"""Strength of the field in R, G and B."""
BASE = np.array([0.5, 0.48, 0.42])
"""Its mean."""
INVENTED = 1 / 8, 1 / 2.2
"""Frequencies, in cycles per pixel of a state, that a parent 4 times smaller cannot show, but for the very finest."""


class Field(Scene):
    """Plane waves of random directions, frequencies and phases; `loss` is the share of strength an octave loses."""

    loss: ClassVar[float]
    """Exponent by which the strength of waves falls with their frequency."""
    strength: ClassVar[float]
    """Standard deviation of the coarsest octave."""
    measures: ClassVar[dict[str, str]] = {
        "slope": "error of the slope of the power spectrum (exponent) where the parent shows nothing",
        "power": "doublings of the power there away from the exact one",
    }

    def __init__(self, side: int, seed: int) -> None:
        super().__init__(side, seed)
        octaves = np.repeat(np.arange(OCTAVES), PER_OCTAVE) + self.draws.random(OCTAVES * PER_OCTAVE)
        frequencies = 2.0**octaves
        turns = self.draws.uniform(0, 2 * np.pi, frequencies.size)
        self.x_frequencies, self.y_frequencies = frequencies * np.cos(turns), frequencies * np.sin(turns)
        amplitudes = self.strength * np.sqrt(2 / PER_OCTAVE) * frequencies**-self.loss
        self.waves = amplitudes * np.exp(2j * np.pi * self.draws.random(frequencies.size))

    def draw(self, window: Window, size: Size) -> Plane:
        """Add up the waves; the mean of a wave over a pixel is the wave times two sincs."""
        pixel = (window[2] - window[0]) / size.width
        x = list_centres(window[0], window[2], size.width)
        y = list_centres(window[1], window[3], size.height)
        shares = self.waves * np.sinc(self.x_frequencies * pixel) * np.sinc(self.y_frequencies * pixel)
        across = np.exp(2j * np.pi * self.x_frequencies[:, None] * x)
        down = np.exp(2j * np.pi * self.y_frequencies[:, None] * y)
        field = ((down * shares[:, None]).T @ across).real
        coloured: Plane = np.clip(BASE + field[..., None] * TINT, 0, 1)
        return coloured

    def judge(self, state: RGB8, truth: RGB8, window: Window) -> dict[str, float | None]:
        """Compare slope and power of both spectra."""
        (slope, power), (true_slope, true_power) = measure_spectrum(state), measure_spectrum(truth)
        return {"slope": abs(slope - true_slope), "power": abs(power - true_power)}


def measure_spectrum(pixels: RGB8) -> tuple[float, float]:
    """Return the exponent of the power spectrum over the frequency, and the logarithm (base 2) of the power.

    Both over INVENTED, of the mean of R, G and B under a Hann window, by rings of equal width in octaves.
    """
    grey = pixels.astype(np.float64).mean(axis=2)
    height, width = grey.shape
    taper = np.hanning(height)[:, None] * np.hanning(width)
    mean = (grey * taper).sum() / taper.sum()
    power = np.abs(np.fft.rfft2((grey - mean) * taper)) ** 2 / np.square(taper).sum()
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    edges = np.geomspace(*INVENTED, 9)
    rings = [(frequency >= low) & (frequency < high) for low, high in pairwise(edges)]
    levels = np.log2([power[ring].mean() + 1 / 12 for ring in rings])  # at least what rounding to 8 bits adds
    slope = np.polyfit(np.log2(np.sqrt(edges[:-1] * edges[1:])), levels, 1)[0]
    return float(slope), float(levels.mean())


class RandomField(Field):
    """As strong in every octave."""

    name, about, loss, strength = "random field", "waves of every size, all equally strong", 0.0, 0.035
    words = "sand, fine grains"


class Fractal(Field):
    """Weaker the finer, like a landscape."""

    name, about, loss, strength = "fractal", "waves of every size, weaker the finer they are", 0.25, 0.08
    words = "rough stone, rock surface"
