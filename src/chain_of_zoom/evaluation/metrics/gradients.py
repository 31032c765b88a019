"""Compare gradients of grey with those of the truth: is detail the right detail, and as strong?"""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from numpy.typing import NDArray

from chain_of_zoom.errors import MetricError
from chain_of_zoom.evaluation.metrics.base import MetricInfo, PictureMetric
from chain_of_zoom.imaging.images import RGB8

_SOURCE = "this project, docs/evidence.md"


class _GradientMetric(PictureMetric):
    """Compares the horizontal and vertical differences of the mean of R, G and B."""

    min_side = 2

    def _measure(self, image: RGB8, reference: RGB8 | None) -> float:
        assert reference is not None
        slopes, true_slopes = _gradients(image), _gradients(reference)
        if not true_slopes.any() or not slopes.any():
            raise MetricError(f"metric {self.info.name}: a picture is flat; accepted: pictures that show anything")
        return self._compare(slopes, true_slopes)

    @abstractmethod
    def _compare(self, slopes: NDArray[np.float64], true_slopes: NDArray[np.float64]) -> float: ...


class Detail(_GradientMetric):
    """The correlation of the gradients: 1 for the same edges everywhere, 0 for unrelated ones."""

    info = MetricInfo(
        name="detail",
        direction="higher",
        range=(-1, 1),
        reference=True,
        source=_SOURCE,
        licence="Apache-2.0",
        note="correlation of gradients with the truth's: how much of the detail is the right detail",
    )

    def _compare(self, slopes: NDArray[np.float64], true_slopes: NDArray[np.float64]) -> float:
        return float(np.corrcoef(slopes, true_slopes)[0, 1])


class Sharpness(_GradientMetric):
    """How far the energy of the gradients is from the truth's, in doublings: |log2(energy / true energy)|.

    The logarithm gives a picture that is too soft and one that is too sharp the same good direction.
    """

    info = MetricInfo(
        name="sharpness",
        direction="lower",
        range=(0, float("inf")),
        reference=True,
        source=_SOURCE,
        licence="Apache-2.0",
        note="doublings of the gradients' energy away from the truth's, blurred or over-sharp; 0 is as sharp",
    )

    def _compare(self, slopes: NDArray[np.float64], true_slopes: NDArray[np.float64]) -> float:
        return abs(float(np.log2(np.square(slopes).sum() / np.square(true_slopes).sum())))


def _gradients(pixels: RGB8) -> NDArray[np.float64]:
    """Return all vertical, then all horizontal differences of the mean of R, G and B, in levels."""
    grey = pixels.astype(np.float64).mean(axis=2)
    return np.concatenate([np.diff(grey, axis=0).ravel(), np.diff(grey, axis=1).ravel()])
