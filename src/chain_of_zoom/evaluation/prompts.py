"""Measure what a prompt changes in a picture.

A prompt may fill in what the parent left open. Where it changes what the parent did show, it contradicts the source.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chain_of_zoom.errors import MetricError, MissingError
from chain_of_zoom.imaging.geometry import Size
from chain_of_zoom.imaging.images import RGB8, size_of


@dataclass(frozen=True, kw_only=True)
class PromptInfluence:
    """What a prompt changed in one step, against the same step with another prompt or none."""

    energy: float
    """The mean squared difference, in levels squared."""
    contradiction: float | None
    """The share of it in frequencies that the parent has too; None where nothing changed."""
    invention: float | None
    """The share above them, which the parent leaves open; None where nothing changed."""


def measure_influence(with_prompt: RGB8, without: RGB8, window: Size) -> PromptInfluence:
    """Measure how a prompt changed a state (uint8, H x W x 3), where the parent's window had `window` pixels.

    The difference of both states is split by a cosine transform at the parent's Nyquist frequency: half a cycle per
    pixel of the parent, in each direction: exact shares of the energy, and no leakage from borders that do not meet.
    Raises MetricError for sizes that do not fit, and MissingError without
    the extra [eval].
    """
    try:
        from scipy.fft import dctn
    except ImportError as error:
        raise MissingError("prompt influence lacks scipy; type: pip install 'chain-of-zoom[eval]'") from error
    size = size_of(with_prompt)
    if with_prompt.shape != without.shape or window.width > size.width or window.height > size.height:
        raise MetricError(f"states of {size} and {size_of(without)} from a window of {window} cannot be compared")
    difference = with_prompt.astype(np.float64) - without.astype(np.float64)
    spectrum = np.square(dctn(difference, axes=(0, 1), norm="ortho"))
    total = float(spectrum.sum())
    if not total:
        return PromptInfluence(energy=0.0, contradiction=None, invention=None)
    below = float(spectrum[: window.height, : window.width].sum()) / total
    return PromptInfluence(energy=total / difference.size, contradiction=below, invention=1 - below)
