"""What page and server say to each other, as JSON; everything that a page sends is checked here."""

from __future__ import annotations

from math import isfinite
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from chain_of_zoom.backbones.base import BackboneInfo
from chain_of_zoom.explorer.tree import OpenPhoto, ZoomTree
from chain_of_zoom.imaging.orientation import TURNS

MAX_ALTERNATIVES = 6
"""Alternatives of a tile that are looked at side by side."""
ExportKind = Literal["zip", "sheet", "webp", "mp4", "png", "dzi"]
Name = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}$")]
Index = Annotated[int, Meta(ge=0, le=1 << 40)]
Candidate = Annotated[int, Meta(ge=1, le=99)]
Share = Annotated[float, Meta(ge=-1e9, le=1e9)]


class TreeRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Asks for the tree of a photo."""

    photo: Name
    """Name of the photo."""
    words: str = ""
    """The text for a backbone that reads prompts."""
    candidate: Candidate = 1
    """Number of the alternative; 1 is the plain one."""
    branch: str = ""
    """Name of the decisions on single tiles; empty for none."""


class TileDecision(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Decides about one tile; one that decides nothing takes a decision back."""

    words: str | None = None
    """The text for the backbone; null leaves it to the tree."""
    candidate: Candidate | None = None
    """Number of the alternative; null leaves it to the tree."""


class ViewRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Says what a page has in sight."""

    tree: Name
    """Name of the tree that it shows."""
    level: Annotated[int, Meta(ge=0, le=64)]
    """Index of the level that fits the screen; 0 is the shallowest."""
    sight: tuple[Share, Share, Share, Share]
    """The rectangle in sight, as fractions of the photo: left, top, right, bottom."""
    place: tuple[Index, Index, Index] | None = None
    """Level, column and row of the tile whose alternatives are looked at."""
    alternatives: Annotated[tuple[Name, ...], Meta(max_length=MAX_ALTERNATIVES)] = ()
    """Names of the trees that it is looked at in."""


class ExportRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Asks for a view as a file."""

    kind: ExportKind = "zip"
    """Which file: all that `coz zoom` writes, its sheet, an animation or a film to here, or what is in sight."""
    sight: tuple[Share, Share, Share, Share]
    """The rectangle in sight, as fractions of the photo: left, top, right, bottom."""
    size: tuple[Annotated[int, Meta(ge=1, le=16_384)], Annotated[int, Meta(ge=1, le=16_384)]]
    """Width and height of the screen that shows it, in pixels."""


class StateDescription(msgspec.Struct, frozen=True, kw_only=True):
    """A state on the way to a view, as it is saved."""

    magnification: float
    """Linear magnification, as `coz zoom` counts it."""
    sight: tuple[float, float, float, float]
    """The rectangle that it shows, as fractions of the photo: left, top, right, bottom."""


class PhotoDescription(msgspec.Struct, frozen=True, kw_only=True):
    """A photo that can be looked at."""

    id: str
    """Its name, by its pixels."""
    name: str
    """The name of its file, without folders."""
    width: int
    """Width in pixels, oriented."""
    height: int
    """Height in pixels, oriented."""
    notes: tuple[str, ...]
    """What reading changed."""

    @classmethod
    def of(cls, photo: OpenPhoto) -> PhotoDescription:
        """Describe a photo."""
        width, height = photo.size
        return cls(id=photo.id, name=photo.name, width=width, height=height, notes=photo.picture.notes)


class BackboneDescription(msgspec.Struct, frozen=True, kw_only=True):
    """The backbone, as far as a page has to know it."""

    name: str
    """Its name."""
    summary: str
    """What it is for, in one line."""
    licence: str
    """Licence of its weights."""
    factor: int
    """Linear enlargement from level to level."""
    reads_words: bool
    """Whether words change what it makes."""
    is_seeded: bool
    """Whether another seed gives another result."""
    candidates: int
    """How many alternatives it has; 1 where there is nothing to choose."""
    is_plain: bool
    """Whether it only resamples, and so makes nothing up."""
    evidence_limit: float | None
    """Output pixels per pixel of a sharp photo up to which its detail is supported by evidence."""
    wordless_limit: float | None
    """The same where no words are used."""

    @classmethod
    def of(cls, info: BackboneInfo) -> BackboneDescription:
        """Describe a backbone."""
        return cls(
            name=info.name,
            summary=info.summary,
            licence=info.licence,
            factor=info.factor,
            reads_words=info.text_aware,
            is_seeded=info.seeded,
            candidates=count_candidates(info),
            is_plain=info.resample is not None,
            evidence_limit=info.evidence_limit,
            wordless_limit=info.acting_as(uses_words=False).evidence_limit,
        )


