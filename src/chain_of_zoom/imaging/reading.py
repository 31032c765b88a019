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
    """The largest file that is accepted; every number is at least 1. Raises UsageError for others."""

    pixels: int = 400_000_000
    """Width times height."""
    side: int = 100_000
    """The longer side, in pixels."""
    bytes: int = 2_000_000_000
    """Of the file."""
    frames: int = 10_000
    """Of an animation, or pages of a TIFF, although only the first is read."""
    aspect: float = 1_000
    """Longer over shorter side."""
    density: int = 100_000
    """Pixels for each byte of the file, of pictures of over 50 megapixels."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not (isinstance(value, int | float) and math.isfinite(value) and value >= 1):
                raise UsageError(f"limit {name}={value!r}; accepted: a number from 1; for example {name}=1e6")

    @classmethod
    def parse(cls, values: Mapping[str, str | float]) -> Limits:
        """Limits from texts or numbers, `{"pixels": "800e6"}`; the others stay as they are. Raises UsageError."""
        names = [field.name for field in fields(cls)]
        numbers: dict[str, Any] = {}
        for name, text in values.items():
            if name not in names:
                raise UsageError(f"limit {name!r}; accepted: {', '.join(names)}; for example pixels=800e6")
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
        claim = f"{name}: {width}x{height} pixels"
        if width < 1 or height < 1:
            raise BadInputError(f"{claim}; accepted: at least 1x1; try another file")
        if width * height > self.pixels:
            raise _too_much("pixels", claim, self.pixels)
        if max(width, height) > self.side:
            raise _too_much("side", claim, self.side)
        if max(width, height) > self.aspect * min(width, height):
            raise _too_much("aspect", claim, self.aspect)
        if lack := lack_of_memory(width * height * bytes_per_pixel):
            raise BadInputError(f"{claim}: not enough memory to decode it, {lack}; reduce it first, or free memory")

    def check_density(self, pixels: int, count: int, name: str) -> None:
        """Raises BadInputError for a large picture out of a file of next to nothing: no photo, but a lot of memory."""
        if pixels > _LARGE and pixels > self.density * count:
            raise _too_much("density", f"{name}: {pixels} pixels in {count} bytes", self.density)

    def check_frames(self, count: int, name: str) -> None:
        """Raises BadInputError for too many frames."""
        if count > self.frames:
            raise _too_much("frames", f"{name}: {count} frames or more", self.frames)


def _too_much(limit: str, claim: str, most: float) -> BadInputError:
    return BadInputError(
        f"{claim}; accepted: {limit} up to {most:,}; reduce it first, "
        f"or raise the limit with --set photo.{limit}=NUMBER"
    )


DEFAULT_LIMITS = Limits()
_ACCEPTED = ("matte", *_KEPT, *(field.name for field in fields(Limits)))


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Choices of reading a photo."""

    limits: Limits = DEFAULT_LIMITS
    """The largest file that is accepted."""
    matte: Colour = WHITE
    """The sRGB colour (0..255) that alpha is laid on."""
    keep_profile: bool = False
    """Leave RGB in the space of its profile and tag the states with it, instead of converting to sRGB."""
    keep_metadata: bool = False
    """Give the states the photo's EXIF data, place included."""
    keep_damaged: bool = False
    """Take the rows that are there of a JPEG that is cut short."""

    def __post_init__(self) -> None:
        matte = self.matte
        if len(matte) != 3 or not all(isinstance(level, int) and 0 <= level <= 255 for level in matte):
            raise UsageError(f"matte {matte!r}; accepted: three numbers from 0 to 255; for example (255, 255, 255)")

    @property
    def choices(self) -> dict[str, str]:
        """Return the choices that differ from the default and show in the files, as `parse` takes them."""
        choices = {"profile": self.keep_profile, "metadata": self.keep_metadata, "damaged": self.keep_damaged}
        matte = {"matte": colour_name(self.matte)} if self.matte != WHITE else {}
        return matte | {name: "keep" for name, chosen in choices.items() if chosen}

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
    """Read `white`, `black`, `grey` or `#rrggbb`. Raises UsageError."""
    if text in _NAMED:
        return _NAMED[text]
    if not re.fullmatch("#[0-9a-fA-F]{6}", text):
        raise UsageError(f"colour {text!r}; accepted: white, black, grey, #rrggbb; for example #202020")
    red, green, blue = bytes.fromhex(text[1:])
    return red, green, blue


def colour_name(colour: Colour) -> str:
    """Write a colour as `white`, `black`, `grey`, or `#rrggbb`."""
    names = {value: name for name, value in _NAMED.items()}
    return names.get(colour, "#{:02x}{:02x}{:02x}".format(*colour))


DEFAULT_READING = Reading()
