"""What the generator and the regulariser are trained on, as functions of tensors.

Source: Chain-of-Zoom, section 3 and its training code, after OSEDiff (Wu et al., NeurIPS 2024) and variational score
distillation (Wang et al., ProlificDreamer, NeurIPS 2023).

Flow matching, as in Stable Diffusion 3: z_s = (1 - s) z + s e with noise e and s in (0, 1]; the network predicts
v = e - z, so that its estimate of z is z_s - s v.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import mse_loss


def noised(z: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    """z_s = (1 - s) z + s e. z, noise: B x C x H x W; sigma: B."""
    s = sigma.view(-1, 1, 1, 1)
    return (1 - s) * z + s * noise


def clean(z_s: Tensor, v: Tensor, sigma: Tensor) -> Tensor:
    """The estimate of z: z_s - s v. Shapes as in `noised`."""
    return z_s - sigma.view(-1, 1, 1, 1) * v


def pixels(made: Tensor, truth: Tensor) -> Tensor:
    """L2: the mean of (made - truth)^2, of B x 3 x H x W pictures in [-1, 1]."""
    return mse_loss(made, truth)


def matching(z: Tensor, by_regulariser: Tensor, by_original: Tensor) -> Tensor:
    """Distribution matching (VSD): a scalar whose gradient is that of pulling z from one distribution to another.

    g = (z_reg - z_org) / mean|z - z_org|, the mean within each picture; the loss is mean (z - stop(z - g))^2, so its
    gradient with respect to z is 2 g / (number of values). z_reg and z_org are the estimates of z by the regulariser,
    which knows what the generator makes, and by the original model, which knows photographs.
    """
    with torch.no_grad():
        scale = (z - by_original).abs().mean(dim=(1, 2, 3), keepdim=True)
        step = (by_regulariser - by_original) / scale.clamp_min(torch.finfo(scale.dtype).tiny)
        target = z - step
    return mse_loss(z, target)


def denoising(estimate: Tensor, z: Tensor) -> Tensor:
    """The regulariser's own loss: the mean of (estimate of z - z)^2, z being what the generator made."""
    return mse_loss(estimate, z.detach())
