"""Options that mean the same to several commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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
Memory = Annotated[
    str | None,
    typer.Option(metavar="auto|low", help="low: large encoders in int8, models swapped; auto does it where it must."),
]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="A detail: backbone.posterior=mode, prompter.timeout=20, photo.matte=black (under alpha), "
        "photo.profile=keep (no sRGB), photo.pixels=800e6 (a limit; also side, bytes, frames, aspect).",
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="TOML with tables [backbone], [prompter] and [photo] of such details."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
