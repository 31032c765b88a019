"""Blur kernels of Real-ESRGAN (Wang et al., 2021, section 3): Gaussians, generalised ones, plateaus, sinc filters.

First parameters are drawn, then the kernel is computed from them, so that a kernel can be written down.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, cast

import msgspec
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Shape = Literal[
    "iso", "aniso", "generalized_iso", "generalized_aniso", "plateau_iso", "plateau_aniso", "sinc"
]  # names of the public training options

SIZES = range(7, 22, 2)
SHAPES: dict[Shape, float] = {
    "iso": 0.45,
    "aniso": 0.25,
    "generalized_iso": 0.12,
    "generalized_aniso": 0.03,
    "plateau_iso": 0.12,
    "plateau_aniso": 0.03,
}
SINC_PROBABILITY = 0.1
BETA_GENERALIZED = (0.5, 4.0)
BETA_PLATEAU = (1.0, 2.0)


class Kernel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Describes a blur kernel by its parameters."""

    shape: Shape
    """Family of the kernel."""
    size: int
    """Side in pixels, odd."""
    sigma: tuple[float, float] = (1.0, 1.0)
    """Standard deviations along the two axes of the kernel, in pixels."""
    angle: float = 0.0
    """Angle of the first axis, in radians."""
    beta: float = 1.0
    """Exponent of generalised Gaussians and plateaus."""
    cutoff: float = np.pi
    """Cut-off frequency of sinc filters in radians per pixel, up to pi."""

    def weights(self) -> NDArray[np.float64]:
        """Compute size x size weights whose sum is 1."""
        return _compute_weights(self)

    def __str__(self) -> str:
        if self.shape == "sinc":
            return f"sinc {self.size} px, cutoff {self.cutoff / np.pi:.2f} pi"
        x, y = self.sigma
        widths = f"{x:.2f}" if x == y else f"{x:.2f} x {y:.2f} at {np.degrees(self.angle):.0f} deg"
        beta = "" if self.shape in ("iso", "aniso") else f", beta {self.beta:.2f}"
        return f"{self.shape.replace('_', ' ')} {self.size} px, sigma {widths}{beta}"


def sample_kernel(rng: Generator, sigma: tuple[float, float]) -> Kernel:
    """Draw a kernel; `sigma` is the range of both standard deviations (Real-ESRGAN, its public training options)."""
    size = int(rng.choice(SIZES))
    if rng.random() < SINC_PROBABILITY:
        return sample_sinc(rng, size, lowest=np.pi / 3 if size < 13 else np.pi / 5)
    shape = cast("Shape", str(rng.choice(list(SHAPES), p=list(SHAPES.values()))))
    x = float(rng.uniform(*sigma))
    is_iso = not shape.endswith("aniso")
    y, angle = (x, 0.0) if is_iso else (float(rng.uniform(*sigma)), float(rng.uniform(-np.pi, np.pi)))
    beta = 1.0
    if shape not in ("iso", "aniso"):
        low, high = BETA_GENERALIZED if shape.startswith("generalized") else BETA_PLATEAU
        # Half of them below 1 and half above, as published, although the range is not centred there.
        beta = float(rng.uniform(low, 1) if rng.random() < 0.5 else rng.uniform(1, high))
    return Kernel(shape=shape, size=size, sigma=(x, y), angle=angle, beta=beta)


def sample_sinc(rng: Generator, size: int | None = None, lowest: float = np.pi / 3) -> Kernel:
    """Draw a sinc filter, which rings around edges as sharpening and JPEG do."""
    size = int(rng.choice(SIZES)) if size is None else size
    return Kernel(shape="sinc", size=size, cutoff=float(rng.uniform(lowest, np.pi)))


@lru_cache(maxsize=8)
def _compute_weights(kernel: Kernel) -> NDArray[np.float64]:
    axis = np.arange(kernel.size) - kernel.size // 2
    x, y = np.meshgrid(axis, axis)
    if kernel.shape == "sinc":
        raw = _circular_lowpass(np.hypot(x, y), kernel.cutoff)
    else:
        turn = np.exp(-1j * kernel.angle) * (x + 1j * y)
        distance = (turn.real / kernel.sigma[0]) ** 2 + (turn.imag / kernel.sigma[1]) ** 2  # Mahalanobis, squared
        shaped = distance**kernel.beta
        raw = 1 / (1 + shaped) if kernel.shape.startswith("plateau") else np.exp(-shaped / 2)
    weights: NDArray[np.float64] = raw / raw.sum()
    weights.setflags(write=False)
    return weights


def _circular_lowpass(radius: NDArray[np.float64], cutoff: float) -> NDArray[np.float64]:
    """Compute the circular low-pass cutoff * J1(cutoff * r) / (2 pi r), whose limit at r = 0 is cutoff^2 / (4 pi)."""
    middle = radius == 0
    away = np.where(middle, 1, radius)
    return np.where(middle, cutoff**2 / (4 * np.pi), cutoff * bessel_j1(cutoff * away) / (2 * np.pi * away))


def bessel_j1(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute the Bessel function of the first kind and order 1, for |x| below 100, without scipy.

    The mean of its periodic integrand at 128 points is exact to rounding there (the trapezoid rule).
    """
    turn = np.arange(128) * (2 * np.pi / 128)
    mean: NDArray[np.float64] = np.cos(turn - np.asarray(x)[..., None] * np.sin(turn)).mean(axis=-1)
    return mean
