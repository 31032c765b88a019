"""The embedded networks as ONNX, the format that other runtimes read: the same layers with exactly the same weights.

Written by hand, so that no package is needed for it: the few messages of onnx.proto that a network takes.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from chain_of_zoom.networks.rrdb.ncnn_weights import Layer

_IR_VERSION, _OPSET = 9, 17
_FLOAT = 1  # among the types of tensors
_SUMS = {0: "Add", 1: "Sub", 2: "Mul"}  # by ncnn's number of a BinaryOp

Attribute = float | int | str | list[int]


def format_onnx(layers: Sequence[Layer]) -> bytes:
    """Return the ONNX model of a network: `data`, 1 x 3 x H x W, to `output`, 1 x 3 x 4H x 4W, both float32.

    Raises ValueError for a layer that no embedded network has.
    """
    graph = _Graph()
    for layer in layers:
        _add_layer(graph, layer)
    image = _message((1, "data"), (2, _describe_tensor("H", "W")))
    enlarged = _message((1, "output"), (2, _describe_tensor("H4", "W4")))
    nodes = [(1, node) for node in graph.nodes]
    constants = [(5, constant) for constant in graph.constants]
    body = _message(*nodes, (2, "ncnn"), *constants, (11, image), (12, enlarged))
    return _message((1, _IR_VERSION), (7, body), (8, _message((1, ""), (2, _OPSET))))


class _Graph:
    """Collects the nodes and constants of a graph."""

    def __init__(self) -> None:
        self.nodes: list[bytes] = []
        self.constants: list[bytes] = []
        self.alias: dict[str, str] = {}

    def add(self, operator: str, inputs: Sequence[str], output: str, **attributes: Attribute) -> str:
        """Add a node, which bears the name of its result; return that."""
        names = [*((1, name) for name in inputs), (2, output), (3, output), (4, operator)]
        values = [(5, _format_attribute(name, value)) for name, value in attributes.items()]
        self.nodes.append(_message(*names, *values))
        return output

    def keep(self, name: str, value: ArrayLike) -> str:
        """Add a constant, float32; return its name."""
        array = np.ascontiguousarray(value, np.float32)
        sides = [(1, side) for side in np.shape(value)]
        self.constants.append(_message(*sides, (2, _FLOAT), (8, name), (9, array.tobytes())))
        return name


def _add_layer(graph: _Graph, layer: Layer) -> None:
    inputs = [graph.alias.get(blob, blob) for blob in layer.inputs]
    kind, name, number = layer.kind, layer.name, layer.number
    if kind == "Input":
        return
    if kind == "Split":
        graph.alias.update(dict.fromkeys(layer.outputs, inputs[0]))
        return
    (output,) = layer.outputs
    if kind == "Convolution" and number(9) in (0, 2):
        _add_convolution(graph, layer, inputs[0], output)
    elif kind == "MemoryData":
        graph.keep(output, layer.weights[0])
    elif kind == "PReLU":
        graph.add("PRelu", [*inputs, graph.keep(f"{name}.slope", layer.weights[0].reshape(-1, 1, 1))], output)
    elif kind == "Sigmoid":
        graph.add("Sigmoid", inputs, output)
    elif kind == "Swish":
        graph.add("Mul", [*inputs, graph.add("Sigmoid", inputs, f"{output}.gate")], output)
    elif kind == "Concat" and not number(0):
        graph.add("Concat", inputs, output, axis=1)
    elif kind == "BinaryOp" and number(0) in _SUMS:
        constants = [graph.keep(f"{name}.number", number(2))] if number(1) else []
        graph.add(_SUMS[int(number(0))], [*inputs, *constants], output)
    elif kind == "Eltwise" and number(0) == 1 and len(inputs) == 2:
        terms = [
            blob if factor == 1 else graph.add("Mul", [blob, graph.keep(f"{blob}.{name}", factor)], f"{output}.{blob}")
            for blob, factor in zip(inputs, layer.params.get(1, (1, 1)), strict=True)
        ]
        graph.add("Add", terms, output)
    elif kind == "Interp" and number(0) == 1:  # by repeating pixels
        factors = graph.keep(f"{name}.factors", [1, 1, number(1), number(2)])
        rule = {"mode": "nearest", "nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}
        graph.add("Resize", [inputs[0], "", factors], output, **rule)
    elif kind == "PixelShuffle":
        graph.add("DepthToSpace", inputs, output, blocksize=int(number(0)), mode="CRD")
    else:
        raise ValueError(f"layer {kind} {dict(layer.params)} is not supported")


def _add_convolution(graph: _Graph, layer: Layer, source: str, output: str) -> None:
    kernels, bias = layer.weights
    is_activated = layer.number(9) == 2  # by a leaky ReLU
    weights = [graph.keep(f"{layer.name}.kernels", kernels), graph.keep(f"{layer.name}.bias", bias)]
    linear = f"{output}.linear" if is_activated else output
    pads, shape = [int(layer.number(4))] * 4, list(kernels.shape[2:])
    graph.add("Conv", [source, *weights], linear, kernel_shape=shape, pads=pads)
    if is_activated:
        graph.add("LeakyRelu", [linear], output, alpha=float(layer.number(10)))


def _describe_tensor(*sides: str) -> bytes:
    dimensions = [_message((1, 1)), _message((1, 3)), *(_message((2, side)) for side in sides)]
    shape = _message(*((1, dimension) for dimension in dimensions))
    return _message((1, _message((1, _FLOAT), (2, shape))))


def _format_attribute(name: str, value: Attribute) -> bytes:
    if isinstance(value, float):
        return _message((1, name), (2, value), (20, 1))
    if isinstance(value, int):
        return _message((1, name), (3, value), (20, 2))
    if isinstance(value, str):
        return _message((1, name), (4, value), (20, 3))
    return _message((1, name), *((8, number) for number in value), (20, 7))


def _message(*fields: tuple[int, bytes | str | int | float]) -> bytes:
    """Write a message of protobuf: (number, value) for each field; a float has four bytes, a whole number varies."""
    parts = []
    for number, value in fields:
        if isinstance(value, float):
            parts += [_varint(number << 3 | 5), struct.pack("<f", value)]
        elif isinstance(value, int):
            parts += [_varint(number << 3), _varint(value)]
        else:
            data = value.encode() if isinstance(value, str) else value
            parts += [_varint(number << 3 | 2), _varint(len(data)), data]
    return b"".join(parts)


def _varint(value: int) -> bytes:
    """Write a whole number, not negative, seven bits a byte, the lowest first."""
    data = bytearray()
    while value > 0x7F:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*data, value])
