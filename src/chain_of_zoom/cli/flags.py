"""Options that mean the same to several commands."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from chain_of_zoom.api import DEFAULT_BACKBONE
from chain_of_zoom.weights.presets import PRESETS

BackboneName = Annotated[
    str | None,
    typer.Option(metavar="NAME", help=f"See `coz backbones`; or a model file; {DEFAULT_BACKBONE} by default."),
]
PrompterName = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Who writes the prompts: null (default), text, vlm, dape, remote ..."),
]
PromptText = Annotated[str, typer.Option(metavar="TEXT", help="Your own words, for backbones that read prompts.")]
PresetName = Annotated[str | None, typer.Option(metavar="NAME", help=f"{', '.join(PRESETS)}.")]
Seed = Annotated[int, typer.Option(metavar="N", help="Seed of everything random.")]
Device = Annotated[str | None, typer.Option(metavar="NAME", help="auto, cpu, gpu, gpu:1, cuda ...; see `coz doctor`.")]
Dtype = Annotated[
    str | None, typer.Option(metavar="NAME", help="auto, float32, bfloat16 (a few CPUs have it), float16 (GPU only).")
]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="A detail: backbone.posterior=mode, prompter.timeout=20, photo.matte=black (under alpha), "
        "photo.profile=keep (no sRGB), photo.damaged=keep (part of a JPEG), photo.pixels=800e6 (a limit; also side, "
        "bytes, frames, aspect, density).",
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="TOML with tables [backbone], [prompter] and [photo] of such details.", readable=False
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]

Loaders = dict[str, dict[str, Any]]  # values by name, as LOADERS has them
LOADERS: dict[str, dict[str, Any]] = {
    "backbone": {
        "base": Annotated[str | None, typer.Option(help="Base model: folder or hub name.")],
        "lora": Annotated[
            str | None,
            typer.Option(metavar="PATH", help="Transformer adapters of osediff-sd3, or a folder of coz train."),
        ],
        "vae_encoder": Annotated[str | None, typer.Option(metavar="FILE", help="Adapted VAE encoder of osediff-sd3.")],
    },
    "prompter": {
        "model": Annotated[str | None, typer.Option(metavar="NAME", help="Vision-language model of vlm or remote.")],
        "adapter": Annotated[str | None, typer.Option(metavar="DIR", help="LoRA of the prompter vlm.")],
        "url": Annotated[
            str | None, typer.Option(metavar="URL", help="Server of the prompter remote (OpenAI-compatible).")
        ],
        "ram": Annotated[str | None, typer.Option(metavar="FILE", help="RAM weights of the prompter dape.")],
        "dape": Annotated[str | None, typer.Option(metavar="FILE", help="DAPE adapters; plain RAM without.")],
        "tags": Annotated[str | None, typer.Option(metavar="FILE", help="List of tags, one a line.")],
        "thresholds": Annotated[str | None, typer.Option(metavar="FILE", help="Threshold of every tag, one a line.")],
    },
    "both": {
        "device": Device,
        "dtype": Dtype,
        "memory": Annotated[
            str | None,
            typer.Option(
                metavar="auto|low", help="low: large encoders in int8, models swapped; auto does it where it must."
            ),
        ],
    },
}
"""How backbones and prompters are loaded: flags by whom they are for, each None by default."""


def with_loaders(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the flags of LOADERS where its parameter `loaders` stands, which gets those that were given."""

    @functools.wraps(command)
    def call(**values: Any) -> None:
        given = {kind: {name: values.pop(name) for name in flags} for kind, flags in LOADERS.items()}
        loaders = {kind: {k: v for k, v in flags.items() if v is not None} for kind, flags in given.items()}
        command(**values, loaders=loaders)

    hints = get_type_hints(command, include_extras=True)
    flags = {name: kind for table in LOADERS.values() for name, kind in table.items()}
    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        if name == "loaders":
            parameters += [
                inspect.Parameter(flag, keyword, default=None, annotation=kind) for flag, kind in flags.items()
            ]
        else:
            parameters.append(parameter.replace(kind=keyword, annotation=hints[name]))
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return call
