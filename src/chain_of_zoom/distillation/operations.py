"""The operations of a degradation: blur, resize, noise, JPEG.

Each is a value with all numbers it needs, the seed of its noise included, and a pure function of a picture: float32,
H x W x 3, RGB in [0, 1]. So a list of operations is a degradation that can be written down as JSON and repeated.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from chain_of_zoom.distillation.kernels import Kernel
from chain_of_zoom.imaging.geometry import Size
from chain_of_zoom.imaging.images import RGB8, RGBF, resize, to_uint8

Interpolation = Literal["area", "bilinear", "bicubic"]

_GREY = np.array([0.2989, 0.587, 0.114], np.float32)  # ITU-R BT.601 luma, in the digits of the published code
_SHARPNESS = -0.75  # of the cubic kernel in the published code (torch); Pillow's is -0.5
_FAST_LENGTHS = sorted(2**a * 3**b * 5**c for a in range(13) for b in range(4) for c in range(3))


class Blur(msgspec.Struct, frozen=True, tag="blur", forbid_unknown_fields=True):
    """Convolves the picture, mirrored at its border, with a kernel."""

    kernel: Kernel
    """The kernel by its parameters."""

    def __call__(self, picture: RGBF) -> RGBF:
        """Blur the picture; the result of sinc kernels may leave [0, 1]."""
        return convolve(picture, self.kernel.weights())

    def __str__(self) -> str:
        return f"blur: {self.kernel}"


class Resize(msgspec.Struct, frozen=True, tag="resize", forbid_unknown_fields=True):
    """Resamples without antialiasing, as published: bilinear and bicubic alias where they reduce, area averages."""

    width: int
    """Width of the result in pixels."""
    height: int
    """Height of the result in pixels."""
    interpolation: Interpolation = msgspec.field(name="how")
    """Interpolation between pixels."""

    def __call__(self, picture: RGBF) -> RGBF:
        """Resample to height x width x 3; the result of bicubic may leave [0, 1]."""
        rows = _resample(picture, self.height, self.interpolation)
        columns = _resample(np.ascontiguousarray(rows.swapaxes(0, 1)), self.width, self.interpolation)
        return np.ascontiguousarray(columns.swapaxes(0, 1))

    def __str__(self) -> str:
        return f"resize: {self.width}x{self.height}, {self.interpolation}"


class Bicubic(msgspec.Struct, frozen=True, tag="bicubic", forbid_unknown_fields=True):
    """Resamples as a zoom does (Pillow, bicubic, 8 bits): antialiased where it reduces."""

    width: int
    """Width of the result in pixels."""
    height: int
    """Height of the result in pixels."""

    def __call__(self, picture: RGBF) -> RGBF:
        """Resample to height x width x 3, in whole levels of 255 in [0, 1]."""
        return _to_float(resize(to_uint8(picture), Size(self.width, self.height), "bicubic"))

    def __str__(self) -> str:
        return f"resize: {self.width}x{self.height}, bicubic with antialiasing"


class GaussianNoise(msgspec.Struct, frozen=True, tag="gaussian", forbid_unknown_fields=True):
    """Adds Gaussian noise."""

    sigma: float
    """Standard deviation in levels of 255."""
    grey: bool
    """Whether all channels get the same noise."""
    seed: int
    """Seed of the noise."""

    def __call__(self, picture: RGBF) -> RGBF:
        """Add the noise and clamp to [0, 1]."""
        shape = (*picture.shape[:2], 1 if self.grey else 3)
        noise = np.random.default_rng(self.seed).standard_normal(shape, dtype=np.float32)
        noisy: RGBF = picture + noise * np.float32(self.sigma / 255)
        return noisy.clip(0, 1)

    def __str__(self) -> str:
        return f"noise: Gaussian, sigma {self.sigma:.1f}/255{', grey' if self.grey else ''}"


class PoissonNoise(msgspec.Struct, frozen=True, tag="poisson", forbid_unknown_fields=True):
    """Adds the noise of counting, which is stronger in brighter places.

    White counts as many events as the picture has different values, rounded up to a power of two.
    """

    scale: float
    """Factor on the noise."""
    grey: bool
    """Whether all channels get the same noise."""
    seed: int
    """Seed of the noise."""

    def __call__(self, picture: RGBF) -> RGBF:
        """Add the noise and clamp to [0, 1]."""
        clean = (picture @ _GREY)[..., None] if self.grey else picture
        levels = to_uint8(clean)
        white = 2.0 ** np.ceil(np.log2(np.count_nonzero(np.bincount(levels.ravel(), minlength=256))))
        expected = levels * (white / 255)
        events = np.random.default_rng(self.seed).poisson(expected)
        noise = ((events - expected) / white).astype(np.float32)
        noisy: RGBF = picture + noise * np.float32(self.scale)
        return noisy.clip(0, 1)

    def __str__(self) -> str:
        return f"noise: Poisson, scale {self.scale:.2f}{', grey' if self.grey else ''}"


class Jpeg(msgspec.Struct, frozen=True, tag="jpeg", forbid_unknown_fields=True):
    """Writes the picture as JPEG and reads it again."""

    quality: int
    """Quality from 1 to 95."""

    def __call__(self, picture: RGBF) -> RGBF:
        """Compress the picture; the result has whole levels of 255 in [0, 1]."""
        buffer = io.BytesIO()
        Image.fromarray(to_uint8(picture)).save(buffer, "JPEG", quality=self.quality)
        with Image.open(buffer, formats=("JPEG",)) as image:
            return _to_float(np.asarray(image))

    def __str__(self) -> str:
        return f"JPEG: quality {self.quality}"


Operation = Blur | Resize | Bicubic | GaussianNoise | PoissonNoise | Jpeg


def apply(picture: RGB8, operations: Sequence[Operation]) -> Iterator[RGBF]:
    """Yield the picture (uint8, H x W x 3) after every operation, in float32 RGB."""
    current = _to_float(picture)
    for operation in operations:
        current = operation(current)
        yield current


def _to_float(pixels: RGB8) -> RGBF:
    return pixels.astype(np.float32) / np.float32(255)


def convolve(picture: RGBF, weights: NDArray[np.float64]) -> RGBF:
    """Blur a picture (H x W x 3) with odd x odd weights, mirrored at the border without repeating it.

    Fourier transforms take the same time for all kernels and need no library.
    """
    reach_y, reach_x = (side // 2 for side in weights.shape)
    height, width = picture.shape[:2]
    planes = np.ascontiguousarray(picture.transpose(2, 0, 1))
    padded = np.pad(planes, ((0, 0), (reach_y, reach_y), (reach_x, reach_x)), mode="reflect")
    shape = tuple(next(n for n in _FAST_LENGTHS if n >= side) for side in padded.shape[1:])
    # Only sums that do not wrap around are kept, so the transform need not be longer than the padded picture.
    kernel = np.fft.rfft2(weights.astype(np.float32), shape)
    blurred = np.fft.irfft2(np.fft.rfft2(padded, shape) * kernel, shape)
    inside = blurred[:, 2 * reach_y : 2 * reach_y + height, 2 * reach_x : 2 * reach_x + width]
    return np.ascontiguousarray(inside.transpose(1, 2, 0), dtype=np.float32)


def _resample(pixels: RGBF, count: int, interpolation: Interpolation) -> RGBF:
    """Resample the rows of `pixels` to `count` rows: sums of a few rows each, in a fixed order."""
    rows, weights = _taps(len(pixels), count, interpolation)
    result = np.zeros((count, *pixels.shape[1:]), np.float32)
    term = np.empty_like(result)
    for tap_rows, weight in zip(rows, weights, strict=True):
        np.take(pixels, tap_rows, axis=0, out=term, mode="clip")
        term *= weight[:, None, None]
        result += term
    return result


def _taps(old: int, new: int, interpolation: Interpolation) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Compute the old rows of every new row and their weights: two arrays of taps x new, pixel centres at halves.

    Rows outside the picture stand for its border.
    """
    at = np.arange(new)
    if interpolation == "area":
        first, last = at * old // new, -(-(at + 1) * old // new)  # every row that the new one touches counts the same
        rows = first + np.arange((last - first).max())[:, None]
        weights = np.where(rows < last, 1 / (last - first), 0)
        return rows, weights.astype(np.float32)
    place = (at + 0.5) * (old / new) - 0.5
    if interpolation == "bilinear":
        place = np.maximum(place, 0)
        rows = np.floor(place).astype(np.intp) + np.arange(2)[:, None]
        weights = 1 - np.abs(place - rows)
    else:
        rows = np.floor(place).astype(np.intp) + np.arange(-1, 3)[:, None]
        weights = _cubic(np.abs(place - rows))
    return rows, weights.astype(np.float32)


def _cubic(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Evaluate Keys' cubic convolution kernel at distances from 0 to 2."""
    a, d = _SHARPNESS, distance
    near = (a + 2) * d**3 - (a + 3) * d**2 + 1
    return np.where(d <= 1, near, a * (d**3 - 5 * d**2 + 8 * d - 4))
