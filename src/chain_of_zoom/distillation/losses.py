"""The losses of generator and regulariser, and which adapter computes them.

Source: Chain-of-Zoom, section 3 and its training code, after OSEDiff (Wu et al., NeurIPS 2024) and variational score
distillation (Wang et al., ProlificDreamer, NeurIPS 2023).

Flow matching, as in Stable Diffusion 3: z_s = (1 - s) z + s e with noise e and s in (0, 1]; the network predicts
v = e - z, so that its estimate of z is z_s - s v.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from chain_of_zoom.distillation.adapters import REGULARISER
from chain_of_zoom.distillation.network import Student, Texts
from chain_of_zoom.distillation.order import Noise
from chain_of_zoom.distillation.settings import LossSettings
from chain_of_zoom.errors import MissingError, UsageError


def add_noise(z: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    """Compute z_s = (1 - s) z + s e. z, noise: B x C x H x W; sigma: B."""
    s = sigma.view(-1, 1, 1, 1)
    return (1 - s) * z + s * noise


def estimate_latents(z_s: Tensor, v: Tensor, sigma: Tensor) -> Tensor:
    """Estimate z as z_s - s v; shapes as in `add_noise`."""
    return z_s - sigma.view(-1, 1, 1, 1) * v


def pixel_loss(restored: Tensor, truth: Tensor) -> Tensor:
    """Compute L2, the mean of (restored - truth)^2, of B x 3 x H x W pictures in [-1, 1]."""
    return mse_loss(restored, truth)


def matching_loss(z: Tensor, by_regulariser: Tensor, by_original: Tensor) -> Tensor:
    """Compute distribution matching (VSD), a scalar whose gradient pulls z from one distribution to another.

    g = (z_reg - z_org) / mean|z - z_org|, the mean within each picture; the loss is mean (z - stop(z - g))^2, so its
    gradient with respect to z is 2 g / (number of values). z_reg and z_org are the estimates of z by the regulariser,
    which has learnt the generator's pictures, and by the original model, which has learnt photographs.
    """
    with torch.no_grad():
        scale = (z - by_original).abs().mean(dim=(1, 2, 3), keepdim=True)
        step = (by_regulariser - by_original) / scale.clamp_min(torch.finfo(scale.dtype).tiny)
        target = z - step
    return mse_loss(z, target)


def denoising_loss(estimate: Tensor, z: Tensor) -> Tensor:
    """Compute the regulariser's own loss, the mean of (estimate of z - z)^2, where z are latents of the generator."""
    return mse_loss(estimate, z.detach())


KINDS = ("lpips", "stlpips", "none")
Perceptual = Callable[[Tensor, Tensor], Tensor]


def load_perceptual(kind: str, device: torch.device) -> Perceptual | None:
    """Load a function of B x 3 x H x W pictures in [-1, 1], restored and truth, to a mean distance with a gradient.

    Returns None for "none". Raises UsageError for another name and MissingError for packages that are not there.
    """
    if kind not in KINDS:
        raise UsageError(f"--perceptual {kind!r}; accepted: {', '.join(KINDS)}; for example --perceptual stlpips")
    if kind == "none":
        return None
    network: Any = _load_lpips() if kind == "lpips" else _load_stlpips()
    network = network.to(device).eval().requires_grad_(False)
    return lambda restored, truth: network(restored, truth).mean()


def _load_lpips() -> Any:
    if importlib.util.find_spec("lpips") is None:
        raise MissingError(
            "--perceptual lpips needs the package lpips, and torchvision; accepted: lpips, stlpips, none; "
            "type: pip install 'chain-of-zoom[eval-research]', or --perceptual stlpips"
        )
    try:
        import lpips

        with warnings.catch_warnings(action="ignore"):  # torchvision's advice is for the authors of lpips
            return lpips.LPIPS(net="vgg", verbose=False)
    except (ImportError, OSError, RuntimeError) as error:  # torchvision, or VGG's weights from the net
        reason = " ".join(str(error).split())[:160]
        raise MissingError(
            f"--perceptual lpips cannot be loaded ({reason}); accepted: torchvision and its VGG16 weights; "
            "type: --perceptual stlpips to do without"
        ) from error


def _load_stlpips() -> Any:
    from chain_of_zoom.networks.stlpips import StLpipsNetwork

    return StLpipsNetwork()


@dataclass(frozen=True, kw_only=True)
class TrainingBatch:
    """Holds the inputs of one batch, on the device of the student."""

    low: Tensor
    """Degraded pictures: B x 3 x H x W in [-1, 1]."""
    high: Tensor
    """True pictures: B x 3 x H x W in [-1, 1]."""
    texts: Texts
    """Embeddings of their captions."""
    noise: Noise
    """Randomness of all losses."""


def compute_generator_loss(
    student: Student, batch: TrainingBatch, weights: LossSettings, perceptual: Perceptual | None
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Compute the generator's latents, its loss, and the parts of the loss before they are weighted.

    Gradients reach the generator's adapter and the encoder's.
    """
    z = student.generate(batch.low, batch.noise.posterior, batch.texts)
    restored = student.decode(z)
    zero = torch.zeros((), device=z.device)
    parts = {
        "l2": pixel_loss(restored, batch.high),
        "perceptual": perceptual(restored, batch.high) if perceptual else zero,
        "matching": _compute_matching_loss(student, z, batch) if weights.matching else zero,
    }
    total = weights.l2 * parts["l2"] + weights.perceptual * parts["perceptual"] + weights.matching * parts["matching"]
    return z, total, parts


def _compute_matching_loss(student: Student, z: Tensor, batch: TrainingBatch) -> Tensor:
    with torch.no_grad():
        time = batch.noise.matching_time
        sigma, timestep = student.sigmas[time], student.timesteps[time]
        z_s = add_noise(z, batch.noise.matching, sigma)
        estimates = []
        for adapter in (REGULARISER, None):
            with student.switch.activate(adapter):
                estimates.append(estimate_latents(z_s, student.velocity(z_s, timestep, batch.texts), sigma))
    return matching_loss(z, *estimates)


def compute_regulariser_loss(student: Student, z: Tensor, batch: TrainingBatch) -> Tensor:
    """Compute how well the regulariser denoises latents of the generator; gradients reach its own adapter alone.

    Call it, and its backward pass, while the adapter is active: checkpointing computes activations again.
    """
    z = z.detach()
    time = batch.noise.denoising_time
    sigma = student.sigmas[time]
    z_s = add_noise(z, batch.noise.denoising, sigma)
    v = student.velocity(z_s, student.timesteps[time], batch.texts)
    return denoising_loss(estimate_latents(z_s, v, sigma), z)
