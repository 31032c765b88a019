"""The eight ways to turn and mirror a picture, and back."""

from __future__ import annotations

from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

Turn = Literal["none", "flip-x", "flip-y", "rotate-180", "rotate-90", "rotate-270", "transpose", "transverse"]

# (mirrored left to right first, then turned by this many quarters, against the clock)
_PARTS: dict[Turn, tuple[bool, int]] = {
    "none": (False, 0),
    "flip-x": (True, 0),
    "flip-y": (True, 2),
    "rotate-180": (False, 2),
    "rotate-90": (False, 1),
    "rotate-270": (False, 3),
    "transpose": (True, 1),
    "transverse": (True, 3),
}
TURNS: tuple[Turn, ...] = tuple(_PARTS)

# EXIF 2.32, tag 274: what makes a picture upright.
_UPRIGHT: dict[int, Turn] = {
    1: "none", 2: "flip-x", 3: "rotate-180", 4: "flip-y", 5: "transpose", 6: "rotate-270",
    7: "transverse", 8: "rotate-90",
}  # fmt: skip

_Kind = TypeVar("_Kind", bound=np.generic)


def turn_pixels(pixels: NDArray[_Kind], how: Turn) -> NDArray[_Kind]:
    """Turn an H x W x C picture; a quarter turn swaps height and width."""
    mirrored, quarters = _PARTS[how]
    return np.ascontiguousarray(np.rot90(pixels[:, ::-1] if mirrored else pixels, quarters))


def turn_back(pixels: NDArray[_Kind], how: Turn) -> NDArray[_Kind]:
    """Undo what `turn_pixels` does."""
    mirrored, quarters = _PARTS[how]
    back = np.rot90(pixels, -quarters)
    return np.ascontiguousarray(back[:, ::-1] if mirrored else back)


def make_upright(pixels: NDArray[_Kind], orientation: int) -> NDArray[_Kind]:
    """Turn an H x W x C picture as EXIF's `orientation` (1 to 8) says: a view of the pixels as they lie."""
    mirrored, quarters = _PARTS[_UPRIGHT[orientation]]
    return np.rot90(pixels[:, ::-1] if mirrored else pixels, quarters)
