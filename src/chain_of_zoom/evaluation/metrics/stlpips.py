"""Measure how far apart two pictures are for an AlexNet that a shift hardly moves: ST-LPIPS (Ghildyal, ECCV 2022)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from chain_of_zoom.evaluation.metrics.base import MetricInfo, PictureMetric
from chain_of_zoom.imaging.images import RGB8

if TYPE_CHECKING:
    from chain_of_zoom.networks.stlpips import StLpipsNetwork


class StLpips(PictureMetric):
    """Shift-tolerant LPIPS, AlexNet; the network is networks/stlpips.py."""

    info = MetricInfo(
        name="st-lpips",
        direction="lower",
        range=(0, float("inf")),
        reference=True,
        source="Ghildyal, Liu: Shift-tolerant Perceptual Similarity Metric, ECCV 2022",
        licence="weights BSD-2-Clause; the package that holds them also has non-commercial code, which is never run",
        extra="eval-torch",
        note="AlexNet, on the CPU; a shift of a pixel counts little",
    )
    needs = ("torch", "stlpips_pytorch")
    min_side = 32

    def _load(self) -> None:
        from chain_of_zoom.networks.stlpips import StLpipsNetwork

        self._network: StLpipsNetwork = StLpipsNetwork()

    def _measure(self, image: RGB8, reference: RGB8 | None) -> float:
        import torch

        assert reference is not None
        pair = torch.from_numpy(np.stack([image, reference])).permute(0, 3, 1, 2).float() / 127.5 - 1
        with torch.inference_mode():
            return float(self._network(pair[:1], pair[1:]))
