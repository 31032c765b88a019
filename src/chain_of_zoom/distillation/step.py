"""The losses of one batch: what is computed with which adapter, and what gradients reach."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from chain_of_zoom.distillation import losses
from chain_of_zoom.distillation.adapters import REGULARISER
from chain_of_zoom.distillation.network import Student, Texts
from chain_of_zoom.distillation.order import Noise
from chain_of_zoom.distillation.perceptual import Perceptual
from chain_of_zoom.distillation.settings import Losses


@dataclass(frozen=True, kw_only=True)
class Batch:
    """low, high: B x 3 x H x W in [-1, 1], degraded and true; all on the student's device."""

    low: Tensor
    high: Tensor
    texts: Texts
    noise: Noise


def generator_loss(
    student: Student, batch: Batch, weights: Losses, perceptual: Perceptual | None
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """The generator's latents, its loss, and the loss's parts before they are weighted.

    Gradients reach the generator's adapter and the encoder's.
    """
    z = student.generate(batch.low, batch.noise.posterior, batch.texts)
    made = student.decode(z)
    zero = torch.zeros((), device=z.device)
    parts = {
        "l2": losses.pixels(made, batch.high),
        "perceptual": perceptual(made, batch.high) if perceptual else zero,
        "matching": _matching(student, z, batch) if weights.matching else zero,
    }
    total = weights.l2 * parts["l2"] + weights.perceptual * parts["perceptual"] + weights.matching * parts["matching"]
    return z, total, parts


def _matching(student: Student, z: Tensor, batch: Batch) -> Tensor:
    with torch.no_grad():
        time = batch.noise.matching_time
        sigma, timestep = student.sigmas[time], student.timesteps[time]
        z_s = losses.noised(z, batch.noise.matching, sigma)
        estimates = []
        for adapter in (REGULARISER, None):
            with student.switch.to(adapter):
                estimates.append(losses.clean(z_s, student.velocity(z_s, timestep, batch.texts), sigma))
    return losses.matching(z, *estimates)


def regulariser_loss(student: Student, z: Tensor, batch: Batch) -> Tensor:
    """How well the regulariser knows what the generator makes. Gradients reach its own adapter alone.

    Its backward pass belongs under the same switch, for checkpointing computes activations again.
    """
    z = z.detach()
    time = batch.noise.denoising_time
    sigma = student.sigmas[time]
    z_s = losses.noised(z, batch.noise.denoising, sigma)
    v = student.velocity(z_s, student.timesteps[time], batch.texts)
    return losses.denoising(losses.clean(z_s, v, sigma), z)
