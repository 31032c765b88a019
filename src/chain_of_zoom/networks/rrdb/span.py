"""SPAN in torch: a small 4x network, six blocks of three convolutions whose result is its own attention.

Wan et al., "Swift Parameter-free Attention Network for Efficient Super-Resolution" (CVPR Workshops 2024), in the form
that it has after training, with one convolution where the authors train several. Modules bear the names of the authors'
checkpoints.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, silu

from chain_of_zoom.files import write_atomic
from chain_of_zoom.networks.rrdb.ncnn_weights import Layer
from chain_of_zoom.networks.rrdb.span_layers import BLOCKS, FACTOR, WIDTH, format_layers, format_weights, measure_width

MEAN = (0.4488, 0.4371, 0.4040)  # of DIV2K's pixels, as published


class AttentionBlock(nn.Module):
    """Three convolutions; their result weighs the sum of itself and the input, without parameters of its own."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.c1_r, self.c2_r, self.c3_r = (nn.Conv2d(width, width, 3, padding=1) for _ in range(3))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """B x width x H x W to the block's result and to what its first convolution gives, of the same shape."""
        first = silu(self.c1_r(x))
        features: Tensor = self.c3_r(silu(self.c2_r(first)))
        return (features + x) * (torch.sigmoid(features) - 0.5), first


class SpanNet(nn.Module):
    """The 4x network: its result is the enlarged picture itself, not a difference to one."""

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.tensor(MEAN).view(1, 3, 1, 1), requires_grad=False)
        self.conv_1 = nn.Conv2d(3, width, 3, padding=1)
        for index in range(BLOCKS):
            self.add_module(f"block_{index + 1}", AttentionBlock(width))
        self.conv_2 = nn.Conv2d(width, width, 3, padding=1)
        self.conv_cat = nn.Conv2d(4 * width, width, 1)
        self.upsampler = nn.Conv2d(width, 3 * FACTOR**2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """RGB planes in about [0, 1], B x 3 x H x W, to B x 3 x 4H x 4W."""
        head = self.conv_1((x - self.mean) * 255)
        features, first, results = head, head, []
        for index in range(BLOCKS):
            features, first = self.get_submodule(f"block_{index + 1}")(features)
            results.append(features)
        merged = self.conv_cat(torch.cat([head, self.conv_2(features), results[0], first], 1))
        enlarged: Tensor = pixel_shuffle(self.upsampler(merged), FACTOR)
        return enlarged


def make_span(layers: Sequence[Layer]) -> SpanNet:
    """Return the network without its weights, whose parameters come in the order of the layers.

    Raises ValueError for layers of another network.
    """
    return SpanNet(measure_width(layers))


def write_ncnn(network: SpanNet, param: Path) -> None:
    """Write ncnn's two files, PARAM and the same with .bin: the layers as text, and their weights, rounded to fp16.

    Raises OutputError.
    """
    mean, *convolutions = (value.detach().cpu().numpy() for value in network.state_dict().values())
    write_atomic(param.with_suffix(".bin"), format_weights(mean, convolutions))
    write_atomic(param, format_layers(network.conv_1.out_channels))
