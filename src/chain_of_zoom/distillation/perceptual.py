"""The perceptual loss: LPIPS of VGG, as published, or ST-LPIPS of AlexNet, whose weights come with a package."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from chain_of_zoom.errors import MissingError, UsageError

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
