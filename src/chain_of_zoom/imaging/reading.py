"""How a photo is read, where there is a choice."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from chain_of_zoom.errors import BadInputError, UsageError
from chain_of_zoom.resources import lack_of_memory

Colour = tuple[int, int, int]

WHITE: Colour = (255, 255, 255)
_LARGE = 50_000_000  # pixels from which the density of a file counts
_NAMED = {"white": WHITE, "black": (0, 0, 0), "grey": (128, 128, 128)}
_KEPT = ("profile", "metadata", "damaged")


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


DEFAULT_LIMITS = Limits()
_ACCEPTED = ("matte", *_KEPT, *(field.name for field in fields(Limits)))


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Choices of reading a photo.

    limits: what is accepted at most. matte: the sRGB colour (0..255) that alpha is laid on. keep_profile: leave RGB in
    the space of its profile and tag the states with it, instead of converting to sRGB. keep_metadata: give the states
    the photo's EXIF data, place included. keep_damaged: take what is there of a JPEG that is cut short.
    """

    limits: Limits = DEFAULT_LIMITS
    matte: Colour = WHITE
    keep_profile: bool = False
    keep_metadata: bool = False
    keep_damaged: bool = False

    def __post_init__(self) -> None:
        matte = self.matte
        if len(matte) != 3 or not all(isinstance(level, int) and 0 <= level <= 255 for level in matte):
            raise UsageError(f"matte {matte!r}; accepted: three numbers from 0 to 255; for example (255, 255, 255)")

    @property
    def choices(self) -> dict[str, str]:
        """What is not as by default and shows in the files, as `parse` takes it."""
        kept = {"profile": self.keep_profile, "metadata": self.keep_metadata, "damaged": self.keep_damaged}
        matte = {"matte": colour_name(self.matte)} if self.matte != WHITE else {}
        return matte | {name: "keep" for name, chosen in kept.items() if chosen}

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Reading:
        """From `{"pixels": 800e6, "matte": "black", "profile": "keep", "metadata": "keep"}`. Raises UsageError."""
        numbers = {}
        chosen: dict[str, Any] = {}
        for key, value in values.items():
            if key not in _ACCEPTED:
                raise UsageError(f"photo.{key}; accepted: {', '.join(_ACCEPTED)}; for example photo.pixels=800e6")
            if key == "matte":
                chosen["matte"] = parse_colour(str(value))
            elif key in _KEPT:
                if value != "keep":
                    raise UsageError(f"photo.{key}={value}; accepted: keep, or nothing; type photo.{key}=keep")
                chosen[f"keep_{key}"] = True
            else:
                numbers[key] = value
        return cls(limits=Limits.parse(numbers), **chosen)


def parse_colour(text: str) -> Colour:
    """`white`, `black`, `grey` or `#rrggbb`. Raises UsageError."""
    if text in _NAMED:
        return _NAMED[text]
    if not re.fullmatch("#[0-9a-fA-F]{6}", text):
        raise UsageError(f"colour {text!r}; accepted: white, black, grey, #rrggbb; for example #202020")
    red, green, blue = bytes.fromhex(text[1:])
    return red, green, blue


def colour_name(colour: Colour) -> str:
    """`white`, `black`, `grey`, or `#rrggbb`."""
    names = {value: name for name, value in _NAMED.items()}
    return names.get(colour, "#{:02x}{:02x}{:02x}".format(*colour))


DEFAULT_READING = Reading()
