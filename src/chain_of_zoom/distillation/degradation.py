"""Draws degradations, which turn a sharp picture into one that a backbone learns to restore.

real-esrgan: two rounds of blur, resize, noise and JPEG, at random (Wang et al.: Real-ESRGAN, ICCVW 2021, section 3;
numbers of the public training options for 4x), as OSEDiff uses them: enlarged back, without sharpening the truth.
bicubic: 4x down and back, as in the last part of the published training.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, cast

from numpy.random import Generator

from chain_of_zoom.distillation.kernels import sample_kernel, sample_sinc
from chain_of_zoom.distillation.operations import (
    Bicubic,
    Blur,
    GaussianNoise,
    Interpolation,
    Jpeg,
    Operation,
    PoissonNoise,
    Resize,
    apply,
)
from chain_of_zoom.imaging.geometry import Size
from chain_of_zoom.imaging.images import RGB8, size_of, to_uint8

SCALE = 4
Degradation = Literal["real-esrgan", "bicubic"]
DEGRADATIONS: tuple[Degradation, ...] = ("real-esrgan", "bicubic")

_INTERPOLATIONS: tuple[Interpolation, ...] = ("area", "bilinear", "bicubic")


@dataclass(frozen=True, kw_only=True)
class Round:
    """Holds the ranges and probabilities of one round of blur, resize, noise and JPEG."""

    blurred: float
    """Probability of a blur."""
    sigma: tuple[float, float]
    """Range of the kernel's standard deviations, in pixels."""
    resized: tuple[float, float, float]
    """Probabilities of enlarging, of reducing and of leaving the size."""
    factor: tuple[float, float]
    """The smallest and the largest factor of the resize."""
    gaussian: float = 0.5
    """Probability of Gaussian noise; it is Poisson noise otherwise."""
    level: tuple[float, float]
    """Range of the standard deviation of Gaussian noise, in levels of 255."""
    scale: tuple[float, float]
    """Range of the factor on Poisson noise."""
    grey: float = 0.4
    """Probability that all channels get the same noise."""
    quality: tuple[int, int] = (30, 95)
    """Range of the quality of JPEG, both ends included."""


FIRST = Round(blurred=1, sigma=(0.2, 3), resized=(0.2, 0.7, 0.1), factor=(0.15, 1.5), level=(1, 30), scale=(0.05, 3))
SECOND = Round(
    blurred=0.8, sigma=(0.2, 1.5), resized=(0.3, 0.4, 0.3), factor=(0.3, 1.2), level=(1, 25), scale=(0.05, 2.5)
)
LAST_SINC = 0.8
"""Probability of a sinc filter at the end."""
JPEG_LAST = 0.5
"""Probability that JPEG comes after the last resize and sinc filter."""


def sample_operations(stage: Degradation, rng: Generator, size: Size) -> tuple[Operation, ...]:
    """Draw a degradation of a picture of `size`, whose sides are multiples of 4; the result has the same size."""
    small = Size(size.width // SCALE, size.height // SCALE)
    if stage == "bicubic":
        return Bicubic(*small), Bicubic(*size)
    operations = [*_round(rng, FIRST, size), _jpeg(rng, FIRST), *_round(rng, SECOND, small)]
    end: list[Operation] = [Resize(*small, _interpolation(rng))]
    if rng.random() < LAST_SINC:
        end.append(Blur(sample_sinc(rng)))
    jpeg = _jpeg(rng, SECOND)
    # Only these two orders: JPEG between resize and sinc would twist lines (published code).
    operations += [*end, jpeg] if rng.random() < JPEG_LAST else [jpeg, *end]
    return (*operations, Resize(*size, _interpolation(rng)))


def degrade(picture: RGB8, stage: Degradation, rng: Generator) -> RGB8:
    """Make a degraded copy of a picture whose sides are multiples of 4: uint8, same shape."""
    *_, last = apply(picture, sample_operations(stage, rng, size_of(picture)))
    return to_uint8(last)


def _round(rng: Generator, ranges: Round, size: Size) -> Iterator[Operation]:
    """Draw a blur, a resize relative to `size`, and noise."""
    if rng.random() < ranges.blurred:
        yield Blur(sample_kernel(rng, ranges.sigma))
    lowest, highest = ranges.factor
    spans = ((1.0, highest), (lowest, 1.0), (1.0, 1.0))  # enlarge, reduce, keep
    factor = float(rng.uniform(*spans[rng.choice(3, p=ranges.resized)]))
    yield Resize(max(1, int(size.width * factor)), max(1, int(size.height * factor)), _interpolation(rng))
    grey, seed = bool(rng.random() < ranges.grey), int(rng.integers(2**32))
    if rng.random() < ranges.gaussian:
        yield GaussianNoise(float(rng.uniform(*ranges.level)), grey, seed)
    else:
        yield PoissonNoise(float(rng.uniform(*ranges.scale)), grey, seed)


def _jpeg(rng: Generator, ranges: Round) -> Jpeg:
    return Jpeg(int(rng.integers(ranges.quality[0], ranges.quality[1] + 1)))


def _interpolation(rng: Generator) -> Interpolation:
    return cast("Interpolation", str(rng.choice(_INTERPOLATIONS)))
