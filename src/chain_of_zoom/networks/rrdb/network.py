"""The embedded networks in torch: RRDBNet (RealSR, Real-ESRGAN) and its compact relative, with ncnn's weights.

Wang et al., ESRGAN (ECCVW 2018) and Real-ESRGAN (ICCVW 2021). Modules bear the names that their authors' checkpoints
use, so a state dict made here loads there.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, leaky_relu

from chain_of_zoom.imaging.images import RGB8, RGBF
from chain_of_zoom.networks.rrdb.ncnn_weights import Layer, read_network
from chain_of_zoom.networks.rrdb.span import SpanNet, make_span

SLOPE, RESIDUAL = 0.2, 0.2  # of the leaky ReLUs, and of every block's own part in its sum

# Layers of one dense block, with its sum; a Split is bookkeeping.
_DENSE = ["Convolution", *["Concat", "Convolution"] * 4, "Eltwise"]
_TAIL = ["Convolution", "BinaryOp", *["Interp", "Convolution"] * 2, "Convolution", "Convolution"]


class DenseBlock(nn.Module):
    """Five convolutions, each of which sees the results of all before it."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        for k in range(5):
            out = growth if k < 4 else width
            self.add_module(f"conv{k + 1}", nn.Conv2d(width + k * growth, out, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """Map B x width x H x W to the same shape."""
        features = [x]
        for k in range(1, 5):
            features.append(leaky_relu(self.get_submodule(f"conv{k}")(torch.cat(features, 1)), SLOPE))
        last: Tensor = self.get_submodule("conv5")(torch.cat(features, 1))
        return last * RESIDUAL + x


class RRDB(nn.Module):
    """Three dense blocks with a residual around them."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        self.rdb1, self.rdb2, self.rdb3 = (DenseBlock(width, growth) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        """Map B x width x H x W to the same shape."""
        deepest: Tensor = self.rdb3(self.rdb2(self.rdb1(x)))
        return deepest * RESIDUAL + x


class RRDBNet(nn.Module):
    """The 4x network of ESRGAN, RealSR and Real-ESRGAN."""

    def __init__(self, blocks: int, width: int = 64, growth: int = 32) -> None:
        super().__init__()
        self.conv_first = nn.Conv2d(3, width, 3, padding=1)
        self.body = nn.Sequential(*(RRDB(width, growth) for _ in range(blocks)))
        self.conv_body, self.conv_up1, self.conv_up2, self.conv_hr = (
            nn.Conv2d(width, width, 3, padding=1) for _ in range(4)
        )
        self.conv_last = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map RGB planes in about [0, 1], B x 3 x H x W, to B x 3 x 4H x 4W."""
        x = self.conv_first(x)
        x = x + self.conv_body(self.body(x))
        for conv in (self.conv_up1, self.conv_up2):
            x = leaky_relu(conv(interpolate(x, scale_factor=2, mode="nearest")), SLOPE)
        enlarged: Tensor = self.conv_last(leaky_relu(self.conv_hr(x), SLOPE))
        return enlarged


class CompactNet(nn.Module):
    """Real-ESRGAN's compact network: plain convolutions, then a shuffle of pixels, over the enlarged input."""

    def __init__(self, convolutions: int, width: int = 64, factor: int = 4) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, width, 3, padding=1), nn.PReLU(width)]
        for _ in range(convolutions):
            layers += [nn.Conv2d(width, width, 3, padding=1), nn.PReLU(width)]
        self.body = nn.Sequential(*layers, nn.Conv2d(width, 3 * factor**2, 3, padding=1))
        self.upsampler = nn.PixelShuffle(factor)
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        """Map RGB planes in about [0, 1], B x 3 x H x W, to B x 3 x factor*H x factor*W."""
        detail: Tensor = self.upsampler(self.body(x))
        return detail + interpolate(x, scale_factor=self.factor, mode="nearest")


