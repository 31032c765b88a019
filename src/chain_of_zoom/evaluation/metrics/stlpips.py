"""ST-LPIPS: how far two pictures lie apart for an AlexNet that a shift hardly moves (Ghildyal and Liu, ECCV 2022)."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from chain_of_zoom.errors import MissingError
from chain_of_zoom.evaluation.metrics.base import Metric, MetricInfo
from chain_of_zoom.imaging.images import RGB8

if TYPE_CHECKING:
    import torch

PACKAGE = "stlpips_pytorch"
WEIGHTS = "weights/vST0.0/alex_shift_tolerant.pth"

# Names in the file: convolution, blur after or before it, padding; a max pool stands before each blur but the first.
_LAYERS = ("slice1.0", "slice2.5", "slice3.9", "slice4.11", "slice5.13")
_PADDING = (2, 2, 1, 1, 1)
_BLURS = {1: "slice2.4", 2: "slice3.8"}


class StLpips(Metric):
    """Shift-tolerant LPIPS, AlexNet.

    Reads the published weights from the package and runs none of its code: that wants torchvision, holds blurs under
    a non-commercial licence, and by default leaves its last layers random.
    """

    info = MetricInfo(
        name="st-lpips",
        direction="lower",
        range=(0, float("inf")),
        reference=True,
        source="Ghildyal, Liu: Shift-tolerant Perceptual Similarity Metric, ECCV 2022",
        licence="weights BSD-2-Clause; the package that holds them also has non-commercial code, which is never run",
        extra="eval-torch",
        note="AlexNet, on the CPU; a shift of a pixel counts little",
    )
    needs = ("torch", PACKAGE)
    min_side = 32

    def _load(self) -> None:
        import torch

        spec = importlib.util.find_spec(PACKAGE)
        path = Path(next(iter(spec.submodule_search_locations or ())), WEIGHTS) if spec else None
        if path is None or not path.is_file():
            raise MissingError(f"metric st-lpips: {PACKAGE} has no {WEIGHTS}; type: {self.install}")
        self._weights: dict[str, torch.Tensor] = torch.load(path, map_location="cpu", weights_only=True)

    def _measure(self, image: RGB8, reference: RGB8 | None) -> float:
        import torch

        assert reference is not None
        pair = torch.from_numpy(np.stack([image, reference])).permute(0, 3, 1, 2).float() / 127.5 - 1
        with torch.inference_mode():
            return sum(
                float((self._weights[f"lin{i}.model.1.weight"] * (one - other).square()).sum(1).mean())
                for i, (one, other) in enumerate(self._features(pair))
            )

    def _features(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        """Five layers of features of N pictures in [-1, 1], each of unit length over its channels."""
        from torch.nn.functional import conv2d, max_pool2d, normalize

        w = self._weights
        values = (pictures - w["scaling_layer.shift"]) / w["scaling_layer.scale"]
        found = []
        for i, (layer, padding) in enumerate(zip(_LAYERS, _PADDING, strict=True)):
            if i in _BLURS:
                values = _blur(max_pool2d(values, 3, stride=1), w[f"net.{_BLURS[i]}.filt"])
            values = conv2d(values, w[f"net.{layer}.weight"], w[f"net.{layer}.bias"], padding=padding)
            if i == 0:
                values = _blur(values, w["net.slice1.1.filt"])
            values = values.relu()
            found.append(normalize(values, dim=1, eps=1e-10))
        return found


def _blur(values: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    """Blur each channel and keep every second value; the edges are mirrored two pixels wide."""
    from torch.nn.functional import conv2d, pad

    return conv2d(pad(values, (2, 2, 2, 2), mode="reflect"), kernel, stride=2, groups=values.shape[1])
