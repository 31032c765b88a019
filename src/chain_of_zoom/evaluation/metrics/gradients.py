"""Is the detail the right detail, and is there as much of it? Gradients of grey against those of the truth."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from numpy.typing import NDArray

from chain_of_zoom.errors import MetricError
from chain_of_zoom.evaluation.metrics.base import Metric, MetricInfo
from chain_of_zoom.imaging.images import RGB8

_SOURCE = "this project, docs/evidence.md"


class _Gradients(Metric):
    """Compares the horizontal and vertical differences of the mean of R, G and B."""

    min_side = 2

    def _measure(self, image: RGB8, reference: RGB8 | None) -> float:
        assert reference is not None
        ours, theirs = _gradients(image), _gradients(reference)
        if not theirs.any() or not ours.any():
            raise MetricError(f"metric {self.info.name}: a picture is flat; accepted: pictures that show anything")
        return self._compared(ours, theirs)

    @abstractmethod
    def _compared(self, ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> float: ...


class Detail(_Gradients):
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

    def _compared(self, ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> float:
        return float(np.corrcoef(ours, theirs)[0, 1])


class Sharpness(_Gradients):
    """How far the energy of the gradients is from the truth's, in doublings: |log2(ours / theirs)|."""

    info = MetricInfo(
        name="sharpness",
        direction="lower",
        range=(0, float("inf")),
        reference=True,
        source=_SOURCE,
        licence="Apache-2.0",
        note="doublings of the gradients' energy away from the truth's, blurred or over-sharp; 0 is as sharp",
    )

    def _compared(self, ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> float:
        return abs(float(np.log2(np.square(ours).sum() / np.square(theirs).sum())))


def _gradients(pixels: RGB8) -> NDArray[np.float64]:
    grey = pixels.astype(np.float64).mean(axis=2)
    return np.concatenate([np.diff(grey, axis=0).ravel(), np.diff(grey, axis=1).ravel()])
