"""SPAN's layers as ncnn's files describe them (ncnn_weights.py), and the files written; without torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from chain_of_zoom.networks.rrdb.ncnn_weights import FP16_TAG, MAGIC, Layer, parse_params

FACTOR, BLOCKS, WIDTH = 4, 6, 48

Row = tuple[str, Mapping[int, tuple[float, ...]], tuple[int, ...]]
"""Kind of a layer, its parameters that are not 0, and the numbers of the layers whose results it reads."""


def measure_width(layers: Sequence[Layer]) -> int:
    """Return the number of channels of a SPAN with exactly these layers, whatever their names.

    Raises ValueError for layers of another network.
    """
    width = next((len(layer.weights[1]) for layer in layers if layer.kind == "Convolution"), 0)
    expected = [(kind, inputs, (output,), parse_params(numbers)) for kind, inputs, output, numbers in _describe(width)]
    actual = [(layer.kind, layer.inputs, layer.outputs, layer.params) for layer in layers]
    ends = [layer.outputs for layer in (*layers[:1], *layers[-1:])]
    if ends != [("data",), ("output",)] or _trace(actual) != _trace(expected):
        raise ValueError("the layers are those of another network")
    return width


def _trace(layers: Iterable[tuple[str, Sequence[str], Sequence[str], Mapping[int, tuple[float, ...]]]]) -> list[Row]:
    """List what every layer does and reads, without Splits, which only copy. Raises ValueError for a loose end."""
    makers: dict[str, int] = {}
    rows: list[Row] = []
    for kind, inputs, outputs, params in layers:
        if any(blob not in makers for blob in inputs):
            raise ValueError("a layer reads what no layer before it makes")
        sources = tuple(makers[blob] for blob in inputs)
        number = len(rows)
        if kind == "Split" and sources:
            number = sources[0]
        else:
            rows.append((kind, {key: values for key, values in params.items() if any(values)}, sources))
        makers |= dict.fromkeys(outputs, number)
    return rows


def format_layers(width: int) -> bytes:
    """Return the text of the .param file of a SPAN with so many channels."""
    layers = _describe(width)
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
    return ("\n".join([MAGIC, f"{len(lines)} {blobs}", *lines]) + "\n").encode()


def format_weights(mean: NDArray[np.float32], convolutions: Sequence[NDArray[np.float32]]) -> bytes:
    """Return the bytes of the .bin file, in which kernels are rounded to fp16.

    mean: of the pixels, 1 x 3 x 1 x 1. convolutions: kernels and biases in turn, in the order of the layers.
    """
    blocks = [mean.astype(np.float32).tobytes()]
    for kernels, bias in zip(convolutions[::2], convolutions[1::2], strict=True):
        halves = kernels.astype(np.float16).tobytes()
        blocks += [np.uint32(FP16_TAG).tobytes(), halves, b"\0" * (-len(halves) % 4), bias.astype(np.float32).tobytes()]
    return b"".join(blocks)


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
