"""SSIM (Wang et al., IEEE TIP 2004) and MS-SSIM (Wang et al., Asilomar 2003) on luma."""

from __future__ import annotations

from chain_of_zoom.evaluation.metrics.base import MetricInfo, PictureMetric
from chain_of_zoom.evaluation.metrics.matlab import Plane, luma
from chain_of_zoom.imaging.images import RGB8

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_RADIUS, _SIGMA = 5, 1.5
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


class Ssim(PictureMetric):
    """Structural similarity: 11x11 Gaussian window of sigma 1.5, where it fits."""

    info = MetricInfo(
        name="ssim",
        direction="higher",
        range=(-1, 1),
        reference=True,
        source="Wang et al.: Image Quality Assessment: From Error Visibility to Structural Similarity, IEEE TIP 2004",
        licence="Apache-2.0",
        extra="eval",
        note="luma of 16..235 against a peak of 255, as super-resolution papers have it",
    )
    needs = ("scipy",)
    min_side = 2 * _RADIUS + 1

    def _measure(self, image: RGB8, reference: RGB8 | None) -> float:
        assert reference is not None
        similarity, _ = _similarities(luma(image), luma(reference))
        return similarity


class MsSsim(PictureMetric):
    """Multi-scale structural similarity: five scales, each the mean of 2x2 of the one before."""

    info = MetricInfo(
        name="ms-ssim",
        direction="higher",
        range=(0, 1),
        reference=True,
        source="Wang, Simoncelli, Bovik: Multiscale Structural Similarity, Asilomar 2003",
        licence="Apache-2.0",
        extra="eval",
        note="luma of 16..235 against a peak of 255; scales that correlate negatively count as 0",
    )
    needs = ("scipy",)
    min_side = (2 * _RADIUS + 1) * 2 ** (len(WEIGHTS) - 1)

    def _measure(self, image: RGB8, reference: RGB8 | None) -> float:
        assert reference is not None
        plane, true_plane = luma(image), luma(reference)
        value = 1.0
        for weight in WEIGHTS[:-1]:
            _, contrast = _similarities(plane, true_plane)
            value *= float(max(contrast, 0.0) ** weight)
            plane, true_plane = _halve(plane), _halve(true_plane)
        similarity, _ = _similarities(plane, true_plane)
        return value * float(max(similarity, 0.0) ** WEIGHTS[-1])


def _similarities(plane: Plane, true_plane: Plane) -> tuple[float, float]:
    """Return the means of SSIM, and of its contrast and structure alone, of planes in levels of 0..255."""
    mean, true_mean = _blur(plane), _blur(true_plane)
    variances = _blur(plane * plane) + _blur(true_plane * true_plane) - mean**2 - true_mean**2
    covariance = _blur(plane * true_plane) - mean * true_mean
    contrast = (2 * covariance + _C2) / (variances + _C2)
    luminance = (2 * mean * true_mean + _C1) / (mean**2 + true_mean**2 + _C1)
    return float((luminance * contrast).mean()), float(contrast.mean())


def _blur(plane: Plane) -> Plane:
    """Return the Gaussian mean around every pixel whose window lies inside."""
    from scipy.ndimage import gaussian_filter

    blurred: Plane = gaussian_filter(plane, _SIGMA, radius=_RADIUS)
    return blurred[_RADIUS:-_RADIUS, _RADIUS:-_RADIUS]


def _halve(plane: Plane) -> Plane:
    """Return means of 2x2; an odd last row or column is left out."""
    rows, columns = plane.shape[0] // 2, plane.shape[1] // 2
    means: Plane = plane[: 2 * rows, : 2 * columns].reshape(rows, 2, columns, 2).mean(axis=(1, 3))
    return means
