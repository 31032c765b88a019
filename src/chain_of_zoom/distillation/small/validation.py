"""Measures how true the small network is on pictures that it is not trained on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from chain_of_zoom.distillation.small.chains import Reduction, reduce_crop
from chain_of_zoom.distillation.small.losses import Network, round_to_levels, to_planes
from chain_of_zoom.distillation.validation import measure_psnr
from chain_of_zoom.imaging.images import RGB8
from chain_of_zoom.networks.rrdb.span_layers import FACTOR

MOST_PICTURES = 24
"""Pictures that are measured, at most."""
_WAYS: tuple[Reduction, ...] = ("bicubic", "area")
MEASURES = tuple(f"{way} {FACTOR**steps}x" for way in _WAYS for steps in (1, 2))
"""Names of what is measured: PSNR in dB by the way of reducing and the magnification."""


@torch.no_grad()
def enlarge_chained(network: Network, window: RGB8, steps: int, device: torch.device) -> RGB8:
    """Enlarge a window 4x in each of some steps, rounded in between as in a zoom; uint8."""
    planes = to_planes([window], device)
    for _ in range(steps):
        planes = round_to_levels(network(planes))
    pixels: RGB8 = (planes[0].permute(1, 2, 0) * 255).round().clamp(0, 255).to(torch.uint8).cpu().numpy()
    return pixels


def measure_truth(network: Network, truths: Sequence[RGB8], device: torch.device) -> dict[str, float]:
    """Measure the mean PSNR of MEASURES over pictures, whose sides are multiples of 16."""
    values: dict[str, list[float]] = {name: [] for name in MEASURES}
    for way in _WAYS:
        for steps in (1, 2):
            for truth in truths:
                window = reduce_crop(truth, FACTOR**steps, way)
                result = enlarge_chained(network, window, steps, device)
                values[f"{way} {FACTOR**steps}x"].append(measure_psnr(result, truth))
    return {name: float(np.mean(numbers)) for name, numbers in values.items()}
