"""SPAN in torch: a small 4x network, six blocks of three convolutions whose result is its own attention.

Wan et al., "Swift Parameter-free Attention Network for Efficient Super-Resolution" (CVPR Workshops 2024), in the form
that it has after training, with one convolution where the authors train several. Modules bear the names of the authors'
checkpoints.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, silu

from chain_of_zoom.networks.rrdb.ncnn_weights import FP16_TAG, MAGIC, Layer

FACTOR, BLOCKS = 4, 6
MEAN = (0.4488, 0.4371, 0.4040)  # of DIV2K's pixels, as published

_BLOCK = [*["Convolution", "Swish"] * 2, "Convolution", "Sigmoid", *["BinaryOp"] * 3]
_KINDS = ["MemoryData", *["BinaryOp"] * 2, "Convolution", *_BLOCK * BLOCKS, "Convolution", "Concat"]
KINDS = [*_KINDS, *["Convolution"] * 2, "PixelShuffle"]
"""The kinds of SPAN's layers in ncnn's files, without Input and Split."""


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

    def __init__(self, width: int = 48) -> None:
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
    if [layer.kind for layer in layers] != KINDS:
        raise ValueError("the layers are those of another network")
    return SpanNet(len(layers[3].weights[1]))


def write_ncnn(network: SpanNet, param: Path) -> None:
    """Write ncnn's two files, PARAM and the same with .bin: the layers as text, and their weights, rounded to fp16."""
    layers = _describe(network.conv_1.out_channels)
    readers: dict[str, list[str]] = {}
    lines: list[str] = []
    for index, (_, inputs, _, _) in enumerate(layers):
        for blob in inputs:
            readers.setdefault(blob, []).append(f"{blob}_{index}")
    for index, (kind, inputs, output, numbers) in enumerate(layers):
        sources = [f"{blob}_{index}" if len(readers[blob]) > 1 else blob for blob in inputs]
        lines.append(" ".join([kind, f"layer{index}", str(len(inputs)), "1", *sources, output, *numbers]))
        if len(readers.get(output, [])) > 1:  # ncnn hands a result to one layer only, unless a Split copies it
            copies = readers[output]
            lines.append(" ".join(["Split", f"split{index}", "1", str(len(copies)), output, *copies]))
    blobs = sum(int(line.split()[3]) for line in lines)
    param.write_text("\n".join([MAGIC, f"{len(lines)} {blobs}", *lines]) + "\n")
    mean, *values = (value.detach().cpu().numpy() for value in network.state_dict().values())
    blocks = [mean.astype(np.float32).tobytes()]
    for kernels, bias in zip(values[::2], values[1::2], strict=True):
        halves = kernels.astype(np.float16).tobytes()
        blocks += [np.uint32(FP16_TAG).tobytes(), halves, b"\0" * (-len(halves) % 4), bias.astype(np.float32).tobytes()]
    param.with_suffix(".bin").write_bytes(b"".join(blocks))


def _describe(width: int) -> list[tuple[str, list[str], str, list[str]]]:
    """Return the layers as (kind, inputs, output, numbers), before results that several layers read are split."""

    def convolve(source: str, output: str, side: int = 3, inputs: int = width, outputs: int = width) -> None:
        numbers = {0: outputs, 1: side, 4: side // 2, 5: 1, 6: inputs * outputs * side * side}
        layers.append(("Convolution", [source], output, [f"{key}={value}" for key, value in numbers.items()]))

    layers: list[tuple[str, list[str], str, list[str]]] = [
        ("Input", [], "data", []),
        ("MemoryData", [], "mean", ["0=1", "1=1", "2=3"]),
        ("BinaryOp", ["data", "mean"], "centred", ["0=1"]),
        ("BinaryOp", ["centred"], "scaled", ["0=2", "1=1", "2=2.550000e+02"]),
    ]
    convolve("scaled", "x0", inputs=3)
    for k in range(BLOCKS):
        convolve(f"x{k}", f"a{k}")
        layers.append(("Swish", [f"a{k}"], f"b{k}", []))
        convolve(f"b{k}", f"c{k}")
        layers.append(("Swish", [f"c{k}"], f"d{k}", []))
        convolve(f"d{k}", f"e{k}")
        layers.append(("Sigmoid", [f"e{k}"], f"f{k}", []))
        layers.append(("BinaryOp", [f"f{k}"], f"g{k}", ["0=1", "1=1", "2=5.000000e-01"]))
        layers.append(("BinaryOp", [f"e{k}", f"x{k}"], f"h{k}", ["0=0"]))
        layers.append(("BinaryOp", [f"h{k}", f"g{k}"], f"x{k + 1}", ["0=2"]))
    convolve(f"x{BLOCKS}", "y")
    layers.append(("Concat", ["x0", "y", "x1", f"b{BLOCKS - 1}"], "z", []))
    convolve("z", "merged", side=1, inputs=4 * width)
    convolve("merged", "shuffled", outputs=3 * FACTOR**2)
    layers.append(("PixelShuffle", ["shuffled"], "output", [f"0={FACTOR}"]))
    return layers
