"""PSNR over RGB, and over luma alone as the super-resolution papers have it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from chain_of_zoom.evaluation.metrics.base import MetricInfo, PictureMetric
from chain_of_zoom.evaluation.metrics.matlab import luma
from chain_of_zoom.imaging.images import RGB8

CAP = 100.0
"""dB; two 8-bit pictures of 512x512 that differ by one level in ten samples have 97, equal ones infinitely many."""


def psnr_of(image: NDArray[np.floating], reference: NDArray[np.floating]) -> float:
    """Return the PSNR in dB of arrays of one shape in levels (0..255), at most CAP."""
    error = float(np.mean(np.square(image.astype(np.float64) - reference.astype(np.float64))))
    return min(CAP, 10 * float(np.log10(255**2 / error))) if error else CAP


class Psnr(PictureMetric):
    """10 log10(255^2 / mean squared error)."""

    def __init__(self, channels: str = "rgb") -> None:
        super().__init__()
        self._luma = channels == "y"
        name, source, samples = "psnr", "ITU-T J.340", "all samples of R, G and B"
        if self._luma:
            name, source, samples = "psnr-y", "ITU-T J.340; luma by ITU-R BT.601", "luma of 16..235"
        self.info = MetricInfo(
            name=name,
            direction="higher",
            range=(0, CAP),
            reference=True,
            source=source,
            licence="Apache-2.0",
            note=f"dB, at most {CAP:g}; over {samples}",
        )

    def _measure(self, image: RGB8, reference: RGB8 | None) -> float:
        assert reference is not None
        if self._luma:
            return psnr_of(luma(image), luma(reference))
        return psnr_of(image.astype(np.float64), reference.astype(np.float64))
