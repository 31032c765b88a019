"""Which numbers of a TIFF are black and white: a file of floats, counts or signed numbers does not say.

White is the least usual one (1 for floats; the top of 8, 10, 12, 14, 15 and 16 bits) that holds all but outliers.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from chain_of_zoom.imaging.raster import Samples, by_rows

TOPS = tuple((1 << bits) - 1 for bits in (8, 10, 12, 14, 15, 16))
_OVERSHOOT = 1.25  # of resampled or sharpened floats, in which nothing is lost that was in the picture
_HIGHLIGHTS = 0.25  # of all values, that scene-referred floats may have above white
_SAMPLE = 1 << 18  # pixels that the range is judged from


def find_range(values: NDArray[Any], empty: float = np.nan) -> tuple[float, float]:
    """Find black and white of H x W x C numbers without a depth of their own. `empty` stands for no number.

    Black is 0 unless values reach clearly below it, and not all of them to the same one, as marks of no data do.
    """
    step = int(np.ceil(np.sqrt(max(1.0, values.shape[0] * values.shape[1] / _SAMPLE))))
    numbers = values[::step, ::step].astype(np.float64).ravel()
    numbers = np.sort(numbers[(np.abs(numbers) < 1e30) & (numbers != empty)])  # beyond are marks of no data
    below = int(np.searchsorted(numbers, 0))
    if below and numbers[0] == numbers[below - 1]:
        numbers, below = numbers[below:], 0
    if not len(numbers):
        return 0.0, 1.0
    outliers = min(max(3, len(numbers) // 1000), len(numbers) // 100)
    low, high = float(numbers[outliers]), float(numbers[-1 - outliers])
    white = _find_white(numbers, high, values.dtype)
    signed = low < -white / 10 and low < high
    return (low, min(high, white)) if signed else (0.0, white)


def _find_white(numbers: NDArray[np.float64], high: float, dtype: np.dtype[Any]) -> float:
    whole = dtype.kind != "f"
    if not whole:
        above = 1 - np.searchsorted(numbers, 1, side="right") / len(numbers)
        counted = np.array_equal(numbers, np.floor(numbers))
        if high <= _OVERSHOOT or (above < _HIGHLIGHTS and not counted):
            return 1.0
        if high < TOPS[0] / 4:
            return high
    tops = (127, *TOPS) if dtype == np.int8 else TOPS
    usual = (top for top in tops if high <= top * (1 if whole else _OVERSHOOT))
    largest = float(numbers[-1])
    return float(next(usual, largest if largest <= 2 * high else high))


def scale(values: NDArray[Any], black: float, white: float, empty: float = np.nan) -> tuple[Samples, list[str]]:
    """Scale numbers to 16 bits from black to white; clip those beyond, make those that are none black; note both."""
    clipped = blank = 0

    def convert(rows: NDArray[Any]) -> Samples:
        nonlocal clipped, blank
        wide = rows.astype(np.float64)
        missing = np.isnan(wide) | (wide == empty)
        wide[missing] = black
        blank += int(np.count_nonzero(missing))
        clipped += int(np.count_nonzero((wide < black) | (wide > white)))
        share = wide / white if black == 0 else (wide - black) / (white - black)
        return cast("Samples", np.rint(np.clip(share, 0, 1) * 65535).astype(np.uint16))

    samples = by_rows(convert, values)
    notes = [f"{clipped} of {values.size} samples beyond that clipped"] if clipped else []
    return samples, notes + ([f"{blank} samples without a number made black"] if blank else [])


def find_narrow_white(samples: NDArray[np.uint16], declared: int) -> int:
    """Find white of 16-bit samples that fill only the lower 8, 10 or 12 bits, or what the file declares."""
    largest = int(samples.max())
    tops = TOPS[:3] + ((declared,) if declared & (declared + 1) == 0 else ())
    return min((top for top in tops if 0 < largest <= top), default=65535)


def find_alpha_white(values: NDArray[Any]) -> float:
    """Find white of alpha: the least usual one that holds every value."""
    tops = [1.0] * (values.dtype.kind == "f") + [127.0] * (values.dtype == np.int8) + [float(top) for top in TOPS]
    largest = float(np.nan_to_num(values.max()))
    return next((top for top in tops if largest <= top), largest)
