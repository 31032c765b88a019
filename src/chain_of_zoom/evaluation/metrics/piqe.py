"""Measure the share of distortion in the busy blocks of a picture: PIQE (Venkatanath, NCC 2015), as in MATLAB."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from chain_of_zoom.evaluation.metrics.base import MetricInfo, PictureMetric
from chain_of_zoom.evaluation.metrics.matlab import Plane, grey, normalise_locally
from chain_of_zoom.imaging.images import RGB8

BLOCK = 16
SEGMENT = 6
THRESHOLD = 0.1


class Piqe(PictureMetric):
    """Perception-based Image Quality Evaluator."""

    info = MetricInfo(
        name="piqe",
        direction="lower",
        range=(0, 100),
        reference=False,
        source="Venkatanath et al.: Blind Image Quality Evaluation Using Perception Based Features, NCC 2015",
        licence="Apache-2.0",
        extra="eval",
        note="as MATLAB's piqe; flat pictures have 100",
    )
    needs = ("scipy",)
    min_side = BLOCK

    def _measure(self, image: RGB8, reference: RGB8 | None) -> float:
        plane = grey(image)
        if not plane.any():
            return 100.0
        pad = [(0, -side % BLOCK) for side in plane.shape]
        plane = np.pad(np.rint(plane / plane.max() * 255), pad, mode="symmetric")
        rows, columns = plane.shape[0] // BLOCK, plane.shape[1] // BLOCK
        blocks = normalise_locally(plane).reshape(rows, BLOCK, columns, BLOCK).swapaxes(1, 2).reshape(-1, BLOCK, BLOCK)
        variance = blocks.var(axis=(1, 2), ddof=1)
        busy = variance > THRESHOLD
        blocks, variance = blocks[busy], variance[busy]
        scores = has_flat_edge(blocks) * (1 - variance) + is_noisy(blocks, np.sqrt(variance)) * variance
        # Strong noise can lift a block above 1; MATLAB documents 0..100 all the same.
        return float(np.clip((scores.sum() + 1) / (len(blocks) + 1) * 100, 0, 100))


def has_flat_edge(blocks: Plane) -> NDArray[np.bool_]:
    """Mark blocks with a run of six pixels along an edge that hardly vary: blocking, or detail that breaks off."""
    edges = np.stack([blocks[:, 0], blocks[:, -1], blocks[:, :, 0], blocks[:, :, -1]], axis=1)
    runs = sliding_window_view(edges, SEGMENT, axis=2)
    flat: NDArray[np.bool_] = (runs.std(axis=3, ddof=1) < THRESHOLD).any(axis=(1, 2))
    return flat


def is_noisy(blocks: Plane, deviation: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Mark blocks whose two middle columns vary like the columns around them: noise.

    Those around lack column 9 rather than 8, since MATLAB deletes 7 first and then counts anew.
    """
    middle = blocks[:, :, [7, 8]].std(axis=(1, 2), ddof=1)
    around = np.delete(blocks, [7, 9], axis=2).std(axis=(1, 2), ddof=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.nan_to_num(middle / around, nan=0, posinf=np.inf)
        beta = np.abs(deviation - ratio) / np.maximum(deviation, ratio)
        noisy: NDArray[np.bool_] = deviation > 2 * beta
    return noisy
