"""Low-rank adapters that can be switched: several networks in the memory of one.

W x becomes W x + scale * up(down(x)) with the adapter that is switched on, W x with none. Names are those of PEFT
(`base_layer`, `lora_A`, `lora_B`), which the published files use, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from chain_of_zoom.networks.sd.lora import ENCODER_ALPHA, ENCODER_RANK, TRANSFORMER_SCALE, modulation_linears

RANK = ENCODER_RANK
GENERATOR, REGULARISER = "generator", "regulariser"
ENCODER = "default_encoder"  # the adapter's name in the published file

# What the published encoder adapts, by the last part of the name (method, section 3).
_ENCODER_TARGETS = (
    "conv1", "conv2", "conv_in", "conv_shortcut", "conv", "conv_out", "to_k", "to_q", "to_v", "to_out.0",
)  # fmt: skip


class Switch:
    """Which adapter is on; one switch is shared by all layers of a network."""

    def __init__(self, active: str | None) -> None:
        self.active = active

    @contextmanager
    def to(self, name: str | None) -> Iterator[None]:
        """Another adapter, or none, meanwhile. Backward passes with checkpointing must run under the same one."""
        before, self.active = self.active, name
        try:
            yield
        finally:
            self.active = before


class AdaptedLayer(nn.Module):
    """A Linear or a convolution with adapters in parallel; its own weights are not trained."""

    def __init__(self, layer: nn.Linear | nn.Conv2d, names: Iterable[str], scale: float, switch: Switch) -> None:
        super().__init__()
        self.base_layer, self.scale, self.switch = layer, scale, switch
        pairs = {name: _pair(layer) for name in names}
        self.lora_A = nn.ModuleDict({name: pair[0] for name, pair in pairs.items()})
        self.lora_B = nn.ModuleDict({name: pair[1] for name, pair in pairs.items()})

    def forward(self, x: Tensor) -> Tensor:
        """As the layer, plus the adapter that is on."""
        y: Tensor = self.base_layer(x)
        name = self.switch.active
        if name is None:
            return y
        low: Tensor = self.lora_B[name](self.lora_A[name](x.float()))
        return y + (self.scale * low).to(y.dtype)


def _pair(layer: nn.Linear | nn.Conv2d) -> tuple[nn.Module, nn.Module]:
    """Down and up, float32, beside the layer: up is zero, so that nothing changes before training."""
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
    """Give the modulation Linears the adapters of generator and regulariser; returns their names, in module order."""
    layers = list(modulation_linears(transformer))
    for name, layer in layers:
        _replace(transformer, name, AdaptedLayer(layer, (GENERATOR, REGULARISER), TRANSFORMER_SCALE, switch))
    return [name for name, _ in layers]


def adapt_encoder(encoder: nn.Module) -> list[str]:
    """Give the published layers of a VAE encoder their adapter, always on; returns their names, in module order."""
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
    """The weights of one adapter by the name of the layer: "<layer>.lora_A.weight" and "<layer>.lora_B.weight"."""
    mark = f".{adapter}.weight"
    return {
        name.removesuffix(mark) + ".weight": parameter
        for name, parameter in root.named_parameters()
        if name.endswith(mark) and ".lora_" in name
    }


@torch.no_grad()
def draw_adapters(parameters: Sequence[dict[str, nn.Parameter]], seed: int) -> None:
    """Start values: down ~ N(0, 1/rank), up = 0, drawn on the CPU in a fixed order."""
    generator = torch.Generator().manual_seed(seed)
    for adapters in parameters:
        for name, parameter in adapters.items():
            if name.endswith("lora_A.weight"):
                parameter.copy_(torch.randn(parameter.shape, generator=generator) / RANK)
            else:
                parameter.zero_()
