"""Alpha: laid on a matte, or kept, with the colours under transparent pixels spread from visible ones.

Nobody sees colours under transparent pixels, and an enlargement would mix them into the edges.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from chain_of_zoom.imaging.raster import Samples, by_rows
from chain_of_zoom.imaging.reading import WHITE, Colour

_ROWS = 128  # of the finer picture at a time; even


def composite(colour: Samples, alpha: Samples, matte: Colour = WHITE) -> Samples:
    """Lay colour (H x W x 3) on a matte of 0..255 by alpha (H x W), rounded; same depth."""
    bits = 8 * colour.itemsize
    top, wide = (1 << bits) - 1, "uint16" if bits == 8 else "uint32"
    ground = (np.array(matte) * (top // 255)).astype(wide)

    def mix(colour: Samples, alpha: Samples) -> Samples:
        share = alpha[..., None].astype(wide)
        mixed = colour * share + ground * (top - share) + (top + 1) // 2
        quotient: Samples = ((mixed + (mixed >> bits)) >> bits).astype(colour.dtype)  # by top, rounded
        return quotient

    return by_rows(mix, colour, alpha)


def spread_colours(colour: Samples, alpha: Samples) -> Samples:
    """Spread the colours of visible pixels of H x W x 3 to where `alpha` (H x W) hides its own.

    A pixel less than half as opaque as a neighbour fades to the mean around it, weighted by alpha, the more the less it
    is; a transparent one becomes it, from as near as there is something visible. The rest keeps its colours.
    """
    if alpha.max() == 0:
        return colour
    levels = [(colour, alpha)]
    while max(levels[-1][1].shape) > 1:
        levels.append(_halve(*levels[-1]))
    result, _ = levels.pop()
    while levels:
        result = _lay_over(*levels.pop(), result)
    return result


def _halve(colour: Samples, alpha: Samples) -> tuple[Samples, Samples]:
    """Halve colours by means of 2 x 2 pixels weighted by alpha, and alpha by maxima: nothing visible is lost."""
    height, width = (-(-side // 2) for side in alpha.shape)
    half = np.empty((height, width, 3), colour.dtype), np.empty((height, width), alpha.dtype)
    for row in range(0, height, _ROWS // 2):
        rows = slice(2 * row, 2 * row + _ROWS)
        odd = [(0, -len(alpha[rows]) % 2), (0, alpha.shape[1] % 2)]
        weight, planes = np.pad(alpha[rows], odd).astype(np.float32), np.pad(colour[rows], [*odd, (0, 0)])
        corners = [(slice(y, None, 2), slice(x, None, 2)) for y in (0, 1) for x in (0, 1)]
        total = sum(weight[corner] for corner in corners)
        means = sum(planes[corner] * weight[corner][..., None] for corner in corners)
        half[0][row : row + _ROWS // 2] = np.rint(means / np.maximum(total, 1)[..., None])
        half[1][row : row + _ROWS // 2] = np.maximum.reduce([weight[corner] for corner in corners])
    return half


def _lay_over(colour: Samples, alpha: Samples, coarse: Samples) -> Samples:
    """Lay a picture over its half-sized one, which shows where it is itself less visible than around it."""
    height, width = alpha.shape
    result = colour.copy()
    for row in range(0, height, _ROWS):
        stop = min(row + _ROWS, height)
        above = max(row - 1, 0)
        around = np.pad(alpha[above : stop + 1], [(row == 0, stop == height), (1, 1)])
        across = np.maximum(np.maximum(around[:, :-2], around[:, 1:-1]), around[:, 2:])
        strongest = np.maximum(np.maximum(across[:-2], across[1:-1]), across[2:])
        share = alpha[row:stop] / np.maximum(strongest, 1) * np.float32(2)
        places = share < 1
        if not places.any():
            continue
        fill = _double(coarse, row, stop, width)[places]
        own = share[places][:, None]
        result[row:stop][places] = np.rint(colour[row:stop][places] * own + fill * (1 - own))
    return result


def _double(coarse: Samples, row: int, stop: int, width: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Enlarge rows of a picture by 2, bilinearly, as floats."""
    first, last = max(row // 2 - 2, 0), min(-(-stop // 2) + 2, len(coarse))
    box = (0.0, row / 2 - first, width / 2, stop / 2 - first)
    planes = [Image.fromarray(coarse[first:last, :, i].astype(np.float32)) for i in range(3)]
    size = (width, stop - row)
    return np.stack([np.asarray(p.resize(size, Image.Resampling.BILINEAR, box)) for p in planes], axis=-1)
