"""How much each stage of the backbone loses in half precision, apart from the others."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from chain_of_zoom.networks.sd.sd3 import OneStepOptions, OneStepSD3, to_tensor


def stage_errors(
    paths: dict[str, Path], device: torch.device, side: int = 512, dtype: torch.dtype = torch.bfloat16
) -> dict[str, dict[str, float]]:
    """Relative errors (L2 of the difference over L2) against float32, by stage and float type.

    Every stage gets what float32 made before it, so that errors do not add up. "float32" is what repeating the stage
    gives: 0 where the device computes the same twice. "together" is the picture with only the transformer in `dtype`,
    as the backbone runs, and with all of it.
    """
    options = OneStepOptions(posterior="mode")
    files = [str(paths[key]) for key in ("base", "lora", "vae_encoder")]
    model = OneStepSD3.load(*files, options, device, torch.float32)
    rows = torch.arange(side)
    waves = torch.stack([(rows[:, None] * a + rows * b) % 256 for a, b in ((1, 2), (3, 1), (2, 5))], -1)
    pictures = to_tensor(waves.to(torch.uint8).numpy()[None]).to(device)
    name = str(dtype).removeprefix("torch.")
    with torch.inference_mode():
        text = model.encode_text("autumn leaf, moss")
        latent = model.encode(pictures, [0])
        velocity = _velocity(model, latent, text)
        picture = model.decode(latent - velocity)
        exact: dict[str, tuple[Callable[[], Tensor], Tensor]] = {
            "VAE encode": (lambda: model.encode(pictures, [0]), latent),
            "transformer": (lambda: _velocity(model, latent, text), velocity),
            "VAE decode": (lambda: model.decode(latent - velocity), picture),
        }
        found = {stage: {"float32": _relative(work(), made)} for stage, (work, made) in exact.items()}
        full = {"transformer": model.transformer, "vae": model.vae}
        model.transformer, model.vae = (deepcopy(module).to(dtype) for module in full.values())
        found["transformer"][name] = _relative(_velocity(model, latent, text), velocity)
        z = model.vae.encode(pictures.to(dtype)).latent_dist.mode().float() * model.vae.config.scaling_factor
        found["VAE encode"][name] = _relative(z, latent)
        found["VAE decode"][name] = _relative(_decoded(model, latent - velocity, dtype), picture)
        all_of_it = _decoded(model, z - _velocity(model, z, text), dtype)
        as_it_runs = latent - _velocity(model, latent, text)
        model.vae = full["vae"]
        found["together"] = {
            "transformer alone": _relative(model.decode(as_it_runs), picture),
            "everything": _relative(all_of_it, picture),
        }
    return found


def _velocity(model: OneStepSD3, latent: Tensor, text: tuple[Tensor, Tensor]) -> Tensor:
    dtype = next(model.transformer.parameters()).dtype
    made: Tensor = model.transformer(
        hidden_states=latent.to(dtype),
        timestep=model.timestep.expand(len(latent)),
        encoder_hidden_states=text[0].to(dtype),
        pooled_projections=text[1].to(dtype),
        return_dict=False,
    )[0].float()
    return made


def _decoded(model: Any, latent: Tensor, dtype: torch.dtype) -> Tensor:
    config = model.vae.config
    z = latent / config.scaling_factor + (config.shift_factor or 0.0)
    made: Tensor = model.vae.decode(z.to(dtype), return_dict=False)[0].float()
    return made


def _relative(made: Tensor, exact: Tensor) -> float:
    return float((made - exact).norm() / exact.norm())
