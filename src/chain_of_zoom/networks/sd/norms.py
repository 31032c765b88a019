"""Group norms that share their statistics: what makes pieces of a picture look alike when each passes a VAE alone.

A group norm takes mean and variance over the whole picture, so two pieces would be normed apart, and meet in a seam.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial

import torch
from torch import Tensor, nn

Norm = Callable[[int, nn.GroupNorm, Tensor], Tensor]


def _group_norms(net: nn.Module) -> list[nn.GroupNorm]:
    return [module for module in net.modules() if isinstance(module, nn.GroupNorm)]


@contextmanager
def _normed_by(net: nn.Module, norm: Norm) -> Iterator[None]:
    """Put `norm(number, module, x)` in place of every group norm meanwhile."""
    modules = _group_norms(net)
    try:
        for number, module in enumerate(modules):
            module.__dict__["forward"] = partial(norm, number, module)
        yield
    finally:
        for module in modules:
            module.__dict__.pop("forward", None)


def _apply(module: nn.GroupNorm, x: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    groups = x.reshape(len(x), module.num_groups, -1).float()
    normed = nn.functional.batch_norm(groups, mean, variance, eps=module.eps).view_as(x).to(x.dtype)
    shape = 1, -1, *[1] * (x.ndim - 2)
    return normed * module.weight.view(shape) + module.bias.view(shape)


@contextmanager
def pool_norms(net: nn.Module) -> Iterator[list[Tensor]]:
    """Let group norms see the pictures of a batch as a single picture meanwhile.

    Yields what they see when the net runs once: for each norm, in order, (mean, variance) x groups.
    """
    statistics = [torch.empty(0)] * len(_group_norms(net))

    def pooled(number: int, module: nn.GroupNorm, x: Tensor) -> Tensor:
        grouped = x.reshape(len(x), module.num_groups, -1).float()
        variance, mean = torch.var_mean(grouped, dim=(0, 2), unbiased=False)
        statistics[number] = torch.stack([mean, variance])
        return _apply(module, x, mean, variance)

    with _normed_by(net, pooled):
        yield statistics


@contextmanager
def fix_norms(net: nn.Module, statistics: Sequence[Tensor] | None) -> Iterator[None]:
    """Let group norms use these statistics, not those of their input, meanwhile; None leaves them as they are."""

    def fixed(number: int, module: nn.GroupNorm, x: Tensor) -> Tensor:
        assert statistics is not None
        mean, variance = statistics[number]
        return _apply(module, x, mean, variance)

    with nullcontext() if statistics is None else _normed_by(net, fixed):
        yield