def from_ncnn(param: Path, weights: Path) -> RRDBNet | CompactNet | SpanNet:
    """Read the network that ncnn's files describe, with exactly their weights, float32, on the CPU, in evaluation mode.

    Raises ValueError for files that are damaged or describe another kind of network.
    """
    layers = read_network(param, weights)
    with torch.device("meta"):
        network = _make_network(layers)
    values = [torch.from_numpy(np.array(value)) for layer in layers for value in layer.weights]
    state = dict(zip(network.state_dict(), values, strict=True))
    try:
        network.load_state_dict(state, assign=True)
    except RuntimeError as error:
        raise ValueError(f"{weights.name} holds weights of other shapes") from error
    return network.eval().requires_grad_(False)


def _make_network(layers: Sequence[Layer]) -> RRDBNet | CompactNet | SpanNet:
    kinds = {layer.kind for layer in layers}
    if "Swish" in kinds:
        return make_span(layers)
    layers = [layer for layer in layers if layer.kind not in ("Input", "Split")]
    return _make_compact(layers) if "PReLU" in kinds else _make_rrdb(layers)


def _make_rrdb(layers: Sequence[Layer]) -> RRDBNet:
    """Return a network whose parameters come in the order of the layers, which are checked."""
    convolutions = [layer for layer in layers if layer.kind == "Convolution"]
    blocks = (len(convolutions) - 6) // 15
    _expect(layers, ["Convolution", *[*_DENSE * 3, "Eltwise"] * blocks, *_TAIL])
    for layer in layers:
        if layer.kind == "Eltwise" and (layer.number(0), layer.params.get(1)) != (1, (RESIDUAL, 1.0)):
            raise ValueError(f"sum {layer.name} has factors of its own")
        if layer.kind == "Interp" and (layer.number(0), layer.number(1), layer.number(2)) != (1, 2, 2):
            raise ValueError(f"enlargement {layer.name} is not by repeating pixels twice")
    activated = [False, *[*[True] * 4, False] * 3 * blocks, False, True, True, True, False]
    if [(layer.number(9), layer.params.get(10)) for layer in convolutions] != [
        (2, (SLOPE,)) if active else (0, None) for active in activated
    ]:
        raise ValueError("the convolutions have other activations")
    width, growth = (len(convolutions[i].weights[1]) for i in (0, 1))
    return RRDBNet(blocks, width, growth)


def _make_compact(layers: Sequence[Layer]) -> CompactNet:
    slopes = [layer for layer in layers if layer.kind == "PReLU"]
    _expect(layers, [*["Convolution", "PReLU"] * len(slopes), "Convolution", "PixelShuffle", "Interp", "BinaryOp"])
    factor, enlarged = int(layers[-3].number(0)), layers[-2]
    if (enlarged.number(0), enlarged.number(1), enlarged.number(2)) != (1, factor, factor):
        raise ValueError(f"enlargement {enlarged.name} is not by repeating pixels {factor} times")
    return CompactNet(len(slopes) - 1, len(slopes[0].weights[0]), factor)


def _expect(layers: Sequence[Layer], kinds: Sequence[str]) -> None:
    if [layer.kind for layer in layers] != list(kinds):
        raise ValueError("the layers are those of another network")


class TorchNetwork:
    """A network on a device, called with one window at a time; float32 throughout, without TF32's shorter numbers."""

    def __init__(self, network: RRDBNet | CompactNet | SpanNet, device: torch.device) -> None:
        self.network = network.to(device)
        self.device = device

    @property
    def label(self) -> str:
        """Return what records call the device: "cpu (torch)" and the like; ncnn's results differ in their last bits."""
        return f"{self.device} (torch)"

    @torch.inference_mode()
    def __call__(self, window: RGB8) -> RGBF:
        """Map a window (uint8, h x w x 3) to float32, factor*h x factor*w x 3, about [0, 1]."""
        planes = torch.tensor(window, device=self.device).permute(2, 0, 1)[None].contiguous().float() / 255
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            enlarged = self.network(planes)[0]
        pixels: RGBF = np.ascontiguousarray(enlarged.permute(1, 2, 0).cpu().numpy())
        return pixels
