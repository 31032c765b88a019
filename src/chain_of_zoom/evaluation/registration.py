"""Measure how far one picture is shifted against another, to a hundredth of a pixel where there is texture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float64]

MIN_SIDE = 16
_MARGIN = 3
_LEAST_GRADIENT = 0.5  # levels per pixel, in the direction that has the least
_LEAST_CORRELATION = 0.5


def find_shift(image: Plane, reference: Plane) -> tuple[float, float] | None:
    """Return how far the content of `image` lies to the right of and below where `reference` has it, in pixels.

    Planes of one shape, in levels (0..255). Least squares over the gradients (Lucas and Kanade 1981), started from
    no shift and from the peak of the phase correlation; the better one counts. A constant difference does not matter.
    Returns None where it cannot be told: sides under 16 pixels, no texture in some direction, or no likeness.
    """
    if min(reference.shape) < MIN_SIDE:
        return None
    from scipy.ndimage import gaussian_filter

    image, reference = (gaussian_filter(plane, 1, mode="nearest") for plane in (image, reference))
    fits = [_refine(image, reference, start) for start in {(0.0, 0.0), _find_peak(image, reference)}]
    correlation, shift = max((fit for fit in fits if fit is not None), default=(0.0, None))
    return shift if correlation >= _LEAST_CORRELATION else None


def _find_peak(image: Plane, reference: Plane) -> tuple[float, float]:
    """Return the peak of the phase correlation, in whole pixels, at most a quarter of the side."""
    height, width = reference.shape
    taper = np.hanning(height)[:, None] * np.hanning(width)
    spectrum, true_spectrum = (np.fft.fft2((plane - plane.mean()) * taper) for plane in (image, reference))
    product = spectrum * true_spectrum.conj()
    peaks = np.fft.ifft2(product / np.maximum(np.abs(product), 1e-9)).real
    rows, columns = (np.fft.fftfreq(side, 1 / side) for side in (height, width))
    peaks[np.abs(rows) > height / 4] = -np.inf
    peaks[:, np.abs(columns) > width / 4] = -np.inf
    row, column = np.unravel_index(peaks.argmax(), peaks.shape)
    return float(columns[column]), float(rows[row])


def _refine(image: Plane, reference: Plane, start: tuple[float, float]) -> tuple[float, tuple[float, float]] | None:
    """Return the correlation at the best shift near `start`, and that shift; None without texture or far away."""
    from scipy.ndimage import shift as move
    from scipy.ndimage import spline_filter

    shift = np.array(start)
    # Pixels that no shift near the start brings in from outside.
    margin = _MARGIN + int(np.abs(shift).max())
    inner = np.s_[margin:-margin, margin:-margin]
    if min(reference[inner].shape) < MIN_SIDE // 2:
        return None
    slopes: Plane = np.stack([np.gradient(reference, axis=axis)[inner].ravel() for axis in (1, 0)], axis=1)
    slopes -= slopes.mean(axis=0)
    normal = slopes.T @ slopes
    if np.linalg.eigvalsh(normal).min() < len(slopes) * _LEAST_GRADIENT**2:
        return None
    true_values = reference[inner].ravel()
    spline = spline_filter(image, mode="mirror")
    for _ in range(12):
        values = move(spline, -shift[::-1], mode="mirror", prefilter=False)[inner].ravel()
        step = np.linalg.solve(normal, slopes.T @ (true_values - values))
        shift = shift + step
        if np.abs(shift - start).max() > _MARGIN:
            return None
        if np.abs(step).max() < 1e-3:
            break
    values = move(spline, -shift[::-1], mode="mirror", prefilter=False)[inner].ravel()
    if not values.std():
        return None
    return float(np.corrcoef(values, true_values)[0, 1]), (float(shift[0]), float(shift[1]))
