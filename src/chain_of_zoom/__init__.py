"""Chain-of-Zoom: zoom into any spot of a picture by chaining a super-resolution backbone over scales.

    from chain_of_zoom import zoom
    result = zoom("photo.jpg", at=(0.62, 0.4), magnification=64)

Names are loaded when first used, so that `import chain_of_zoom` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chain_of_zoom.alignment.rewards.base import Reward, Sample, Unscored
    from chain_of_zoom.api import ChainOfZoom, ZoomResult, animate, load_backbone, load_prompter, zoom
    from chain_of_zoom.backbones.base import Backbone, BackboneInfo, WindowPlace
    from chain_of_zoom.batch.many import zoom_many
    from chain_of_zoom.batch.report import Outcome
    from chain_of_zoom.chain.record import Record
    from chain_of_zoom.chain.schedule import Origin
    from chain_of_zoom.chain.state import ScaleState
    from chain_of_zoom.errors import (
        BackboneError,
        BadInputError,
        ChainOfZoomError,
        MissingError,
        OccupiedError,
        OutputError,
        UsageError,
    )
    from chain_of_zoom.imaging.decode import decode
    from chain_of_zoom.imaging.images import Picture, load
    from chain_of_zoom.imaging.raster import Raster
    from chain_of_zoom.imaging.reading import Limits, Reading
    from chain_of_zoom.prompters.base import PromptContext, Prompter
    from chain_of_zoom.upscaling.run import UpscaleResult, upscale

_HOME = {
    "Backbone": "backbones.base",
    "BackboneError": "errors",
    "BackboneInfo": "backbones.base",
    "BadInputError": "errors",
    "ChainOfZoom": "api",
    "ChainOfZoomError": "errors",
    "Limits": "imaging.reading",
    "MissingError": "errors",
    "OccupiedError": "errors",
    "Origin": "chain.schedule",
    "Outcome": "batch.report",
    "OutputError": "errors",
    "Picture": "imaging.images",
    "PromptContext": "prompters.base",
    "Prompter": "prompters.base",
    "Raster": "imaging.raster",
    "Reading": "imaging.reading",
    "Record": "chain.record",
    "Reward": "alignment.rewards.base",
    "Sample": "alignment.rewards.base",
    "ScaleState": "chain.state",
    "Unscored": "alignment.rewards.base",
    "UsageError": "errors",
    "UpscaleResult": "upscaling.run",
    "WindowPlace": "backbones.base",
    "ZoomResult": "api",
    "animate": "api",
    "decode": "imaging.decode",
    "load": "imaging.images",
    "load_backbone": "api",
    "load_prompter": "api",
    "upscale": "upscaling.run",
    "zoom": "api",
    "zoom_many": "batch.many",
}

__all__ = [
    "Backbone",
    "BackboneError",
    "BackboneInfo",
    "BadInputError",
    "ChainOfZoom",
    "ChainOfZoomError",
    "Limits",
    "MissingError",
    "OccupiedError",
    "Origin",
    "Outcome",
    "OutputError",
    "Picture",
    "PromptContext",
    "Prompter",
    "Raster",
    "Reading",
    "Record",
    "Reward",
    "Sample",
    "ScaleState",
    "Unscored",
    "UpscaleResult",
    "UsageError",
    "WindowPlace",
    "ZoomResult",
    "animate",
    "decode",
    "load",
    "load_backbone",
    "load_prompter",
    "upscale",
    "zoom",
    "zoom_many",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version  # 70 ms that only this needs

        return version("chain-of-zoom")
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
