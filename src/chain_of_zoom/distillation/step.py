"""The losses of one batch: which adapter computes them, and which weights their gradients reach."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from chain_of_zoom.distillation import losses
from chain_of_zoom.distillation.adapters import REGULARISER
from chain_of_zoom.distillation.network import Student, Texts
from chain_of_zoom.distillation.order import Noise
from chain_of_zoom.distillation.perceptual import Perceptual
from chain_of_zoom.distillation.settings import LossSettings


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
        "l2": losses.pixel_loss(restored, batch.high),
        "perceptual": perceptual(restored, batch.high) if perceptual else zero,
        "matching": _compute_matching_loss(student, z, batch) if weights.matching else zero,
    }
    total = weights.l2 * parts["l2"] + weights.perceptual * parts["perceptual"] + weights.matching * parts["matching"]
    return z, total, parts


def _compute_matching_loss(student: Student, z: Tensor, batch: TrainingBatch) -> Tensor:
    with torch.no_grad():
        time = batch.noise.matching_time
        sigma, timestep = student.sigmas[time], student.timesteps[time]
        z_s = losses.add_noise(z, batch.noise.matching, sigma)
        estimates = []
        for adapter in (REGULARISER, None):
            with student.switch.activate(adapter):
                estimates.append(losses.estimate_latents(z_s, student.velocity(z_s, timestep, batch.texts), sigma))
    return losses.matching_loss(z, *estimates)


def compute_regulariser_loss(student: Student, z: Tensor, batch: TrainingBatch) -> Tensor:
    """Compute how well the regulariser denoises latents of the generator; gradients reach its own adapter alone.

    Call it, and its backward pass, while the adapter is active: checkpointing computes activations again.
    """
    z = z.detach()
    time = batch.noise.denoising_time
    sigma = student.sigmas[time]
    z_s = losses.add_noise(z, batch.noise.denoising, sigma)
    v = student.velocity(z_s, student.timesteps[time], batch.texts)
    return losses.denoising_loss(losses.estimate_latents(z_s, v, sigma), z)
