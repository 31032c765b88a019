"""What page and server say to each other, as JSON; everything that a page sends is checked here."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from chain_of_zoom.backbones.base import BackboneInfo
from chain_of_zoom.explorer.tree import OpenPhoto, ZoomTree
from chain_of_zoom.imaging.orientation import TURNS

Name = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}$")]
Share = Annotated[float, Meta(ge=-1e9, le=1e9)]


class TreeRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Asks for the tree of a photo."""

    photo: Name
    """Name of the photo."""
    words: str = ""
    """The text for a backbone that reads prompts."""
    candidate: Annotated[int, Meta(ge=1, le=99)] = 1
    """Number of the alternative; 1 is the plain one."""


class ViewRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Says what a page has in sight."""

    tree: Name
    """Name of the tree that it shows."""
    level: Annotated[int, Meta(ge=0, le=64)]
    """Index of the level that fits the screen; 0 is the shallowest."""
    sight: tuple[Share, Share, Share, Share]
    """The rectangle in sight, as fractions of the photo: left, top, right, bottom."""


class ExportRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Asks for a view as a file."""

    sight: tuple[Share, Share, Share, Share]
    """The rectangle in sight, as fractions of the photo: left, top, right, bottom."""
    size: tuple[Annotated[int, Meta(ge=1, le=16_384)], Annotated[int, Meta(ge=1, le=16_384)]]
    """Width and height of the screen that shows it, in pixels."""


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
    candidates: int
    """How many alternatives it has; 1 where there is nothing to choose."""
    is_plain: bool
    """Whether it only resamples, and so makes nothing up."""
    evidence_limit: float | None
    """Output pixels per photo pixel up to which its detail is supported by evidence."""

    @classmethod
    def of(cls, info: BackboneInfo) -> BackboneDescription:
        """Describe a backbone."""
        return cls(
            name=info.name,
            summary=info.summary,
            licence=info.licence,
            factor=info.factor,
            reads_words=info.text_aware,
            candidates=count_candidates(info),
            is_plain=info.resample is not None,
            evidence_limit=info.evidence_limit,
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
    """The words that it is made with."""
    levels: tuple[LevelDescription, ...]
    """All levels, the shallowest first."""
    native: int
    """Index of the level that is the photo itself."""

    @classmethod
    def of(cls, tree: ZoomTree) -> TreeDescription:
        """Describe a tree."""
        grid = tree.grid
        return cls(
            id=tree.id,
            photo=PhotoDescription.of(tree.photo),
            words=tree.recipe.words,
            levels=tuple(
                LevelDescription(scale=float(grid.scale(level)), side=grid.side(level)) for level in grid.levels
            ),
            native=-grid.shallowest,
        )


class SessionDescription(msgspec.Struct, frozen=True, kw_only=True):
    """What a page is told first."""

    photos: tuple[PhotoDescription, ...]
    """The photos named on the command line."""
    backbone: BackboneDescription
    """What makes the tiles."""
    draft: str
    """Name of the backbone that draws first; empty where there is none."""
    upload_bytes: int
    """Bytes of the largest photo that may be uploaded."""


def count_candidates(info: BackboneInfo) -> int:
    """Count the alternatives of a tree: a way to turn windows each, or as many seeds; plain resampling has one."""
    return 1 if info.resample else len(TURNS)
