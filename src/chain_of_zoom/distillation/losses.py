"""The losses of generator and regulariser, as functions of tensors.

Source: Chain-of-Zoom, section 3 and its training code, after OSEDiff (Wu et al., NeurIPS 2024) and variational score
distillation (Wang et al., ProlificDreamer, NeurIPS 2023).

Flow matching, as in Stable Diffusion 3: z_s = (1 - s) z + s e with noise e and s in (0, 1]; the network predicts
v = e - z, so that its estimate of z is z_s - s v.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import mse_loss


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
