"""How far a backbone may go: away from plain enlargement, and away from what it was given."""

from __future__ import annotations

import math
from dataclasses import dataclass

from chain_of_zoom.errors import UsageError
from chain_of_zoom.imaging.geometry import Box
from chain_of_zoom.imaging.images import RGBF
from chain_of_zoom.imaging.projection import project


@dataclass(frozen=True, kw_only=True)
class Restraint:
    """Holds what a backbone makes back; by default it does not, and costs nothing. Raises UsageError."""

    detail: float = 1.0
    """Share of what the backbone adds to the bicubic enlargement, 0 to 1."""
    faithful: bool = False
    """Whether the result, reduced by area, is to give the picture again that it was made from."""

    def __post_init__(self) -> None:
        if not 0 <= self.detail <= 1:  # also refuses NaN
            value = "NaN" if math.isnan(self.detail) else f"{self.detail:g}"
            raise UsageError(f"--detail {value}; accepted: a number from 0 to 1; for example --detail 0.5")

    @property
    def is_none(self) -> bool:
        """Whether results stay as they are."""
        return self.detail == 1 and not self.faithful

    def apply(self, result: RGBF, plain: RGBF, parent: RGBF, region: Box) -> RGBF:
        """Restrain an enlargement, float32, H x W x 3, about [0, 1].

        plain: the bicubic one. parent: the picture that both were made from, in [0, 1]; region: what of it they show,
        in its pixels.
        """
        if self.detail < 1:
            result = plain + self.detail * (result - plain)
        return project(result, parent, region) if self.faithful else result
