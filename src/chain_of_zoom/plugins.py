"""From a name to an object: a table of strings, so that listing names imports nothing heavy."""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Callable
from typing import Any

from chain_of_zoom.errors import MissingError, UsageError

# name -> ("module:Class", arguments, extra that brings what it imports; None for the core)
Table = dict[str, tuple[str, dict[str, Any], str | None]]

BACKBONES: Table = {
    "realsr": ("chain_of_zoom.backbones.feedforward:FeedForward", {"name": "realsr"}, None),
    "realesrgan": ("chain_of_zoom.backbones.feedforward:FeedForward", {"name": "realesrgan"}, None),
    "realesrgan-anime": ("chain_of_zoom.backbones.feedforward:FeedForward", {"name": "realesrgan-anime"}, None),
    "animevideo": ("chain_of_zoom.backbones.feedforward:FeedForward", {"name": "animevideo"}, None),
    "osediff-sd3": ("chain_of_zoom.backbones.onestep:OneStepDiffusion", {}, "diffusion"),
    "nearest": ("chain_of_zoom.backbones.resample:Resample", {"filter": "nearest"}, None),
    "bicubic": ("chain_of_zoom.backbones.resample:Resample", {"filter": "bicubic"}, None),
    "lanczos": ("chain_of_zoom.backbones.resample:Resample", {"filter": "lanczos"}, None),
    "fake": ("chain_of_zoom.backbones.fake:Fake", {}, None),
}

PROMPTERS: Table = {
    "null": ("chain_of_zoom.prompters.fixed:Fixed", {}, None),
    "vlm": ("chain_of_zoom.prompters.vlm:Vlm", {}, "diffusion"),
    "dape": ("chain_of_zoom.prompters.tags:Dape", {}, "diffusion"),
    "remote": ("chain_of_zoom.prompters.remote:Remote", {}, "remote"),
    "text": ("chain_of_zoom.prompters.fixed:Fixed", {"name": "text"}, None),
}


def factory(kind: str, table: Table, name: str) -> tuple[Callable[..., Any], dict[str, Any]]:
    """What makes the object called `name`, and the arguments that the name stands for.

    Raises UsageError for an unknown name and MissingError for a missing extra.
    """
    if name not in table:
        close = difflib.get_close_matches(name, table, 1)
        hint = f"did you mean {close[0]}" if close else f"for example --{kind} {next(iter(table))}"
        raise UsageError(f"unknown {kind} {name!r}; accepted: {', '.join(table)}; {hint}?")
    target, arguments, extra = table[name]
    module, attribute = target.split(":")
    try:
        return getattr(importlib.import_module(module), attribute), arguments
    except ImportError as error:
        package = f"chain-of-zoom[{extra}]" if extra else "--force-reinstall chain-of-zoom"
        raise MissingError(f"{kind} {name} needs {error.name}; type: pip install '{package}'") from error


def create(kind: str, table: Table, name: str, **options: Any) -> Any:
    """The object called `name`. Raises UsageError and MissingError."""
    make, arguments = factory(kind, table, name)
    try:
        inspect.signature(make).bind(**arguments, **options)
    except TypeError as error:
        raise UsageError(f"{kind} {name}: {error}; see docs/reference.md for its options") from error
    return make(**arguments, **options)