class LevelDescription(msgspec.Struct, frozen=True, kw_only=True):
    """One level of a tree."""

    scale: float
    """Pixels of the level for each pixel of the photo; 1 and below are the photo's own."""
    side: int
    """Side of its tiles in pixels."""


class TreeDescription(msgspec.Struct, frozen=True, kw_only=True):
    """A tree: what a page needs to show it."""

    id: str
    """Its name."""
    photo: PhotoDescription
    """The photo."""
    words: str
    """The words that all of it is made with."""
    branch: str
    """Name of the decisions on single tiles; empty where there are none."""
    levels: tuple[LevelDescription, ...]
    """All levels, the shallowest first."""
    native: int
    """Index of the level that is the photo itself."""
    may_use_words: bool
    """Whether any of its tiles may be made with words."""

    @classmethod
    def of(cls, tree: ZoomTree) -> TreeDescription:
        """Describe a tree."""
        grid = tree.grid
        return cls(
            id=tree.id,
            photo=PhotoDescription.of(tree.photo),
            words=tree.recipe.words,
            branch=tree.branch,
            levels=tuple(
                LevelDescription(scale=float(grid.scale(level)), side=grid.side(level)) for level in grid.levels
            ),
            native=-grid.shallowest,
            may_use_words=tree.may_use_words,
        )


class BlurDescription(msgspec.Struct, frozen=True, kw_only=True):
    """How blurred a photo is from place to place: a pixel blurred over three supports a third of the depth."""

    blur: tuple[tuple[float | None, ...], ...]
    """Rows and columns of a grid over the photo: 1 for sharp, null where it shows nothing above its noise."""

    @classmethod
    def of(cls, photo: OpenPhoto) -> BlurDescription:
        """Describe the blur of a photo, which is measured when it is first asked for."""
        return cls(blur=tuple(tuple(cell if isfinite(cell) else None for cell in row) for row in photo.blur))


class TileDescription(msgspec.Struct, frozen=True, kw_only=True):
    """A generated tile: by which words it is made, and what else was decided."""

    is_made: bool
    """Whether it is there."""
    words: str
    """The text for the backbone; empty as long as the prompter has not written it."""
    by: str
    """Who wrote it: the name of a prompter, "user", or empty where nobody did."""
    note: str
    """What did not go the plain way."""
    is_decided: bool
    """Whether a person decided about this tile alone."""
    seed: int
    """Seed that the backbone gets for it."""
    turn: str
    """How its window is turned or mirrored for the backbone; "none" for not at all."""


class AlternativeDescription(msgspec.Struct, frozen=True, kw_only=True):
    """One of several ways to make a tile."""

    candidate: int
    """Its number; 1 is the plain one."""
    tree: str
    """Name of the tree that it is a tile of."""
    seed: int
    """Seed that the backbone gets for it."""
    turn: str
    """How its window is turned or mirrored for the backbone."""
    is_current: bool
    """Whether it is the one in use."""


class BranchDescription(msgspec.Struct, frozen=True, kw_only=True):
    """A branch of a photo, told by the latest of its decisions."""

    name: str
    """Its name."""
    decisions: int
    """How many decisions it has."""
    scale: float
    """Pixels of the tile of the latest decision for each pixel of the photo."""
    words: str | None
    """The words that were decided, null for none."""
    candidate: int | None
    """The alternative that was decided, null for none."""


class SessionDescription(msgspec.Struct, frozen=True, kw_only=True):
    """What a page is told first."""

    photos: tuple[PhotoDescription, ...]
    """The photos named on the command line."""
    backbone: BackboneDescription
    """What makes the tiles."""
    draft: str
    """Name of the backbone that draws first; empty where there is none."""
    prompter: str
    """Name of the prompter that writes the words of tiles; empty where none is asked."""
    makes_films: bool
    """Whether views can be saved as MP4, which takes ffmpeg."""
    upload_bytes: int
    """Bytes of the largest photo that may be uploaded."""


class QueueDescription(msgspec.Struct, frozen=True, kw_only=True):
    """What is still to be made for a page."""

    waiting: int
    """Tiles, ancestors included."""


class HealthDescription(msgspec.Struct, frozen=True, kw_only=True):
    """Says that the server makes tiles."""

    status: str
    """ok; whatever is wrong is a refusal."""


def count_candidates(info: BackboneInfo) -> int:
    """Count the alternatives of a tree: a way to turn windows each, or as many seeds; plain resampling has one."""
    return 1 if info.resample else len(TURNS)
