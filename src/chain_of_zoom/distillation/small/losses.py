"""The losses of the small network, along the chain's own loop.

At every step: closeness to the truth; consistency with the parent (the result, reduced, is what it was made from); at
the first step of pictures that were reduced by bicubic, closeness to a teacher. All are Charbonnier's, a smooth mean
absolute difference.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from chain_of_zoom.distillation.small.chains import DrawnChain
from chain_of_zoom.distillation.small.settings import SmallLossSettings
from chain_of_zoom.imaging.images import RGB8
from chain_of_zoom.networks.rrdb.span_layers import FACTOR

Network = Callable[[Tensor], Tensor]
"""Maps RGB planes in about [0, 1], B x 3 x H x W, to B x 3 x 4H x 4W."""


@dataclass(frozen=True, kw_only=True)
class ChainBatch:
    """Holds chains of as many steps on the device of the network."""

    start: Tensor
    """Windows that the first step enlarges: B x 3 x m x m in [0, 1]."""
    truths: tuple[Tensor, ...]
    """For every step its true result, in [0, 1]."""
    corners: tuple[tuple[tuple[int, int], ...], ...]
    """For every chain and step but the first the row and the column where its window begins."""
    windows: tuple[int, ...]
    """For every step but the first the side of its window."""
    by_bicubic: tuple[int, ...]
    """The chains whose crop was reduced by bicubic."""


def to_planes(pictures: Sequence[RGB8], device: torch.device) -> Tensor:
    """Bring pictures of one size, h x w x 3, to a device as B x 3 x h x w in [0, 1]."""
    return torch.from_numpy(np.stack(pictures)).to(device).permute(0, 3, 1, 2).float() / 255


def make_chain_batch(chains: Sequence[DrawnChain], device: torch.device) -> ChainBatch:
    """Bring chains of as many steps to a device."""
    steps = range(len(chains[0].truths))
    truths = tuple(to_planes([chain.truths[step] for chain in chains], device) for step in steps)
    return ChainBatch(
        start=to_planes([chain.start for chain in chains], device),
        truths=truths,
        corners=tuple(chain.corners for chain in chains),
        windows=tuple(truth.shape[-1] // FACTOR for truth in truths[1:]),
        by_bicubic=tuple(number for number, chain in enumerate(chains) if chain.reduction == "bicubic"),
    )


def charbonnier(a: Tensor, b: Tensor) -> Tensor:
    """Compute a smooth mean absolute difference."""
    return torch.sqrt((a - b) ** 2 + 1e-6).mean()


def round_to_levels(pictures: Tensor) -> Tensor:
    """Round to whole levels of 255 in [0, 1], as the chain does between its steps; gradients pass as if it did not."""
    return pictures + ((pictures * 255).round().clamp(0, 255) / 255 - pictures).detach()


def compute_chain_loss(
    network: Network, batch: ChainBatch, weights: SmallLossSettings, teacher: Network | None
) -> dict[str, Tensor]:
    """Compute the losses pixel, parent, teacher and their weighted sum, total; means over the steps of the chain."""
    pixel, parent, lesson_loss = (torch.zeros((), device=batch.start.device) for _ in range(3))
    windows = batch.start
    for step, truth in enumerate(batch.truths):
        results = network(windows)
        pixel = pixel + charbonnier(results, truth)
        # What noise and JPEG spoilt at the start is no parent; the truth, reduced, is.
        parents = avg_pool2d(truth, FACTOR) if step == 0 else windows.detach()
        parent = parent + charbonnier(avg_pool2d(results, FACTOR), parents)
        if step == 0 and teacher is not None and batch.by_bicubic:
            taught = list(batch.by_bicubic)
            with torch.no_grad():
                lesson = teacher(windows[taught])
            share = len(taught) / len(windows)
            lesson_loss = share * charbonnier(results[taught], lesson)
        if step < len(batch.windows):
            windows = _cut_windows(round_to_levels(results), batch, step)
    count = len(batch.truths)
    losses = {"pixel": pixel / count, "parent": parent / count, "teacher": lesson_loss}
    total = losses["pixel"] + weights.parent * losses["parent"] + weights.teacher * lesson_loss
    return losses | {"total": total}


def _cut_windows(results: Tensor, batch: ChainBatch, step: int) -> Tensor:
    side = batch.windows[step]
    cuts = []
    for result, corners in zip(results, batch.corners, strict=True):
        row, column = corners[step]
        cuts.append(result[:, row : row + side, column : column + side])
    return torch.stack(cuts)
