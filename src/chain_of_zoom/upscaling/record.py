"""The record of an enlargement: what was asked, with what, and how it went. It lies beside the output."""

from __future__ import annotations

import msgspec

from chain_of_zoom.chain.record import RunRecord
from chain_of_zoom.upscaling.request import UpscaleRequest


class StepRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One step. scale: of the photo. size: afterwards. tiles, kept: how many, and how many of them an earlier run made.

    overhead: pixels read by tiles over pixels of the picture. seconds: all of it; backbone_seconds: in the backbone.
    fallbacks: what went another way.
    """

    scale: float
    size: tuple[int, int]
    tiles: int
    kept: int
    overhead: float
    seconds: float
    backbone_seconds: float
    fallbacks: tuple[str, ...] = ()


class OutputRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The picture. file: relative to the record. alpha, profile, grey: whether it has them, and is written without
    colour. resolution: pixels per inch, where the photo gave them. sha256: of the file; of a Deep Zoom picture, of the
    .dzi and of the names and bytes of its tiles.
    """

    file: str
    format: str
    size: tuple[int, int]
    bits: int
    alpha: bool
    profile: bool
    grey: bool = False
    resolution: tuple[float, float] | None = None
    sha256: str | None = None
    bytes: int | None = None


class UpscaleRecord(RunRecord, frozen=True, kw_only=True):
    """A whole run. While it is on its way, the record lies in the work folder, not `complete`.

    prompts_sha256: of the file of prompts, where the backbone reads them. notes: what the output format does not hold.
    """

    settings: UpscaleRequest
    output: OutputRecord
    steps: tuple[StepRecord, ...] = ()
    prompts_sha256: str | None = None
    seconds: float | None = None
    notes: tuple[str, ...] = ()
