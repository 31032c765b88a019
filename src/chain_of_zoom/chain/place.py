"""The place in a photo that the words of `--find` mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Annotated

import msgspec

from chain_of_zoom.errors import UsageError
from chain_of_zoom.imaging.geometry import Box, Size

MARGIN = Fraction(1, 8)  # of a box's sides: what fills the picture to its edges is hard to recognise

Edge = Annotated[float, msgspec.Meta(ge=0, le=1e9)]


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where something is, who said so, and how sure that is."""

    box: tuple[Edge, Edge, Edge, Edge]
    """Edges x0, y0, x1, y1 in pixels of the oriented photo."""
    model: str
    """Name of the prompter and its model."""
    confirmed: bool
    """Whether the model found it again in a close-up."""
    chosen: bool = False
    """Whether the user chose it among several."""

    def __post_init__(self) -> None:
        if not (self.box[0] < self.box[2] and self.box[1] < self.box[3]):
            raise ValueError(f"the box {self.box} is empty")

    def describe(self) -> str:
        """Return the box in pixels as `--box` takes it."""
        return ",".join(f"{edge:.0f}" for edge in self.box)

    def frame(self, picture: Size) -> Box:
        """Return the box with a margin, inside the picture."""
        box = Box(*(Fraction(edge) for edge in self.box))
        dx, dy = MARGIN * box.width, MARGIN * box.height
        return Box(
            max(box.x0 - dx, Fraction(0)), max(box.y0 - dy, Fraction(0)),
            min(box.x1 + dx, Fraction(picture.width)), min(box.y1 + dy, Fraction(picture.height)),
        )  # fmt: skip


ChoosePlace = Callable[[str, Sequence[Place]], Place]
"""Chooses among places that words may mean; there is one at least."""


def refuse_to_choose(words: str, places: Sequence[Place]) -> Place:
    """Raise UsageError with the places, since nobody is there to ask."""
    boxes = ", ".join(f"--box {place.describe()}" for place in places)
    doubt = "several places" if len(places) > 1 else "a place that a closer look did not confirm"
    raise UsageError(f"--find {words!r}: the model names {doubt}; accepted: one; look, and type {boxes}")


def choose_place(words: str, places: Sequence[Place], ask: ChoosePlace) -> Place:
    """Return the only place that a close-up confirmed; otherwise ask. Raises UsageError where there is none at all."""
    if not places:
        raise UsageError(
            f"--find {words!r}: the model sees no such thing; accepted: something in the picture; "
            "say it in other words, or type --at X,Y"
        )
    confirmed = [place for place in places if place.confirmed]
    if len(confirmed) == 1:
        return confirmed[0]
    return msgspec.structs.replace(ask(words, confirmed or places), chosen=True)
