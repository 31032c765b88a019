"""How large a picture file may be: checked on the file and its header, before anything is decoded."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from chain_of_zoom.errors import BadInputError, UsageError
from chain_of_zoom.resources import lack_of_memory


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What is accepted at most; every number at least 1. Raises UsageError for others.

    pixels: width times height. side: the longer side, in pixels. bytes: of the file. frames: of an animation, or pages
    of a TIFF, although only the first is read. aspect: longer over shorter side. density: pixels for each byte of the
    file, of pictures of over 50 megapixels.
    """

    pixels: int = 400_000_000
    side: int = 100_000
    bytes: int = 2_000_000_000
    frames: int = 10_000
    aspect: float = 1_000
    density: int = 100_000

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not (isinstance(value, int | float) and math.isfinite(value) and value >= 1):
                raise UsageError(f"limit {name}={value!r}; accepted: a number from 1; for example {name}=1e6")

    @classmethod
    def parse(cls, values: Mapping[str, str | float]) -> Limits:
        """Limits from texts or numbers, `{"pixels": "800e6"}`; the others stay as they are. Raises UsageError."""
        known = [field.name for field in fields(cls)]
        numbers: dict[str, Any] = {}
        for name, text in values.items():
            if name not in known:
                raise UsageError(f"limit {name!r}; accepted: {', '.join(known)}; for example pixels=800e6")
            try:
                numbers[name] = float(text) if name == "aspect" else int(float(text))
            except (TypeError, ValueError, OverflowError):
                raise UsageError(f"limit {name}={text!r}; accepted: a number; for example {name}=1e6") from None
        return cls(**numbers)

    def check_bytes(self, count: int, name: str) -> None:
        """Raises BadInputError for a file of too many bytes."""
        if count > self.bytes:
            raise _too_much("bytes", f"{name}: {count} bytes", self.bytes)

    def check_size(self, width: int, height: int, name: str, bytes_per_pixel: float = 10) -> None:
        """Raises BadInputError for a width and height that no picture has, beyond the limits, or beyond the memory.

        bytes_per_pixel: that decoding takes at its peak; 8-bit RGB by default, as measured.
        """
        what = f"{name}: {width}x{height} pixels"
        if width < 1 or height < 1:
            raise BadInputError(f"{what}; accepted: at least 1x1; try another file")
        if width * height > self.pixels:
            raise _too_much("pixels", what, self.pixels)
        if max(width, height) > self.side:
            raise _too_much("side", what, self.side)
        if max(width, height) > self.aspect * min(width, height):
            raise _too_much("aspect", what, self.aspect)
        if lack := lack_of_memory(width * height * bytes_per_pixel):
            raise BadInputError(f"{what}: not enough memory to decode it, {lack}; reduce it first, or free memory")

    def check_density(self, pixels: int, count: int, name: str) -> None:
        """Raises BadInputError for a large picture out of a file of next to nothing: no photo, but a lot of memory."""
        if pixels > _LARGE and pixels > self.density * count:
            raise _too_much("density", f"{name}: {pixels} pixels in {count} bytes", self.density)

    def check_frames(self, count: int, name: str) -> None:
        """Raises BadInputError for too many frames."""
        if count > self.frames:
            raise _too_much("frames", f"{name}: {count} frames or more", self.frames)


def _too_much(limit: str, what: str, most: float) -> BadInputError:
    return BadInputError(
        f"{what}; accepted: {limit} up to {most:,}; reduce it first, or raise the limit with --set photo.{limit}=NUMBER"
    )


_LARGE = 50_000_000
DEFAULT_LIMITS = Limits()
