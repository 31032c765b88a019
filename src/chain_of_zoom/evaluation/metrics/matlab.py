"""What published metrics take from MATLAB: its luma."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from chain_of_zoom.imaging.images import RGB8


def luma(pixels: RGB8) -> NDArray[np.float64]:
    """Y of `rgb2ycbcr` (ITU-R BT.601, 16..235), not rounded: uint8 H x W x 3 to float64 H x W."""
    weights = np.array([65.481, 128.553, 24.966]) / 255
    weighted: NDArray[np.float64] = pixels.astype(np.float64) @ weights + 16
    return weighted
