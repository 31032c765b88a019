"""Spend fewer bits where they do not show: the VAE in bfloat16 when it stays near enough."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

TOLERANCE = {"vae": 5e-2, "transformer": 1e-2, "float32": 2e-3}
"""Relative errors that a part may have, in bfloat16, and anything in float32 on another device."""
_SIDE = 64


def measure_relative_error(computed: Tensor, expected: Tensor) -> float:
    """Return the norm of the difference over the norm of what was expected; infinite for NaN."""
    error = float((computed.float() - expected.float()).norm() / expected.float().norm())
    return error if error == error else float("inf")


@torch.inference_mode()
def measure_vae_errors(vae: Any, device: torch.device) -> dict[str, float]:
    """Measure relative errors of a float32 VAE in bfloat16, encoding and decoding one test picture; it is unchanged."""
    steps = torch.linspace(-1, 1, _SIDE, device=device)
    ramps = torch.stack([steps + steps[:, None], steps - steps[:, None], steps * steps[:, None]]) / 2
    noise = torch.rand(3, _SIDE, _SIDE, generator=torch.Generator().manual_seed(0)).to(device)
    picture = (ramps + noise - 0.5)[None]
    z = vae.encode(picture).latent_dist.mode()
    decoded = vae.decode(z, return_dict=False)[0]
    exact = [(tensor, tensor.data) for tensor in (*vae.parameters(), *vae.buffers())]
    cast(vae, torch.bfloat16)
    try:
        return {
            "encode": measure_relative_error(vae.encode(picture.bfloat16()).latent_dist.mode(), z),
            "decode": measure_relative_error(vae.decode(z.bfloat16(), return_dict=False)[0], decoded),
        }
    finally:
        for tensor, data in exact:
            tensor.data = data


def cast(network: nn.Module, dtype: torch.dtype) -> None:
    """Change the precision of a network's weights and buffers where they are."""
    for tensor in (*network.parameters(), *network.buffers()):
        if tensor.is_floating_point():
            tensor.data = tensor.data.to(dtype)
