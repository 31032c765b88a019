"""Measure how far the statistics of a picture lie from those of undistorted photos: NIQE (Mittal, IEEE SPL 2013)."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from chain_of_zoom.errors import MetricError
from chain_of_zoom.evaluation.metrics.base import MetricInfo, PictureMetric
from chain_of_zoom.evaluation.metrics.matlab import Plane, halve, luma, normalise_locally
from chain_of_zoom.imaging.images import RGB8

PARAMETERS = "niqe_pris_params.npz"
"""The published model of undistorted photos, as basicsr 1.4.2 carries it; another fit is another metric."""

BLOCK = 96
_NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (1, -1))


class Niqe(PictureMetric):
    """Natural Image Quality Evaluator on luma, blocks of 96, two scales."""

    info = MetricInfo(
        name="niqe",
        direction="lower",
        range=(0, float("inf")),
        reference=False,
        source="Mittal, Soundararajan, Bovik: Making a 'Completely Blind' Image Quality Analyzer, IEEE SPL 2013",
        licence="code Apache-2.0; parameters from the NIQE release of LIVE (free use), via basicsr (Apache-2.0)",
        extra="eval",
        note="published parameters, luma, blocks of 96; sees naturalness, not truth; shaky under about 384 pixels",
    )
    needs = ("scipy",)
    min_side = BLOCK

    def _load(self) -> None:
        with (files("chain_of_zoom.evaluation.metrics") / PARAMETERS).open("rb") as file, np.load(file) as model:
            self._mean: NDArray[np.float64] = model["mu_pris_param"][0]
            self._covariance: NDArray[np.float64] = model["cov_pris_param"]

    def _measure(self, image: RGB8, reference: RGB8 | None) -> float:
        features = picture_features(np.rint(luma(image)))
        with np.errstate(invalid="ignore"):
            usable = features[~np.isnan(features).any(axis=1)]
        if len(usable) < 2:
            raise MetricError(
                f"metric niqe: {len(usable)} of {len(features)} blocks of {BLOCK}x{BLOCK} pixels show anything; "
                "accepted: pictures with at least two such blocks"
            )
        # As published: the mean is over every finite feature, the covariance over whole blocks only.
        away = self._mean - np.nanmean(features, axis=0)
        spread = np.linalg.pinv((self._covariance + np.cov(usable, rowvar=False)) / 2)
        return float(np.sqrt(away @ spread @ away))


def picture_features(plane: Plane) -> NDArray[np.float64]:
    """Return blocks x 36 features of a luma plane in whole levels: 18 at full size, 18 at half; NaN where flat."""
    rows, columns = plane.shape[0] // BLOCK, plane.shape[1] // BLOCK
    plane = plane[: rows * BLOCK, : columns * BLOCK]
    scales = []
    for scaled, side in ((plane, BLOCK), (halve(plane), BLOCK // 2)):
        tiles = normalise_locally(scaled).reshape(rows, side, columns, side).swapaxes(1, 2)
        scales.append(np.array([block_features(tile) for tile in tiles.reshape(-1, side, side)]))
    return np.concatenate(scales, axis=1)


def block_features(block: Plane) -> list[float]:
    """Return 18 numbers: the shape and width of the values' distribution, and four of each product with a neighbour.

    The four are shape, mean and the widths on both sides.
    """
    from scipy.special import gamma

    shape, left_scale, right_scale = fit_gaussian(block)
    features = [shape, (left_scale + right_scale) / 2]
    for shift in _NEIGHBOURS:
        shape, left_scale, right_scale = fit_gaussian(block * np.roll(block, shift, axis=(0, 1)))
        features += [
            shape,
            (right_scale - left_scale) * float(gamma(2 / shape) / gamma(1 / shape)),
            left_scale,
            right_scale,
        ]
    return features


def fit_gaussian(values: Plane) -> tuple[float, float, float]:
    """Return shape, left and right scale of the asymmetric generalised Gaussian that has the moments of `values`."""
    from scipy.special import gamma

    with np.errstate(invalid="ignore", divide="ignore"):
        squares = np.square(values)
        left_scale, right_scale = (
            np.sqrt(np.divide(squares[side].sum(), np.count_nonzero(side))) for side in (values < 0, values > 0)
        )
        ratio = left_scale / right_scale
        flatness = np.abs(values).mean() ** 2 / squares.mean()
        true_flatness = flatness * (ratio**3 + 1) * (ratio + 1) / (ratio**2 + 1) ** 2
    if not np.isfinite(true_flatness):
        return float("nan"), float("nan"), float("nan")
    shapes, flatnesses = _tabulate_shapes()
    shape = float(shapes[np.argmin(np.abs(flatnesses - true_flatness))])
    scale = float(np.sqrt(gamma(1 / shape) / gamma(3 / shape)))
    return shape, float(left_scale) * scale, float(right_scale) * scale


@lru_cache(maxsize=1)
def _tabulate_shapes() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the shapes that are tried, 0.2 to 10, and the flatness E|x|^2 / E[x^2] of such Gaussians."""
    from scipy.special import gamma

    shapes = np.arange(0.2, 10.001, 0.001)
    return shapes, gamma(2 / shapes) ** 2 / (gamma(1 / shapes) * gamma(3 / shapes))
