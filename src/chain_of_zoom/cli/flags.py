"""Options that mean the same to several commands."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import msgspec
import typer
import typer.core

from chain_of_zoom.plugins import BACKBONES, PROMPTERS
from chain_of_zoom.settings import ADVANCED, MAIN, OUTPUT, PANELS, PAPER, Flag, list_flags, read_field_docs
from chain_of_zoom.weights.presets import PRESETS


def option(metavar: str, help_text: str, *names: str, panel: str | None = None, **details: Any) -> Any:
    """Return what Typer is to know of an option with a value, named like its parameter or by `names`.

    panel: title of the part of `--help` that lists it, one of settings.PANELS, in commands that have panels.
    """
    return typer.Option(*names, metavar=metavar, help=help_text, rich_help_panel=panel, **details)


def switch(names: str, help_text: str, *, panel: str | None = None) -> Any:
    """Return what Typer is to know of an option without a value, with its names as in "--quiet -q"."""
    return typer.Option(*names.split(), help=help_text, rich_help_panel=panel)


def complete_from(names: Collection[str]) -> Callable[[str], list[str]]:
    """Return what Typer asks for the names that begin with what was typed before Tab."""
    return lambda incomplete: [name for name in names if name.startswith(incomplete)]


BackboneName = Annotated[
    str | None,
    option(
        "NAME", "See `coz backbones`, which tells the defaults; or a model file.", panel=MAIN,
        autocompletion=complete_from(BACKBONES),
    ),
]  # fmt: skip
PrompterName = Annotated[
    str | None,
    option(
        "NAME", "Who writes the prompts: words (default in zooms by zoom), null (elsewhere), text, vlm, dape, remote.",
        panel=PAPER, autocompletion=complete_from(PROMPTERS),
    ),
]  # fmt: skip
PresetName = Annotated[
    str | None, option("NAME", f"{', '.join(PRESETS)}.", panel=PAPER, autocompletion=complete_from(PRESETS))
]
Device = Annotated[str | None, option("NAME", "auto, cpu, gpu, gpu:1, cuda ...; see `coz doctor`.", panel=ADVANCED)]
Dtype = Annotated[
    str | None, option("NAME", "auto, float32, bfloat16 (a few CPUs have it), float16 (GPU only).", panel=ADVANCED)
]
Sets = Annotated[
    list[str] | None,
    option(
        "KEY=VALUE",
        "A detail: backbone.posterior=mode, prompter.timeout=20, photo.matte=black (under alpha), "
        "photo.profile=keep (no sRGB), photo.damaged=keep (part of a JPEG), photo.pixels=800e6 (a limit; also side, "
        "bytes, frames, aspect, density).",
        "--set",
        panel=ADVANCED,
    ),
]
Config = Annotated[
    Path | None,
    option(
        "FILE", "TOML with tables [backbone], [prompter] and [photo] of such details.", panel=ADVANCED, readable=False
    ),
]
KeepMetadata = Annotated[
    bool, switch("--keep-metadata", "Give the result the photo's EXIF data: camera, time, place.", panel=OUTPUT)
]
C2pa = Annotated[
    bool, switch("--c2pa", "Also signed copies (Content Credentials) in signed/; extra [c2pa].", panel=OUTPUT)
]
AsJson = Annotated[bool, switch("--json", "Print JSON, and nothing else, on stdout.", panel=OUTPUT)]
Quiet = Annotated[bool, switch("--quiet -q", "Print nothing but errors.", panel=OUTPUT)]
On = Annotated[
    str | None,
    option("ray[://HOST:PORT]", "Work on a Ray cluster, see docs/cluster.md; the extra [ray].", panel=ADVANCED),
]
Workers = Annotated[
    int | None, option("N", "Workers on the cluster; as many as there is room for by default.", panel=ADVANCED)
]
WorkerCpus = Annotated[int, option("N", "Cores of each worker.", panel=ADVANCED)]
WorkerGpus = Annotated[
    float | None, option("N", "GPUs of each worker; one by default where models need them.", panel=ADVANCED)
]
Detail = Annotated[float, option("0..1", "Share of what the backbone adds to plain enlargement.", panel=ADVANCED)]
Debug = Annotated[bool, switch("--debug", "Show the traceback of an error.")]


def _of_paper(help_text: str, metavar: str) -> Any:
    return Annotated[str | None, option(metavar, help_text, panel=PAPER)]


Loaders = dict[str, dict[str, Any]]  # values by name, as LOADERS has them
LOADERS: dict[str, dict[str, Any]] = {
    "backbone": {
        "base": _of_paper("Base model: folder or hub name.", "MODEL"),
        "lora": _of_paper("Transformer adapters of osediff-sd3, or a folder of coz train.", "PATH"),
        "transformer": _of_paper("Other weights of osediff-sd3's transformer, such as OracleZoom's.", "PATH"),
        "vae_encoder": _of_paper("Adapted VAE encoder of osediff-sd3.", "FILE"),
    },
    "prompter": {
        "model": _of_paper("Vision-language model of vlm or remote.", "NAME"),
        "adapter": _of_paper("LoRA of the prompter vlm.", "DIR"),
        "url": _of_paper("Server of the prompter remote (OpenAI-compatible).", "URL"),
        "ram": _of_paper("RAM weights of the prompter dape.", "FILE"),
        "dape": _of_paper("DAPE adapters; plain RAM without.", "FILE"),
        "tags": _of_paper("List of tags, one a line.", "FILE"),
        "thresholds": _of_paper("Threshold of every tag, one a line.", "FILE"),
    },
    "both": {
        "device": Device,
        "dtype": Dtype,
        "memory": Annotated[
            str | None,
            option(
                "auto|low", "low: large encoders in int8, models swapped; auto does it where it must.", panel=ADVANCED
            ),
        ],
    },
}
"""How backbones and prompters are loaded: flags by whom they are for, each None by default."""


def with_flags(struct: type[msgspec.Struct] | None = None) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command options that it does not list.

    Where its parameter `loaders` stands it gets the options of LOADERS, and receives the values that were given by
    kind and name. Where its parameter `settings` stands it gets those of the fields of `struct` that have a Flag, and
    receives the values that were given by name; their help is the documentation of the fields.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        flags = list_flags(struct) if struct else {}
        loader_annotations = {name: annotation for table in LOADERS.values() for name, annotation in table.items()}
        annotations = {"loaders": loader_annotations, "settings": _annotate_flags(flags)}

        @functools.wraps(command)
        def call(**values: Any) -> None:
            loaders = {kind: _pop_given(values, table) for kind, table in LOADERS.items()}
            settings = _pop_given(values, flags)
            for name, (_, flag) in flags.items():
                if flag.parse and name in settings:
                    settings[name] = flag.parse(settings[name])
            command(**values, loaders=loaders, **({"settings": settings} if struct else {}))

        hints = get_type_hints(command, include_extras=True)
        keyword = inspect.Parameter.KEYWORD_ONLY
        parameters: list[inspect.Parameter] = []
        for name, parameter in inspect.signature(command).parameters.items():
            if name in annotations:
                for flag_name, annotation in annotations[name].items():
                    parameters.append(inspect.Parameter(flag_name, keyword, default=None, annotation=annotation))
            else:
                parameters.append(parameter.replace(kind=keyword, annotation=hints[name]))
        call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        call.struct = struct  # type: ignore[attr-defined]
        return call

    return decorate


def _annotate_flags(flags: dict[str, tuple[Any, Flag]]) -> dict[str, Any]:
    """Return what Typer is to know of options that are fields of a struct; their help comes when it is asked for."""
    annotations: dict[str, Any] = {}
    for name, (kind, flag) in flags.items():
        value = kind if kind in (int, float, bool) and not flag.parse else str
        option = typer.Option(metavar=flag.metavar, rich_help_panel=flag.panel)
        annotations[name] = Annotated[(list[value] if flag.is_repeatable else value) | None, option]  # type: ignore[valid-type]
    return annotations


def _pop_given(values: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Take the options of these names out of `values` and return those that were given."""
    options = {name: values.pop(name) for name in names}
    return {name: value for name, value in options.items() if value not in (None, [])}


