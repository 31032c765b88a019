"""Low-rank adapters that can be switched on and off, so that several networks share the memory of one.

A layer W x computes W x + scale * up(down(x)) with the active adapter, and W x while none is active. Attributes have
the names of PEFT (`base_layer`, `lora_A`, `lora_B`), which the published files use as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from chain_of_zoom.networks.sd.lora import ENCODER_ALPHA, ENCODER_RANK, TRANSFORMER_SCALE, find_modulation_linears

RANK = ENCODER_RANK
GENERATOR, REGULARISER = "generator", "regulariser"
ENCODER = "default_encoder"  # the adapter's name in the published file

# What the published encoder adapts, by the last part of the name (as published).
_ENCODER_TARGETS = (
    "conv1", "conv2", "conv_in", "conv_shortcut", "conv", "conv_out", "to_k", "to_q", "to_v", "to_out.0",
)  # fmt: skip


class Switch:
    """Names the active adapter; all layers of a network share one switch."""

    def __init__(self, active: str | None) -> None:
        self.active = active

    @contextmanager
    def activate(self, name: str | None) -> Iterator[None]:
        """Activate another adapter, or none, inside the `with` block.

        With checkpointing, the backward pass computes activations again and so must run in the same block.
        """
        previous, self.active = self.active, name
        try:
            yield
        finally:
            self.active = previous


class AdaptedLayer(nn.Module):
    """Runs a Linear or a convolution with adapters in parallel; the weights of the layer itself are not trained."""

    def __init__(self, layer: nn.Linear | nn.Conv2d, names: Iterable[str], scale: float, switch: Switch) -> None:
        super().__init__()
        self.base_layer, self.scale, self.switch = layer, scale, switch
        pairs = {name: _make_pair(layer) for name in names}
        self.lora_A = nn.ModuleDict({name: pair[0] for name, pair in pairs.items()})
        self.lora_B = nn.ModuleDict({name: pair[1] for name, pair in pairs.items()})

    def forward(self, x: Tensor) -> Tensor:
        """Compute the layer, plus the active adapter in float32; the result has the dtype of the layer."""
        y: Tensor = self.base_layer(x)
        name = self.switch.active
        if name is None:
            return y
        low: Tensor = self.lora_B[name](self.lora_A[name](x.float()))
        return y + (self.scale * low).to(y.dtype)


def _make_pair(layer: nn.Linear | nn.Conv2d) -> tuple[nn.Module, nn.Module]:
    """Create down and up in float32 on the device of the layer; up is zero, so that nothing changes before training."""
    down: nn.Linear | nn.Conv2d
    up: nn.Linear | nn.Conv2d
    device = layer.weight.device
    if isinstance(layer, nn.Linear):
        down = nn.Linear(layer.in_features, RANK, bias=False, device=device)
        up = nn.Linear(RANK, layer.out_features, bias=False, device=device)
    else:
        size, stride, padding = layer.kernel_size, layer.stride, layer.padding
        down = nn.Conv2d(layer.in_channels, RANK, size, stride, padding, bias=False, device=device)  # type: ignore[arg-type]
        up = nn.Conv2d(RANK, layer.out_channels, 1, bias=False, device=device)
    nn.init.zeros_(up.weight)
    return down, up


def adapt_transformer(transformer: nn.Module, switch: Switch) -> list[str]:
    """Add the adapters of generator and regulariser to the modulation Linears; return their names in module order."""
    layers = list(find_modulation_linears(transformer))
    for name, layer in layers:
        _replace(transformer, name, AdaptedLayer(layer, (GENERATOR, REGULARISER), TRANSFORMER_SCALE, switch))
    return [name for name, _ in layers]


def adapt_encoder(encoder: nn.Module) -> list[str]:
    """Add an adapter that is always active to the published layers of a VAE encoder; return their names in order."""
    switch = Switch(ENCODER)
    layers = [
        (name, layer)
        for name, layer in encoder.named_modules()
        if isinstance(layer, nn.Linear | nn.Conv2d)
        and any(name == target or name.endswith(f".{target}") for target in _ENCODER_TARGETS)
    ]
    for name, layer in layers:
        _replace(encoder, name, AdaptedLayer(layer, (ENCODER,), ENCODER_ALPHA / ENCODER_RANK, switch))
    return [name for name, _ in layers]


def _replace(root: nn.Module, name: str, layer: nn.Module) -> None:
    parent, _, leaf = name.rpartition(".")
    setattr(root.get_submodule(parent), leaf, layer)


def parameters_of(root: nn.Module, adapter: str) -> dict[str, nn.Parameter]:
    """Collect the weights of one adapter by name: "<layer>.lora_A.weight" and "<layer>.lora_B.weight"."""
    suffix = f".{adapter}.weight"
    return {
        name.removesuffix(suffix) + ".weight": parameter
        for name, parameter in root.named_parameters()
        if name.endswith(suffix) and ".lora_" in name
    }


@torch.no_grad()
def draw_adapters(parameters: Sequence[dict[str, nn.Parameter]], seed: int) -> None:
    """Set the start values: down is normal with deviation 1/rank, up is zero.

    They are drawn on the CPU in a fixed order, so that all devices agree.
    """
    generator = torch.Generator().manual_seed(seed)
    for adapters in parameters:
        for name, parameter in adapters.items():
            if name.endswith("lora_A.weight"):
                parameter.copy_(torch.randn(parameter.shape, generator=generator) / RANK)
            else:
                parameter.zero_()
