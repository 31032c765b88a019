"""`coz train degrade` and `coz train captions`: look at the training data, and prepare it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from chain_of_zoom.api import DEFAULT_BACKBONE, load_prompter
from chain_of_zoom.cli.flags import AsJson, Debug, Quiet, option, switch
from chain_of_zoom.cli.options import accepted, combine, read_loader_config, read_loader_sets
from chain_of_zoom.cli.terminal import echo, echo_lines
from chain_of_zoom.errors import BadInputError, UsageError
from chain_of_zoom.json_bytes import format_json

if TYPE_CHECKING:
    from chain_of_zoom.distillation.degradation import Degradation

SEEDS = 3
CAPTIONS = Path("captions.jsonl")
PER_RUN = ("device", "dtype")  # how a prompter runs, not what it says


def degrade(
    photo: Annotated[Path, typer.Argument(metavar="PHOTO", help="A picture.", readable=False)],
    out: Annotated[Path | None, option("FILE", "The sheet; <photo>_degraded.png by default.", "--out", "-o")] = None,
    stage: Annotated[str, option("real-esrgan|bicubic", "The first part of training, or the second.")] = "real-esrgan",
    seeds: Annotated[int | None, option("N", "Samples of real-esrgan, one a row; 3 by default.", min=1, max=16)] = None,
    size: Annotated[int, option("N", "Side of the square, cut out where there is detail.")] = 512,
    as_json: Annotated[bool, switch("--json", "Print all that was drawn, as JSON.")] = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Show what training does to a picture before the backbone is to restore it, operation by operation.

    \b
    Examples:
      coz train degrade photo.jpg
      coz train degrade photo.jpg --seeds 8 -o degraded.png
      coz train degrade photo.jpg --stage bicubic
    """
    import numpy as np

    from chain_of_zoom.distillation.data import check_options
    from chain_of_zoom.distillation.degradation import sample_operations
    from chain_of_zoom.distillation.sheet import draw_degradation_sheet
    from chain_of_zoom.files import write_atomic
    from chain_of_zoom.imaging.encode import encode_png
    from chain_of_zoom.imaging.geometry import Size
    from chain_of_zoom.imaging.images import load
    from chain_of_zoom.imaging.spots import find_textured_spots

    check_options(size, stage)
    if (is_fixed := stage == "bicubic") and seeds is not None:
        raise UsageError("--seeds means nothing to bicubic, which draws nothing; accepted: real-esrgan; leave it out")
    picture = load(photo)
    width, height = picture.size
    if min(width, height) < size:
        raise BadInputError(f"{photo}: {picture.size} pixels; accepted: at least {size}x{size}; make --size smaller")
    x, y = find_textured_spots(picture.pixels, 1)[0]
    left_edge, top = (min(max(at - size // 2, 0), side - size) for at, side in ((x, width), (y, height)))
    crop = picture.pixels[top : top + size, left_edge : left_edge + size]
    drawn = {
        seed: sample_operations(cast("Degradation", stage), np.random.default_rng(seed), Size(size, size))
        for seed in range(1 if is_fixed else seeds or SEEDS)
    }
    headings = [f"{photo.name}: {stage}" + ("" if is_fixed else f", seed {seed}") for seed in drawn]
    sheet = draw_degradation_sheet(crop, list(zip(headings, drawn.values(), strict=True)))
    path = out or Path(f"{photo.stem}_degraded.png")
    write_atomic(path, encode_png(sheet))
    if as_json:
        rows = [{"seed": seed, "operations": operations} for seed, operations in drawn.items()]
        echo_lines(format_json({"sheet": str(path), "samples": rows}))
    elif not quiet:
        echo(f"{path}  {stage}, rows: {len(drawn)}")


def captions(
    data: Annotated[Path, option("PATH", "A folder of pictures, or a .txt list of them.", readable=False)],
    prompter: Annotated[str, option("NAME", "Who writes them: dape, vlm, remote, or a plugin's.")],
    out: Annotated[Path, option("FILE", "Where to write; what is there is kept.", "--out", "-o")] = CAPTIONS,
    crops: Annotated[
        int | None, option("N", "Of the crops that the first N examples show: steps x pictures a step.", min=1)
    ] = None,
    size: Annotated[int | None, option("N", "Pixels of a crop's side, as of the training; 512 by default.")] = None,
    seed: Annotated[int | None, option("N", "Seed of the training; 123 by default.")] = None,
    sets: Annotated[
        list[str] | None, option("KEY=VALUE", "A detail of the prompter: prompter.model=NAME.", "--set")
    ] = None,
    config: Annotated[
        Path | None, option("FILE", "TOML with a table [prompter] of such details.", readable=False)
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write a caption for every training picture, once. Stop with Ctrl-C and run the same command to go on.

    Pictures are known by their content, so only new and changed ones are shown to the prompter. With --crops the
    prompter sees the very crops that a training draws from them, as published.

    \b
    Examples:
      coz train captions --data photos/ --prompter vlm -o captions.jsonl
      coz train captions --data photos/ --prompter dape --crops 100000 -o captions.jsonl
      coz train captions --data photos/ --prompter remote --set prompter.url=http://127.0.0.1:8000/v1 \\
        --set prompter.model=NAME
    """
    from chain_of_zoom.cli.progress import Display
    from chain_of_zoom.distillation.captioning import caption_crops, caption_pictures
    from chain_of_zoom.distillation.captions import Author
    from chain_of_zoom.distillation.data import open_training_set
    from chain_of_zoom.distillation.settings import PictureSettings, RunSettings

    if crops is None and (size, seed) != (None, None):
        raise UsageError("--size and --seed are of crops; accepted: beside --crops N; leave them out")

    details = _details(prompter, config, sets or [])
    writer = load_prompter(prompter, **details)
    writer.load()
    author = Author(
        prompter=writer.name,
        options={key: value for key, value in details.items() if key not in PER_RUN},
        weights_sha256=writer.weights_sha256(),
        package=writer.package,
    )
    with Display("captions", show=not (quiet or as_json)) as display:
        if crops is None:
            report = caption_pictures(data, out, writer, author, display.show_progress)
        else:
            size, seed = size or PictureSettings(source="").size, RunSettings().seed if seed is None else seed
            examples = open_training_set(data, size=size, stage=None, seed=seed)
            report = caption_crops(examples, crops, out, writer, author, display.show_progress)
    if as_json:
        summary = {"captions": str(out), "asked": report.new, "kept": report.reused, "empty": report.empty}
        echo_lines(json.dumps({**summary, "skipped": dict(report.skipped)}, indent=2))
    elif not quiet:
        echo(f"{out}  {report.new} captions written, {report.reused} kept, {report.empty} of all are empty")
        for name, reason in report.skipped:
            echo(f"skipped: {name}: {reason}")


def _details(prompter: str, config: Path | None, sets: list[str]) -> dict[str, Any]:
    """What the prompter is told, checked. One picture has no overview: what can show it alone, does."""
    in_file, in_sets = read_loader_config(config), read_loader_sets(sets)
    for kind in ("backbone", "photo"):
        if in_file[kind] or in_sets[kind]:
            raise UsageError(f"details of {kind} mean nothing to captions; accepted: prompter.KEY; leave them out")
    details = combine(DEFAULT_BACKBONE, prompter, in_file, in_sets)["prompter"]
    return {"multi_scale": False, **details} if "multi_scale" in accepted("prompter", prompter) else details
