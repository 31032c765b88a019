"""What a page hears of the server, as JSON: the events of its stream."""

from __future__ import annotations

import msgspec

from chain_of_zoom.explorer.protocol import Name


class HelloEvent(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="hello"):
    """Begins a stream of events."""

    viewer: Name
    """Name of the page, by which it says what it has in sight."""


class AnewEvent(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="anew"):
    """Says that events were left out, and that the page has to say anew what it has in sight."""


class TileEvent(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="tile"):
    """Says that a tile was made, or a draft of it."""

    tree: Name
    """Name of the tree that the page shows, or looks at besides."""
    tile: tuple[int, int, int]
    """Level, counted from the photo's own as 0, column and row."""
    seconds: float
    """Seconds that it took."""


class FailureEvent(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="failed"):
    """Says that a tile could not be made."""

    tree: Name
    """Name of the tree that the page shows, or looks at besides."""
    tile: tuple[int, int, int]
    """Level, counted from the photo's own as 0, column and row."""
    problem: str
    """What went wrong."""
    final: bool
    """Whether it is left alone until the page looks anew."""


class QueueEvent(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="queue"):
    """Says what is still to be made for the page."""

    waiting: int
    """Tiles, ancestors included."""
    eta: float | None
    """Seconds that everything which waits takes; null as long as nobody knows."""


ServerEvent = HelloEvent | AnewEvent | TileEvent | FailureEvent | QueueEvent
