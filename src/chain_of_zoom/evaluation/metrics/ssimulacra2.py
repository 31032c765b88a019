"""Measure six scales of similarity and of edges lost or added, weighted by what people saw: SSIMULACRA2 (libjxl)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from chain_of_zoom.evaluation.metrics.base import MetricInfo, PictureMetric
from chain_of_zoom.imaging.images import RGB8

SCALES = 6
_RADIUS, _SIGMA = 5, 1.5


class Ssimulacra2(PictureMetric):
    """The package's maps and weights, under the blur of the published tool, which the package only approaches."""

    info = MetricInfo(
        name="ssimulacra2",
        direction="higher",
        range=(float("-inf"), 100),
        reference=True,
        source="Sneyers: SSIMULACRA 2.1 (libjxl, tools/ssimulacra2), 2023",
        licence="BSD-3-Clause",
        extra="eval",
        note="90 cannot be told from the reference at a glance, 50 is medium, 10 very low; below 0 almost unrelated",
    )
    needs = ("scipy", "ssimulacra2")
    min_side = 8 * 2 ** (SCALES - 1)

    def _measure(self, image: RGB8, reference: RGB8 | None) -> float:
        from ssimulacra2 import ssimulacra2 as package

        assert reference is not None
        total = package.Msssim()
        pair = [package.srgb_to_linear(picture) for picture in (reference, image)]
        for _ in range(SCALES):
            truth, picture = (package.make_positive_xyb(package.linear_rgb_to_xyb(linear)) for linear in pair)
            true_mean, mean = blur(truth), blur(picture)
            scale = package.MsssimScale()
            scale.avg_ssim = package.ssim_map(
                true_mean, mean, blur(truth * truth), blur(picture * picture), blur(truth * picture)
            )
            scale.avg_edgediff = package.edge_diff_map(truth, true_mean, picture, mean)
            total.scales.append(scale)
            pair = [package.downsample(linear, 2, 2) for linear in pair]
        return float(total.score())


def blur(pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a picture under libjxl's fast Gaussian of sigma 1.5, black beyond its edges."""
    from scipy.ndimage import correlate1d

    for axis in (0, 1):
        pixels = correlate1d(pixels, _kernel(), axis=axis, mode="constant")
    return pixels


@lru_cache(maxsize=1)
def _kernel() -> NDArray[np.float64]:
    """Return the Gaussian as a sum of three cosines that end at the radius (Charalampidis, IEEE TSP 2016).

    Their weights keep the sum of the kernel, its second moment, and its distance to the true Gaussian least.
    """
    turns = np.array([1, 3, 5]) * np.pi / (2 * _RADIUS)
    signs = np.array([1, -1, 1])
    sums = signs / np.tan(turns / 2)
    moments = signs * sums**2 / np.sin(turns)
    spectrum = np.exp(-(_SIGMA**2) * turns**2 / 2) / _RADIUS
    across = np.cross(sums, moments)
    conditions = np.array([sums, moments, across])
    weights = np.linalg.solve(conditions, np.array([1, _RADIUS**2 - _SIGMA**2, np.dot(across, spectrum)]))
    kernel: NDArray[np.float64] = weights @ np.cos(np.outer(turns, np.arange(-_RADIUS, _RADIUS + 1)))
    return kernel
