"""A stand-in for spandrel 0.4 by its documented interface: it knows one architecture, which repeats pixels.

The real one needs torchvision, which does not go with the torch that is tested here. tests/with_torchvision runs it,
and compares names and types of this one with it. This stays, since it overflows, refuses to be tiled and wants sides
of a multiple as a test asks, and says to the bit what comes out.
"""

from __future__ import annotations

from enum import Enum
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn


class UnsupportedModelError(Exception):
    pass


class ModelTiling(Enum):
    SUPPORTED = 1
    DISCOURAGED = 2
    INTERNAL = 3


class Repeat(nn.Module):
    def __init__(self, channels: int, scale: int, overflows: bool) -> None:
        super().__init__()
        self.up = nn.Conv2d(channels, channels * scale**2, 1, bias=False)
        self.scale, self.overflows = scale, overflows

    def forward(self, x: Tensor) -> Tensor:
        made = nn.functional.pixel_shuffle(self.up(x), self.scale)
        return made * torch.inf if self.overflows and made.dtype != torch.float32 else made


class ImageModelDescriptor:
    def __init__(self, model: nn.Module, channels: int, facts: dict[str, int]) -> None:
        self.model = model
        self.architecture = SimpleNamespace(id="Repeat", name="Repeat")
        self.scale = model.scale
        self.input_channels = self.output_channels = channels
        self.supports_half, self.supports_bfloat16 = "half" in facts, False
        self.size_requirements = SimpleNamespace(minimum=facts.get("minimum", 0), multiple_of=facts.get("multiple", 1))
        self.tiling = ModelTiling(facts.get("tiling", 1))

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        return next(self.model.parameters()).dtype

    def to(self, *args: Any) -> ImageModelDescriptor:
        self.model.to(*args)
        return self

    def eval(self) -> ImageModelDescriptor:
        self.model.eval()
        return self

    def __call__(self, image: Tensor) -> Tensor:
        assert image.dtype == self.dtype
        assert image.shape[:2] == (1, self.input_channels)
        assert all(side % self.size_requirements.multiple_of == 0 for side in image.shape[2:])
        return self.model(image).clamp_(0, 1)


class ModelLoader:
    def load_from_state_dict(self, state: dict[str, Any]) -> ImageModelDescriptor:
        state = state.get("params", state)
        if "up.weight" not in state:
            raise UnsupportedModelError
        weight = state["up.weight"]
        channels = weight.shape[1]
        model = Repeat(channels, int((weight.shape[0] // channels) ** 0.5), "overflows" in state)
        facts = {key: int(value) for key, value in state.items() if value.numel() == 1}
        model.load_state_dict({"up.weight": weight})
        return ImageModelDescriptor(model, channels, facts)
