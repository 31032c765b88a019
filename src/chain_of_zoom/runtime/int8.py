"""Weights of linear layers in int8: half the bytes of bfloat16, for encoders that would not fit otherwise."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Int8Linear(nn.Module):
    """A linear layer whose weights are whole numbers from -127 to 127, with one scale per row.

    A row's error is half a step at most, 1/254 of its largest weight. The numbers become weights again, in the input's
    float type, when the layer is called, so that it computes on every device.
    """

    weight: Tensor
    scale: Tensor

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weights = linear.weight.detach()
        largest = weights.float().abs().amax(1, keepdim=True)
        scale = (largest / 127).to(weights.dtype)  # rounded before it divides, so that it is the one that multiplies
        scale = scale.clamp_min(torch.finfo(scale.dtype).tiny)
        self.register_buffer("weight", (weights.float() / scale.float()).round().clamp(-127, 127).to(torch.int8))
        self.register_buffer("scale", scale)
        self.bias = linear.bias

    def forward(self, x: Tensor) -> Tensor:
        """Multiply by the weights and add the bias."""
        return nn.functional.linear(x, self.weight.to(x.dtype) * self.scale.to(x.dtype), self.bias)


def to_int8(network: nn.Module) -> None:
    """Store the weights of all linear layers but the last in int8."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.Linear) and name != "lm_head":  # which may be the embedding
                setattr(module, name, Int8Linear(child))
