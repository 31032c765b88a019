"""From a name to an object: a table of strings, so that listing names imports nothing heavy.

Installed packages add names through entry points, which are looked at only for a name that is not in the table.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from os import PathLike
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from chain_of_zoom.errors import ChainOfZoomError, MissingError, UsageError, suggest

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

# name -> ("module:Class", arguments, extra that brings what it imports; None for the core)
Table = dict[str, tuple[str, dict[str, Any], str | None]]

_IMAGE_MODEL = "chain_of_zoom.backbones.image_to_image:RegeneratingBackbone"
BACKBONES: Table = {
    "realsr": ("chain_of_zoom.backbones.feedforward:FeedForward", {"name": "realsr"}, None),
    "realesrgan": ("chain_of_zoom.backbones.feedforward:FeedForward", {"name": "realesrgan"}, None),
    "realesrgan-anime": ("chain_of_zoom.backbones.feedforward:FeedForward", {"name": "realesrgan-anime"}, None),
    "animevideo": ("chain_of_zoom.backbones.feedforward:FeedForward", {"name": "animevideo"}, None),
    "span": ("chain_of_zoom.backbones.feedforward:FeedForward", {"name": "span"}, None),
    "span-official": ("chain_of_zoom.backbones.feedforward:FeedForward", {"name": "span-official"}, None),
    "zoom": ("chain_of_zoom.backbones.worded:WordedBackbone", {}, None),
    "osediff-sd3": ("chain_of_zoom.backbones.onestep:OneStepDiffusion", {}, "diffusion"),
    "sd-x4": ("chain_of_zoom.backbones.multistep:MultiStepDiffusion", {}, "diffusion"),
    "flux2-klein": (_IMAGE_MODEL, {"name": "flux2-klein"}, "diffusion"),
    "z-image": (_IMAGE_MODEL, {"name": "z-image"}, "diffusion"),
    "nearest": ("chain_of_zoom.backbones.resample:Resample", {"filter": "nearest"}, None),
    "bicubic": ("chain_of_zoom.backbones.resample:Resample", {"filter": "bicubic"}, None),
    "lanczos": ("chain_of_zoom.backbones.resample:Resample", {"filter": "lanczos"}, None),
    "fake": ("chain_of_zoom.backbones.fake:Fake", {}, None),
}

# A backbone may also be a file of weights: these endings are no names.
SPANDREL_FILES, NCNN_FILES = (".safetensors", ".pth"), (".param", ".bin")
MODEL_FILES = (*SPANDREL_FILES, *NCNN_FILES)
_MODEL_FILE = "chain_of_zoom.backbones.model_file:ModelFile"
_NCNN_FILE = "chain_of_zoom.backbones.feedforward:FeedForward"

PROMPTERS: Table = {
    "null": ("chain_of_zoom.prompters.fixed:Fixed", {}, None),
    "words": ("chain_of_zoom.prompters.recognition.prompter:Recognizer", {}, None),
    "vlm": ("chain_of_zoom.prompters.vlm:Vlm", {}, "diffusion"),
    "dape": ("chain_of_zoom.prompters.tags:Dape", {}, "diffusion"),
    "remote": ("chain_of_zoom.prompters.remote:Remote", {}, "remote"),
    "text": ("chain_of_zoom.prompters.fixed:Fixed", {"name": "text"}, None),
}

REWARDS: Table = {
    "critic": ("chain_of_zoom.alignment.rewards.critic:CriticReward", {}, None),
    "phrase": ("chain_of_zoom.alignment.rewards.text:Phrase", {}, None),
    "repetition": ("chain_of_zoom.alignment.rewards.text:Repetition", {}, None),
    "validity": ("chain_of_zoom.alignment.rewards.text:Validity", {}, None),
    "sr": ("chain_of_zoom.alignment.rewards.sr_feedback:SrFeedback", {}, None),
}

# kind -> (group of entry points, the class that a plugin of that kind extends)
PLUGINS = {
    "backbone": ("chain_of_zoom.backbones", "chain_of_zoom.backbones.base:Backbone"),
    "prompter": ("chain_of_zoom.prompters", "chain_of_zoom.prompters.base:Prompter"),
    "reward": ("chain_of_zoom.rewards", "chain_of_zoom.alignment.rewards.base:Reward"),
}


_TYPES = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}


@dataclass(frozen=True)
class Plugin:
    """A name that an installed package adds."""

    kind: str
    """backbone, prompter or reward."""
    name: str
    """The name that the package adds."""
    package: str
    """Name and version of the package."""
    entry: EntryPoint
    """Where its class is."""
    clash: str | None = None
    """Why the name cannot be used; None where it can."""

    def __str__(self) -> str:
        return f"{self.kind} {self.name} of the package {self.package}"

    def broken(self, why: str) -> MissingError:
        """Return the error for a plugin that cannot be used."""
        name = self.package.split()[0]
        return MissingError(
            f"{self} {why}; accepted: what docs/plugins.md describes; type: pip install --upgrade {name}, "
            f"or pip uninstall {name}"
        )


def installed(kind: str, table: Table) -> list[Plugin]:
    """List what installed packages add to a table, by name, and import nothing of it."""
    entries = [(entry.name, f"{entry.dist.name} {entry.dist.version}", entry) for entry in _entries(kind) if entry.dist]
    plugins = []
    for name, package, entry in sorted(entries, key=lambda each: each[:2]):
        rivals = [rival for same, rival, _ in entries if same == name and rival != package]
        clash = f"{' and '.join(rivals)} adds {name} too" if rivals else None
        if name in table:
            clash = f"{name} is built in and stays what it is"
        plugins.append(Plugin(kind, name, package, entry, clash))
    return plugins


def names(kind: str, table: Table) -> list[str]:
    """List all names that can be used: those of the table, and of installed packages."""
    return [*table, *(plugin.name for plugin in installed(kind, table) if not plugin.clash)]


@cache
def _entries(kind: str) -> tuple[EntryPoint, ...]:
    from importlib.metadata import entry_points  # a tenth of a second with the question, which built-in names save

    return tuple(entry_points(group=PLUGINS[kind][0])) if kind in PLUGINS else ()


def factory(kind: str, table: Table, name: str) -> tuple[Callable[..., Any], dict[str, Any]]:
    """Return what makes the object called `name`, and the arguments that the name stands for.

    Raises UsageError for an unknown name and MissingError for a missing extra or a broken plugin.
    """
    entry = _built_in(kind, table, name)
    if entry is None:
        return _plugin_class(find_plugin(kind, table, name)), {}
    target, arguments, extra = entry
    try:
        return _resolve(target), arguments
    except ImportError as error:
        package = f"chain-of-zoom[{extra}]" if extra else "--force-reinstall chain-of-zoom"
        raise MissingError(f"{kind} {name} needs {error.name}; type: pip install '{package}'") from error


def create(kind: str, table: Table, name: str, **options: Any) -> Any:
    """Make the object called `name`. Raises UsageError and MissingError."""
    make, arguments = factory(kind, table, name)
    try:
        inspect.signature(make).bind(**arguments, **options)
    except TypeError as error:
        where = "docs/reference.md" if _built_in(kind, table, name) else "its package's documentation"
        raise UsageError(f"{kind} {name}: {error}; see {where} for its options") from error
    if _built_in(kind, table, name):
        if kind != "reward":  # whose options are settings of an alignment, and checked as such
            _check_types(f"{kind} {name}", make, options)
        return make(**arguments, **options)
    return _make_plugin(find_plugin(kind, table, name), make, options)


def _check_types(whose: str, make: Callable[..., Any], options: dict[str, Any]) -> None:
    """Raise UsageError for an option of another type than the constructor declares; a whole number is a float, too."""
    hints = get_type_hints(make.__init__)
    for key, value in options.items():
        types = get_args(hints[key]) or (hints[key],)
        is_bool = isinstance(value, bool) and bool not in types  # which Python takes for a whole number
        if str in types and isinstance(value, PathLike):  # names of files and folders
            continue
        if is_bool or not isinstance(value, (*types, int) if float in types else types):
            accepted = " or ".join(_TYPES[kind] for kind in types if kind in _TYPES)
            raise UsageError(f"{whose}: {key}={value!r}; accepted: {accepted}; see docs/reference.md for its options")


def _built_in(kind: str, table: Table, name: str) -> tuple[str, dict[str, Any], str | None] | None:
    if kind == "backbone" and name.lower().endswith(SPANDREL_FILES):
        return _MODEL_FILE, {"path": name}, "models"
    if kind == "backbone" and name.lower().endswith(NCNN_FILES):
        return _NCNN_FILE, {"name": name}, None
    return table.get(name)


def _resolve(target: str) -> Any:
    module, attribute = target.split(":")
    return getattr(importlib.import_module(module), attribute)


def find_plugin(kind: str, table: Table, name: str) -> Plugin:
    """Find the plugin of that name. Raises UsageError where there is none, or none that can be meant."""
    plugins = installed(kind, table)
    for plugin in plugins:
        if plugin.name == name and plugin.clash:
            raise UsageError(f"{plugin}: {plugin.clash}; type: pip uninstall {plugin.package.split()[0]}")
        if plugin.name == name:
            return plugin
    accepted = names(kind, table)
    example = "--set weights.phrase=0.5" if kind == "reward" else f"--{kind} {next(iter(table))}"
    hint = suggest(name, accepted, f"for example {example}?")
    files = f", a file ending in {', '.join(MODEL_FILES)}" if kind == "backbone" else ""
    raise UsageError(f"unknown {kind} {name!r}; accepted: {', '.join(accepted)}{files}; {hint}")


def _plugin_class(plugin: Plugin) -> type:
    contract: type = _resolve(PLUGINS[plugin.kind][1])
    try:
        loaded = plugin.entry.load()
    except (Exception, SystemExit) as error:  # whatever a stranger's module does when it is imported
        raise plugin.broken(f"cannot be imported ({type(error).__name__}: {error})") from error
    if not isinstance(loaded, type) or not issubclass(loaded, contract) or inspect.isabstract(loaded):
        raise plugin.broken(f"({plugin.entry.value}) is no finished subclass of chain_of_zoom.{contract.__name__}")
    return loaded


def _make_plugin(plugin: Plugin, make: Callable[..., Any], options: dict[str, Any]) -> Any:
    """Make the object, check that it goes by the name of the plugin, and note the package that it is from."""
    try:
        instance = make(**options)
        name = instance.info.name if plugin.kind == "backbone" else instance.name
    except ChainOfZoomError:
        raise
    except Exception as error:
        raise plugin.broken(f"cannot be made ({type(error).__name__}: {error})") from error
    if name != plugin.name:
        raise plugin.broken(f"calls itself {name!r}")
    object.__setattr__(instance, "package", plugin.package)  # even of a frozen dataclass
    return instance
