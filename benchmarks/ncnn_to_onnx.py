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

from chain_of_zoom.networks.rrdb.ncnn_weights import read_network


def convert(param: Path, weights: Path) -> bytes:
    """Returns the serialised ONNX model: input `data`, output `output`, 1 x 3 x H x W float32."""
    nodes: list[onnx.NodeProto] = []
    constants: list[onnx.TensorProto] = []
    alias: dict[str, str] = {}

    def constant(name: str, value: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def add(op: str, inputs: list[str], output: str, **attributes: Any) -> None:
        nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))

    for layer in read_network(param, weights):
        kind, name = layer.kind, layer.name
        ins = [alias.get(blob, blob) for blob in layer.inputs]
        if kind == "Input":
            continue
        if kind == "Split":
            alias.update(dict.fromkeys(layer.outputs, ins[0]))
            continue
        (out,) = layer.outputs
        if kind == "Convolution":
            kernels, bias = layer.weights
            activated = layer.number(9) == 2
            add(
                "Conv",
                [ins[0], constant(f"{name}.w", kernels), constant(f"{name}.b", bias)],
                f"{out}.linear" if activated else out,
                kernel_shape=list(kernels.shape[2:]),
                pads=[int(layer.number(4))] * 4,
            )
            if activated:
                add("LeakyRelu", [f"{out}.linear"], out, alpha=layer.number(10))
        elif kind == "PReLU":
            add("PRelu", [ins[0], constant(f"{name}.slope", layer.weights[0].reshape(-1, 1, 1))], out)
        elif kind == "Concat":
            add("Concat", ins, out, axis=1)
        elif kind == "BinaryOp" and layer.number(0) == 0:
            add("Add", ins, out)
        elif kind == "Eltwise" and layer.number(0) == 1:
            terms = []
            for index, (blob, factor) in enumerate(zip(ins, layer.params.get(1, (1, 1)), strict=True)):
                if factor != 1:
                    scale = constant(f"{name}.{index}", np.float32(factor))
                    add("Mul", [blob, scale], f"{out}.{index}")
                    blob = f"{out}.{index}"
                terms.append(blob)
            add("Add", terms, out)
        elif kind == "Interp" and layer.number(0) == 1:
            scales = constant(f"{name}.scales", np.float32([1, 1, layer.number(1), layer.number(2)]))
            add(
                "Resize",
                [ins[0], "", scales],
                out,
                mode="nearest",
                nearest_mode="floor",
                coordinate_transformation_mode="asymmetric",
            )
        elif kind == "PixelShuffle":
            add("DepthToSpace", ins, out, blocksize=int(layer.number(0)), mode="CRD")
        else:
            raise ValueError(f"layer {kind} {dict(layer.params)} is not supported")
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