def _write_panels(command: typer.core.TyperCommand | typer.core.TyperGroup, context: Any, formatter: Any) -> None:
    """Write the arguments, the options in the panels that they belong to, and then those without one, in plain text."""
    struct = getattr(command.callback, "struct", None)
    docs = read_field_docs(struct) if struct else {}
    panels: dict[str, list[tuple[str, str]]] = {title: [] for title in ("Arguments", *PANELS)}
    unpanelled: list[tuple[str, str]] = []
    for parameter in command.get_params(context):
        panel = getattr(parameter, "rich_help_panel", None)
        if isinstance(parameter, typer.core.TyperArgument):
            panel = "Arguments"
        elif isinstance(parameter, typer.core.TyperOption) and not parameter.help:
            parameter.help = docs.get(str(parameter.name))
        if record := parameter.get_help_record(context):
            (panels[panel] if panel else unpanelled).append(record)
    for title, records in {**panels, "Options": unpanelled}.items():
        if records:
            with formatter.section(title):
                formatter.write_dl(records)


class PanelCommand(typer.core.TyperCommand):
    """A command whose `--help` has its options in panels."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the options."""
        _write_panels(self, ctx, formatter)


class PanelGroup(typer.core.TyperGroup):
    """A command with commands of its own, whose `--help` has its options in panels."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the options, then the commands."""
        _write_panels(self, ctx, formatter)
        self.format_commands(ctx, formatter)
