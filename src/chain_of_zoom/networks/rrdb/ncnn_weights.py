"""Networks as ncnn stores them (.param: the layers as text, .bin: their weights), read without ncnn.

Only what the embedded networks use; anything else is refused, as are files that do not end where they should.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

MAGIC = "7767517"
FP16_TAG = 0x01306B47  # the first four bytes of a convolution's weights when they are stored as fp16
WITHOUT_WEIGHTS = ("Input", "Split", "Concat", "BinaryOp", "Eltwise", "Interp", "PixelShuffle", "Swish", "Sigmoid")

Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Layer:
    """Describes a layer."""

    kind: str
    """Kind of layer, as ncnn calls it."""
    name: str
    """Its own name."""
    inputs: tuple[str, ...]
    """Names of the blobs that it reads."""
    outputs: tuple[str, ...]
    """Names of the blobs that it computes."""
    params: Mapping[int, tuple[float, ...]]
    """Parameters by number, as ncnn documents them for each kind."""
    weights: tuple[Floats, ...] = ()
    """Of a Convolution kernels (out x in x h x w) and bias, of a PReLU slopes, of MemoryData its constant (batch 1);
    float32, which holds fp16 exactly."""

    def number(self, key: int, default: float = 0) -> float:
        """Return a parameter that is a single number; ncnn leaves those out that have their default."""
        return self.params.get(key, (default,))[0]


def read_network(param: Path, weights: Path) -> list[Layer]:
    """Read the layers in order. Raises ValueError for what is damaged or not supported."""
    lines = param.read_text("utf-8").splitlines()
    if not lines or lines[0].strip() != MAGIC:
        raise ValueError(f"{param.name} is no ncnn network")
    reader = _Reader(weights.read_bytes())
    layers = [_parse_layer(line.split(), reader) for line in lines[2:] if line.strip()]
    if reader.at != len(reader.data):
        raise ValueError(f"{len(reader.data) - reader.at} bytes of {weights.name} were not consumed")
    return layers


def _parse_layer(words: list[str], reader: _Reader) -> Layer:
    kind, name, n_in, n_out = words[0], words[1], int(words[2]), int(words[3])
    blobs = words[4 : 4 + n_in + n_out]
    params = parse_params(words[4 + n_in + n_out :])
    layer = Layer(kind=kind, name=name, inputs=tuple(blobs[:n_in]), outputs=tuple(blobs[n_in:]), params=params)
    if kind == "Convolution":
        out, side, count = (int(layer.number(key)) for key in (0, 1, 6))
        if not layer.number(5) or (layer.number(3, 1), layer.number(2, 1)) != (1, 1):
            raise ValueError(f"convolution {name} has no bias, a stride or holes, which is not supported")
        kernels = reader.tagged(count).reshape(out, count // (out * side * side), side, side)
        return replace(layer, weights=(kernels, reader.floats(out)))
    if kind == "MemoryData":  # a constant, here one number for each of its channels
        shape = tuple(int(layer.number(key)) for key in (2, 1, 0) if layer.number(key))
        return replace(layer, weights=(reader.floats(int(np.prod(shape))).reshape(1, *shape),))
    if kind == "PReLU":
        return replace(layer, weights=(reader.floats(int(layer.number(0))),))
    if kind not in WITHOUT_WEIGHTS:
        raise ValueError(f"layer {kind} is not supported")
    return layer


def parse_params(words: list[str]) -> dict[int, tuple[float, ...]]:
    """`0=64 -23310=1,0.2` -> {0: (64.0,), 10: (0.2,)}: keys of arrays are stored as -23300 - key, with a length."""
    params: dict[int, tuple[float, ...]] = {}
    for word in words:
        key, _, value = word.partition("=")
        values = tuple(float(part) for part in value.split(","))
        params[-int(key) - 23300 if int(key) <= -23300 else int(key)] = values[1:] if int(key) <= -23300 else values
    return params


class _Reader:
    """Weights one after the other; every block starts at a multiple of 4 bytes."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def floats(self, count: int) -> Floats:
        values = np.frombuffer(self.data, np.float32, count, self.at)
        self.at += 4 * count
        return values

    def tagged(self, count: int) -> Floats:
        tag = int(np.frombuffer(self.data, np.uint32, 1, self.at)[0])
        self.at += 4
        if tag == 0:
            return self.floats(count)
        if tag != FP16_TAG:
            raise ValueError(f"weights tagged {tag:#x} are not supported")
        values = np.frombuffer(self.data, np.float16, count, self.at).astype(np.float32)
        self.at += (2 * count + 3) // 4 * 4
        return values
