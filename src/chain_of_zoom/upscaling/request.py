"""Hold what a user asks of an enlargement, and the record that lies beside its output."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import get_args

import msgspec

from chain_of_zoom.backbones.base import Blend
from chain_of_zoom.chain.record import RunRecord
from chain_of_zoom.chain.request import check_prompt
from chain_of_zoom.chain.restraint import Restraint
from chain_of_zoom.errors import UsageError
from chain_of_zoom.parsing import parse_number

DEFAULT_SCALE = 4.0
MAX_SCALE = 1024


class UpscaleRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One enlargement, as asked for; the record has it as `settings`. Raises UsageError for values without sense."""

    scale: float = DEFAULT_SCALE
    """How many times wider and higher the output is; above 1."""
    prompt: str = ""
    """The user's own text, for backbones that read prompts."""
    detail: float = 1.0
    """Share of what the backbone adds to plain enlargement, 0 to 1."""
    faithful: bool = False
    """Whether every enlargement by the backbone's factor gives again what it was made from when it is reduced."""
    seed: int = 0
    """Seed of the first tile, from 0."""
    tile: int | None = None
    """Side of a tile with its halo, in pixels of the picture that is enlarged; in latents for tiles that blend."""
    overlap: int | None = None
    """Overlap of tiles in latents, for backbones that blend them."""
    blend: Blend | None = None
    """How such a backbone blends its tiles."""
    quality: int = 90
    """Quality of JPEG, WebP and Deep Zoom, 1 to 100."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.scale) and 1 < self.scale <= MAX_SCALE):
            raise UsageError(f"--scale {self.scale:g}; accepted: above 1, up to {MAX_SCALE}; for example --scale 4")
        check_prompt(self.prompt)
        _ = self.restraint  # which checks itself
        if not 0 <= self.seed < 2**63:
            raise UsageError(f"seed {self.seed}; accepted: whole numbers from 0; for example --seed 7")
        if not 1 <= self.quality <= 100:
            raise UsageError(f"--quality {self.quality}; accepted: 1 to 100; for example --quality 90")
        if self.blend is not None and self.blend not in get_args(Blend):
            raise UsageError(
                f"--blend {self.blend!r}; accepted: {', '.join(get_args(Blend))}; for example --blend smooth"
            )

    @property
    def restraint(self) -> Restraint:
        """How far tiles may go. Raises UsageError."""
        return Restraint(detail=self.detail, faithful=self.faithful)

    @property
    def exact_scale(self) -> Fraction:
        """The scale as it was typed: 3.2 is 16/5."""
        return Fraction(repr(self.scale))


def parse_scale(text: str) -> float:
    """Read `4`, `3.2` or `4x`. Raises UsageError."""
    try:
        return float(parse_number(text.strip().lower().removesuffix("x")))
    except ValueError:
        raise UsageError(f"--scale {text}; accepted: a number above 1; for example --scale 4") from None


class StepRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One step of an enlargement, as it went."""

    scale: float
    """Size of its result over that of the photo."""
    size: tuple[int, int]
    """Width and height of its result."""
    tiles: int
    """Number of its tiles."""
    kept: int
    """Number of tiles that an earlier run had made."""
    overhead: float
    """Pixels that its tiles read over pixels of the picture."""
    seconds: float
    """Duration of the step."""
    backbone_seconds: float
    """Duration of the backbone's work within it."""
    fallbacks: tuple[str, ...] = ()
    """Everything that did not go the plain way."""


class OutputRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The picture that an enlargement has made."""

    file: str
    """Name of the file, which lies beside the record."""
    format: str
    """Name of its format, such as "PNG"."""
    size: tuple[int, int]
    """Width and height in pixels."""
    bits: int
    """Bits per sample, 8 or 16."""
    alpha: bool
    """Whether it has alpha."""
    profile: bool
    """Whether it has a colour profile."""
    grey: bool = False
    """Whether it is written without colour."""
    resolution: tuple[float, float] | None = None
    """Pixels per inch across and down, where the photo gave them."""
    sha256: str | None = None
    """SHA-256 of the file; for Deep Zoom, of the .dzi and of the names and bytes of its tiles."""
    bytes: int | None = None
    """Size of the file, or of all those files together."""


class UpscaleRecord(RunRecord, frozen=True, kw_only=True):
    """A whole enlargement. While it is being made, the record lies in the work folder and is not `complete`."""

    settings: UpscaleRequest
    """The request."""
    output: OutputRecord
    """The picture."""
    steps: tuple[StepRecord, ...] = ()
    """Its steps, in their order."""
    prompts_sha256: str | None = None
    """SHA-256 of the file of prompts, where the backbone reads them."""
    seconds: float | None = None
    """Duration of the run that finished it."""
    notes: tuple[str, ...] = ()
    """Everything that the format of the output does not hold."""
