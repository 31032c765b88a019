"""The network of ST-LPIPS, an AlexNet that a shift hardly moves (Ghildyal and Liu, ECCV 2022), from published weights.

None of the package's code is run: that wants torchvision, holds blurs under a non-commercial licence, and by default
leaves its last layers random.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, max_pool2d, normalize, pad

from chain_of_zoom.errors import MissingError

PACKAGE = "stlpips_pytorch"
WEIGHTS = "weights/vST0.0/alex_shift_tolerant.pth"
INSTALL = "pip install 'chain-of-zoom[eval-torch]'"
MIN_SIDE = 32

# Names in the file: convolution, blur after or before it, padding; a max pool stands before each blur but the first.
_LAYERS = ("slice1.0", "slice2.5", "slice3.9", "slice4.11", "slice5.13")
_PADDING = (2, 2, 1, 1, 1)
_BLURS = {1: "slice2.4", 2: "slice3.8"}


class StLpipsNetwork(nn.Module):
    """Measures distances of pairs of pictures. Its weights are frozen; gradients reach the pictures."""

    def __init__(self) -> None:
        super().__init__()
        spec = importlib.util.find_spec(PACKAGE)
        path = Path(next(iter(spec.submodule_search_locations or ())), WEIGHTS) if spec else None
        if path is None or not path.is_file():
            raise MissingError(f"st-lpips: {PACKAGE} has no {WEIGHTS}; type: {INSTALL}")
        weights: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
        self.names = {name: f"weight{i}" for i, name in enumerate(weights)}  # buffers have no dots in their names
        for name, buffer in self.names.items():
            self.register_buffer(buffer, weights[name])

    def _weight(self, name: str) -> Tensor:
        return self.get_buffer(self.names[name])

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        """Return the distance of each pair: N x 3 x H x W in [-1, 1], sides of at least 32, to N."""
        pairs = zip(self._features(one), self._features(other), strict=True)
        layers = [
            (self._weight(f"lin{i}.model.1.weight") * (a - b).square()).sum(1).mean((1, 2))
            for i, (a, b) in enumerate(pairs)
        ]
        return torch.stack(layers).sum(0)

    def _features(self, pictures: Tensor) -> list[Tensor]:
        """Return five layers of features, each of unit length over its channels."""
        values = (pictures - self._weight("scaling_layer.shift")) / self._weight("scaling_layer.scale")
        features = []
        for i, (layer, padding) in enumerate(zip(_LAYERS, _PADDING, strict=True)):
            if i in _BLURS:
                values = _blur(max_pool2d(values, 3, stride=1), self._weight(f"net.{_BLURS[i]}.filt"))
            weight, bias = (self._weight(f"net.{layer}.{kind}") for kind in ("weight", "bias"))
            values = conv2d(values, weight, bias, padding=padding)
            if i == 0:
                values = _blur(values, self._weight("net.slice1.1.filt"))
            values = values.relu()
            features.append(normalize(values, dim=1, eps=1e-10))
        return features


def _blur(values: Tensor, kernel: Tensor) -> Tensor:
    """Blur each channel and keep every second value; the edges are mirrored two pixels wide."""
    return conv2d(pad(values, (2, 2, 2, 2), mode="reflect"), kernel, stride=2, groups=values.shape[1])
