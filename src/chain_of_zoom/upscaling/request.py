"""What a user asks for, and the progress that is told meanwhile."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Literal, NamedTuple, get_args

import msgspec

from chain_of_zoom.backbones.base import Blend
from chain_of_zoom.chain.request import check_prompt
from chain_of_zoom.errors import UsageError
from chain_of_zoom.parsing import parse_number

DEFAULT_SCALE = 4.0
MAX_SCALE = 1024

Stage = Literal["prompts", "tiles", "writing"]


class Progress(NamedTuple):
    """How far a run is. done, total: tiles of all steps; rows of the output while it is written."""

    stage: Stage
    step: int
    steps: int
    done: int
    total: int


OnProgress = Callable[[Progress], None]


class UpscaleRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One enlargement, as asked for; it stands in the record as `settings`.

    scale: linear, above 1. prompt: the user's own text. seed: from 0. tile: side of a tile with its halo, in pixels of
    the picture that is enlarged; in latents for backbones that blend tiles of latents, and only those take overlap
    (latents) and blend. quality: of JPEG, WebP and Deep Zoom, 1 to 100.
    Raises UsageError when a value makes no sense.
    """

    scale: float = DEFAULT_SCALE
    prompt: str = ""
    seed: int = 0
    tile: int | None = None
    overlap: int | None = None
    blend: Blend | None = None
    quality: int = 90

    def __post_init__(self) -> None:
        if not (math.isfinite(self.scale) and 1 < self.scale <= MAX_SCALE):
            raise UsageError(f"--scale {self.scale:g}; accepted: above 1, up to {MAX_SCALE}; for example --scale 4")
        check_prompt(self.prompt)
        if not 0 <= self.seed < 2**63:
            raise UsageError(f"seed {self.seed}; accepted: whole numbers from 0; for example --seed 7")
        if not 1 <= self.quality <= 100:
            raise UsageError(f"--quality {self.quality}; accepted: 1 to 100; for example --quality 90")
        if self.blend is not None and self.blend not in get_args(Blend):
            raise UsageError(
                f"--blend {self.blend!r}; accepted: {', '.join(get_args(Blend))}; for example --blend smooth"
            )

    @property
    def exact_scale(self) -> Fraction:
        """The scale as it was typed: 3.2 is 16/5."""
        return Fraction(repr(self.scale))


def parse_scale(text: str) -> float:
    """`4`, `3.2` or `4x`."""
    try:
        return float(parse_number(text.strip().lower().removesuffix("x")))
    except ValueError:
        raise UsageError(f"--scale {text}; accepted: a number above 1; for example --scale 4") from None
