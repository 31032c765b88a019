"""How a photo is read, where there is a choice."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from chain_of_zoom.errors import UsageError
from chain_of_zoom.imaging.limits import DEFAULT_LIMITS, Limits

Colour = tuple[int, int, int]

WHITE: Colour = (255, 255, 255)
_NAMED = {"white": WHITE, "black": (0, 0, 0), "grey": (128, 128, 128)}
_KEPT = ("profile", "metadata", "damaged")
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
