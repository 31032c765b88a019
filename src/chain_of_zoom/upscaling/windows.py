"""Enlarge one window with the backbone of a chain, wherever that works."""

from __future__ import annotations

import time
from typing import NamedTuple

from chain_of_zoom.api import ChainOfZoom
from chain_of_zoom.backbones.base import WindowPlace
from chain_of_zoom.errors import BackboneError, ChainOfZoomError
from chain_of_zoom.imaging.images import RGB8, RGBF


class WindowTask(NamedTuple):
    """A window for a backbone, wherever that is."""

    window: RGB8
    """Its pixels, uint8, H x W x 3."""
    prompt: str
    """Its prompt."""
    seed: int
    """Its seed."""
    place: WindowPlace
    """Where it lies."""
    at_once: bool
    """Whether the network gets it in one piece."""


class EnlargedWindow(NamedTuple):
    """What a backbone made of a window."""

    pixels: RGBF
    """The enlargement, float32."""
    seconds: float
    """Seconds that it took."""
    fallbacks: list[str]
    """Everything that did not go the plain way."""


def enlarge_window(chain: ChainOfZoom, task: WindowTask) -> EnlargedWindow:
    """Enlarge a window. Raises BackboneError, also for what goes wrong in a plugin, and MissingError."""
    started, fallbacks = time.perf_counter(), list[str]()
    try:
        (result,) = chain.backbone(
            [task.window],
            [task.prompt],
            [task.seed],
            places=[task.place],
            on_fallback=lambda _, detour: fallbacks.append(detour),
            at_once=task.at_once,
        )
    except ChainOfZoomError:
        raise
    except Exception as error:  # of a plugin's own
        raise BackboneError(f"{chain.backbone.info.name}: {str(error) or type(error).__name__}") from error
    return EnlargedWindow(result, time.perf_counter() - started, fallbacks)
