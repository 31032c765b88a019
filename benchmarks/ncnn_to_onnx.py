"""Turn an ncnn network (.param, .bin) into an ONNX model with the same weights.

Only what the embedded networks use; anything else is refused. The sum and the activation of each
layer stay where ncnn has them, so both runtimes compute the same graph and can be timed side by side.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FP16_TAG = 0x01306B47  # the first four bytes of a convolution's weights when they are stored as fp16


def parse_params(words: list[str]) -> dict[int, Any]:
    """`0=64 -23310=1,0.2` -> {0: "64", 10: ["0.2"]} (array keys are stored as -23300 - key)."""
    params: dict[int, Any] = {}
    for word in words:
        key, value = word.split("=")
        if int(key) <= -23300:
            params[-int(key) - 23300] = value.split(",")[1:]
        else:
            params[int(key)] = value
    return params


class WeightReader:
    def __init__(self, path: Path) -> None:
        self.data = path.read_bytes()
        self.at = 0

    def floats(self, count: int) -> np.ndarray:
        values = np.frombuffer(self.data, np.float32, count, self.at)
        self.at += 4 * count
        return values

    def tagged(self, count: int) -> np.ndarray:
        tag = int(np.frombuffer(self.data, np.uint32, 1, self.at)[0])
        self.at += 4
        if tag == 0:
            return self.floats(count)
        if tag != FP16_TAG:
            raise ValueError(f"weights tagged {tag:#x} are not supported")
        values = np.frombuffer(self.data, np.float16, count, self.at).astype(np.float32)
        self.at += (2 * count + 3) // 4 * 4
        return values


def convert(param: Path, weights: Path) -> bytes:
    """Returns the serialised ONNX model: input `data`, output `output`, 1 x 3 x H x W float32."""
    reader = WeightReader(weights)
    nodes: list[onnx.NodeProto] = []
    constants: list[onnx.TensorProto] = []
    alias: dict[str, str] = {}
    channels: dict[str, int] = {"data": 3}

    def constant(name: str, value: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def add(op: str, inputs: list[str], output: str, **attributes: Any) -> None:
        nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))

    for line in param.read_text().splitlines()[2:]:
        kind, name, n_in, n_out, *rest = line.split()
        ins = [alias.get(blob, blob) for blob in rest[: int(n_in)]]
        outs = rest[int(n_in) : int(n_in) + int(n_out)]
        params = parse_params(rest[int(n_in) + int(n_out) :])
        if kind == "Input":
            continue
        if kind == "Split":
            alias.update(dict.fromkeys(outs, ins[0]))
            continue
        (out,) = outs
        if kind == "Convolution":
            filters, size = int(params[0]), int(params[1])
            shape = (filters, int(params[6]) // (filters * size * size), size, size)
            weight = constant(f"{name}.w", reader.tagged(int(params[6])).reshape(shape))
            bias = constant(f"{name}.b", reader.floats(filters))
            activated = params.get(9) == "2"
            pads = [int(params[4])] * 4
            add(
                "Conv",
                [ins[0], weight, bias],
                f"{out}.linear" if activated else out,
                kernel_shape=[size, size],
                pads=pads,
            )
            if activated:
                add("LeakyRelu", [f"{out}.linear"], out, alpha=float(params[10][0]))
            channels[out] = filters
        elif kind == "PReLU":
            slope = constant(f"{name}.slope", reader.floats(int(params[0])).reshape(-1, 1, 1))
            add("PRelu", [ins[0], slope], out)
        elif kind == "Concat":
            add("Concat", ins, out, axis=1)
        elif kind == "BinaryOp" and params.get(0, "0") == "0":
            add("Add", ins, out)
        elif kind == "Eltwise" and params[0] == "1":
            terms = []
            for index, (blob, factor) in enumerate(zip(ins, params.get(1, ["1", "1"]), strict=True)):
                if float(factor) != 1:
                    scale = constant(f"{name}.{index}", np.float32(float(factor)))
                    add("Mul", [blob, scale], f"{out}.{index}")
                    blob = f"{out}.{index}"
                terms.append(blob)
            add("Add", terms, out)
        elif kind == "Interp" and params[0] == "1":
            scales = constant(f"{name}.scales", np.float32([1, 1, float(params[1]), float(params[2])]))
            add(
                "Resize",
                [ins[0], "", scales],
                out,
                mode="nearest",
                nearest_mode="floor",
                coordinate_transformation_mode="asymmetric",
            )
        elif kind == "PixelShuffle":
            add("DepthToSpace", ins, out, blocksize=int(params[0]), mode="CRD")
        else:
            raise ValueError(f"layer {kind} {params} is not supported")
    if reader.at != len(reader.data):
        raise ValueError(f"{len(reader.data) - reader.at} bytes of weights were not consumed")
    image = [1, 3, "H", "W"]
    graph = helper.make_graph(
        nodes,
        "ncnn",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, image)],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 3, "H4", "W4"])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return model.SerializeToString()
