"""What turns a sharp picture into one that a backbone is to restore.

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
    """Ranges and probabilities of one round.

    blurred: probability of a blur. sigma: of the kernel, in pixels. resized: probabilities of enlarging, reducing and
    keeping the size. factor: the least and the largest factor. gaussian: probability of Gaussian noise, Poisson noise
    otherwise. level: of Gaussian noise, of 255. scale: of Poisson noise. grey: probability of one noise for all
    channels. quality: of JPEG.
    """

    blurred: float
    sigma: tuple[float, float]
    resized: tuple[float, float, float]
    factor: tuple[float, float]
    gaussian: float = 0.5
    level: tuple[float, float]
    scale: tuple[float, float]
    grey: float = 0.4
    quality: tuple[int, int] = (30, 95)


FIRST = Round(blurred=1, sigma=(0.2, 3), resized=(0.2, 0.7, 0.1), factor=(0.15, 1.5), level=(1, 30), scale=(0.05, 3))
SECOND = Round(
    blurred=0.8, sigma=(0.2, 1.5), resized=(0.3, 0.4, 0.3), factor=(0.3, 1.2), level=(1, 25), scale=(0.05, 2.5)
)
LAST_SINC = 0.8
JPEG_LAST = 0.5


def sample_operations(how: Degradation, rng: Generator, size: Size) -> tuple[Operation, ...]:
    """Draw a degradation of a picture of `size`, in multiples of 4; its result has that size too."""
    small = Size(size.width // SCALE, size.height // SCALE)
    if how == "bicubic":
        return Bicubic(*small), Bicubic(*size)
    operations = [*_round(rng, FIRST, size), _jpeg(rng, FIRST), *_round(rng, SECOND, small)]
    end: list[Operation] = [Resize(*small, _interpolation(rng))]
    if rng.random() < LAST_SINC:
        end.append(Blur(sample_sinc(rng)))
    jpeg = _jpeg(rng, SECOND)
    # Only these two orders: JPEG between resize and sinc would twist lines (published code).
    operations += [*end, jpeg] if rng.random() < JPEG_LAST else [jpeg, *end]
    return (*operations, Resize(*size, _interpolation(rng)))


def degrade(picture: RGB8, how: Degradation, rng: Generator) -> RGB8:
    """A degraded copy of a picture whose sides are multiples of 4: uint8, same shape."""
    *_, last = apply(picture, sample_operations(how, rng, size_of(picture)))
    return to_uint8(last)


def _round(rng: Generator, ranges: Round, size: Size) -> Iterator[Operation]:
    """Blur, resize relative to `size`, noise."""
    if rng.random() < ranges.blurred:
        yield Blur(sample_kernel(rng, ranges.sigma))
    least, most = ranges.factor
    spans = ((1.0, most), (least, 1.0), (1.0, 1.0))  # enlarge, reduce, keep
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
