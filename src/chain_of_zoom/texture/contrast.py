"""How strong the detail is that a picture lacks, and where its grain runs: both read off the detail that it has.

The power of natural pictures falls off evenly from octave to octave, so the finest octaves that are there foretell the
next ones; where the picture is out of focus they are empty, and so is what is foretold. The coefficients were fitted on
true zooms (docs/texture.md), for a parent that a network enlarged and for one that has texture already.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

REACH = 8
"""Pixels of the picture on each side over which contrast and direction are averaged."""
FLOOR = 0.25 / 255
"""Contrast that counts as none: a quarter of a grey level."""


class ContrastLaw(NamedTuple):
    """Foretells the missing detail from one octave: its contrast over FLOOR to a power, times a gain, times FLOOR."""

    octave: int
    """Which octave it reads, 0 the finest."""
    gain: float
    """The missing contrast where that octave has FLOOR."""
    power: float
    """How fast it grows with that octave."""
    strength_share: float
    """Share of a material's strength: less where the parent shows the material already."""
    vanishes: int
    """The detail is finer than so many pixels of the enlargement: reduced by that it is gone."""


# A network that enlarged the parent left its finest octave as it liked; the second one says more.
BASE_LAW = ContrastLaw(octave=1, gain=11.7, power=0.515, strength_share=1, vanishes=4)
"""For a parent that a network made of the photo's own detail."""
NATURAL_LAW = ContrastLaw(octave=0, gain=1.75, power=0.903, strength_share=0.5, vanishes=4)
"""For a parent that has detail in every octave, as a photo or with texture."""
# By eye: a law of lower power than detail has, since beside edges, which are no texture, contrast is strongest.
SOFT_LAW = ContrastLaw(octave=3, gain=7, power=0.5, strength_share=1, vanishes=16)
"""For a parent that lacks two octaves itself, which are foretold too."""
MOST_OVER_OCTAVE = 12.0
"""The missing contrast is at most so much that of the octave above NOTHING."""
NOTHING = 0.5 / 255
"""Contrast of an octave that is nothing but rounding: a parent that is even there, as out of focus, gets no texture."""

# Logarithms of how much stronger than foretold the finest detail of a material is, beside a network's parent; fitted
# with the laws. Those that were not measured get the mean.
STRENGTHS = {
    "brick": 0.35,
    "concrete": 0.48,
    "fabric": 0.73,
    "foliage": 1.13,
    "grass": 1.08,
    "metal": 0.27,
    "sand": 0.47,
    "snow": 0.14,
    "soil": 0.98,
    "stone": 0.66,
    "wood": 0.0,
    "grain": 0.1,  # of no material, chosen by eye
}
MEAN_STRENGTH = 0.57

GAUSSIAN = np.float32(1.2533)
"""Standard deviation over mean magnitude, of normally distributed values."""


class LocalTexture(NamedTuple):
    """What is foretold at every pixel of a picture; both are H x W, float32."""

    contrast: Floats
    """Standard deviation of the grey detail that is missing, in the units of the picture."""
    direction: Floats
    """Angle of the grain in radians to the right of upright, 0 to pi; NaN where there is none."""


def foretell(grey: Floats, material: str, law: ContrastLaw) -> LocalTexture:
    """Foretell the finer octaves of a grey picture (H x W, in [0, 1]) of a material."""
    strength = STRENGTHS.get(material, MEAN_STRENGTH) * law.strength_share
    octave = measure_octave(grey, law.octave)
    foretold = FLOOR * law.gain * np.exp(strength) * (np.maximum(octave, FLOOR) / FLOOR) ** law.power
    contrast = np.minimum(foretold, MOST_OVER_OCTAVE * np.maximum(octave - NOTHING, 0)).astype(np.float32)
    if law.vanishes > BASE_LAW.vanishes:  # some of it may be there, as beside a window that got texture by words
        present = np.hypot(measure_octave(grey, 0), measure_octave(grey, 1))
        contrast = np.sqrt(np.maximum(contrast**2 - present**2, 0)).astype(np.float32)
    return LocalTexture(contrast, _find_direction(grey))


def measure_octave(grey: Floats, octave: int) -> Floats:
    """Return the local standard deviation of one octave of a grey picture, 0 the finest: H x W."""
    finer, coarser = grey, _box_mean(grey, 1)
    for number in range(1, octave + 1):
        finer, coarser = coarser, _box_mean(grey, 2**number)
    # Of magnitudes, by a tent: squares by a box let the texture begin at once where an edge comes into reach.
    magnitude = _box_mean(_box_mean(np.abs(finer - coarser), REACH // 2), REACH // 2)
    deviation: Floats = GAUSSIAN * magnitude
    return deviation


def _find_direction(grey: Floats) -> Floats:
    """Return where edges run, by the structure tensor, and NaN where they run every way."""
    slopes: list[Floats] = list(np.gradient(grey))
    down, right = slopes
    xx, yy, xy = (_box_mean(product, REACH) for product in (right * right, down * down, right * down))
    angle = 0.5 * np.arctan2(2 * xy, xx - yy)  # of the steepest slope, to which the grain is at right angles
    coherence = np.hypot(xx - yy, 2 * xy) / np.maximum(xx + yy, 1e-9)
    directed: Floats = np.where(coherence > 0.3, angle % np.pi, np.nan).astype(np.float32)
    return directed


def _box_mean(values: Floats, reach: int) -> Floats:
    """Average over squares of 2 x reach + 1 pixels; the edge pixels go on outside."""
    for axis in (0, 1):
        margin = [(0, 0), (0, 0)]
        margin[axis] = (reach + 1, reach)
        sums = np.cumsum(np.pad(values, margin, mode="edge"), axis=axis, dtype=np.float64)
        count = sums.shape[axis] - 2 * reach - 1
        upper = np.take(sums, np.arange(2 * reach + 1, 2 * reach + 1 + count), axis=axis)
        values = ((upper - np.take(sums, np.arange(count), axis=axis)) / (2 * reach + 1)).astype(np.float32)
    return values
