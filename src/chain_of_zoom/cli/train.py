"""`coz train`: teach a super-resolution backbone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chain_of_zoom.backbones.onestep import DEFAULT_BASE
from chain_of_zoom.cli import train_data
from chain_of_zoom.cli.flags import AsJson, Debug, Device, Quiet, option, switch
from chain_of_zoom.cli.terminal import echo_lines
from chain_of_zoom.errors import MissingError, UsageError
from chain_of_zoom.json_bytes import format_json
from chain_of_zoom.pages.table import format_plain_table
from chain_of_zoom.resources import human_size
from chain_of_zoom.settings import read_config

if TYPE_CHECKING:
    from chain_of_zoom.distillation.estimate import MemoryRow
    from chain_of_zoom.distillation.loop import TrainingResult
    from chain_of_zoom.distillation.settings import Settings
    from chain_of_zoom.distillation.small.settings import SmallSettings

train_app = typer.Typer()


@train_app.callback(invoke_without_command=True)
def train(
    context: typer.Context,
    data: Annotated[
        str | None, option("PATH", "A folder of pictures, or a .txt list with a path on each line.")
    ] = None,
    network: Annotated[
        str | None, option("sd3|small", "What is taught: Stable Diffusion 3, by default, or the small network of span.")
    ] = None,
    base: Annotated[str | None, option("MODEL", f"Folder or hub name; {DEFAULT_BASE} by default.")] = None,
    out: Annotated[Path | None, option("DIR", "Where to write.", "--out", "-o")] = None,
    stage: Annotated[str | None, option("real-esrgan|bicubic", "The degradation; real-esrgan by default.")] = None,
    init: Annotated[
        str | None, option("DIR", "Begin with another run: the stage before; of small: span, a .param or a run.")
    ] = None,
    captions: Annotated[str | None, option("FILE", "What `coz train captions` wrote.")] = None,
    validation: Annotated[str | None, option("PATH", "Pictures for the sheets, else training pictures.")] = None,
    perceptual: Annotated[str | None, option("lpips|stlpips|none", "The perceptual loss; lpips by default.")] = None,
    steps: Annotated[
        int | None, option("N", "Steps in all; by default 25000, 20000 for bicubic, 2000 for small.")
    ] = None,
    size: Annotated[int | None, option("N", "Pixels of a crop's side; 512 by default.")] = None,
    batch: Annotated[int | None, option("N", "Pictures at a time; 2 by default, 8 for small.")] = None,
    accumulate: Annotated[int | None, option("N", "Batches in a step; 2 by default, 1 for small.")] = None,
    lr: Annotated[float | None, option("X", "Learning rate; 5e-5 by default, 2e-4 for small.")] = None,
    seed: Annotated[int | None, option("N", "Of everything random; 123 by default.")] = None,
    save: Annotated[int | None, option("N", "Steps between checkpoints; 500 by default, 100 for small.")] = None,
    sheet: Annotated[int | None, option("N", "Steps between sheets; 500 by default, 250 for small.")] = None,
    workers: Annotated[int | None, option("N", "Processes that make examples; 2 by default, 0: none.")] = None,
    checkpointing: Annotated[
        bool | None, switch("--checkpointing/--no-checkpointing", "Compute activations twice, for memory; by default.")
    ] = None,
    device: Device = None,
    dtype: Annotated[str | None, option("NAME", "auto, float32, bfloat16, float16 (GPU only).")] = None,
    published_layout: Annotated[
        bool | None, switch("--published-layout", "Write the two published files, too.")
    ] = None,
    config: Annotated[
        Path | None, option("FILE", "TOML with any of these, such as settings.toml of another run.", readable=False)
    ] = None,
    sets: Annotated[
        list[str] | None, option("TABLE.KEY=VALUE", "A detail: losses.matching=0.5, optimizer.clip=2 ...", "--set")
    ] = None,
    estimate: Annotated[bool, switch("--estimate", "Print the memory that it takes, and stop.")] = False,
    force: Annotated[bool, switch("--force", "Replace another run that lies in DIR.")] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Teach a backbone: Stable Diffusion 3 to restore in one step, as the paper does, or a small network.

    It needs the extra [train]. DIR receives the adapters, which `coz zoom --backbone osediff-sd3 --lora DIR` uses, or
    the small network, which `coz zoom --backbone DIR/small.param` uses without torch; and a checkpoint, losses.csv,
    sheets of LR, SR and HR, curves for TensorBoard and settings.toml. Stop with Ctrl-C, or by force, and run the same
    command to go on. Several GPUs: accelerate launch -m chain_of_zoom train ...

    \b
    Examples:
      coz train --data photos/ -o stage1
      coz train --data photos/ --stage bicubic --init stage1 -o stage2
      coz train --data photos/ --network small --init span -o small
      coz train --estimate
      coz train degrade photo.jpg
      coz train captions --data photos/ --prompter vlm
    """
    if context.invoked_subcommand:
        return
    flags: dict[str, dict[str, Any]] = {
        "data": {
            "source": data, "captions": captions, "validation": validation, "size": size, "stage": stage,
            "workers": workers,
        },
        "model": {"network": network, "base": base, "checkpointing": checkpointing},
        "losses": {"network": perceptual},
        "optimizer": {"batch": batch, "accumulate": accumulate, "lr": lr},
        "run": {
            "steps": steps, "seed": seed, "save": save, "sheet": sheet, "init": init, "device": device, "dtype": dtype,
            "published_layout": published_layout,
        },
    }  # fmt: skip
    flag_settings = {table: {k: v for k, v in values.items() if v is not None} for table, values in flags.items()}
    try:
        from chain_of_zoom.distillation.networks import read_training
        from chain_of_zoom.distillation.settings import Settings, read_sets

        defaults = {"data": {"source": "-"}} if estimate else {}
        settings = read_training(defaults, read_config(config), read_sets(sets or []), flag_settings)
        if estimate:
            from chain_of_zoom.distillation.estimate import estimate as count

            if not isinstance(settings, Settings):
                raise UsageError("--estimate counts the memory of sd3; accepted: no --network small; leave it out")
            _print_estimate(count(settings), as_json=as_json)
            return
        if out is None:
            raise UsageError("-o is missing; accepted: a folder to write to; type: -o DIR")
        trained = _train(settings, out, force=force, show=not (quiet or as_json))
    except ImportError as error:
        raise MissingError(f"coz train needs {error.name}; type: pip install 'chain-of-zoom[train]'") from error
    if trained and as_json:
        echo_lines(json.dumps({**trained.__dict__, "folder": str(trained.folder), "weights": str(trained.weights)}))


def _train(settings: Settings | SmallSettings, out: Path, *, force: bool, show: bool) -> TrainingResult | None:
    """Train with a bar; None in processes that are not the first."""
    from chain_of_zoom.cli.progress import Display
    from chain_of_zoom.distillation.networks import make_trainer

    with Display("loading", show=show) as display:
        trainer = make_trainer(settings, out, force=force, say=display.say)
        display.restart("training", settings.steps)
        display.expect(settings.steps, done=trainer.step)

        def on_step(step: int, steps: int, losses: Any) -> None:
            if trainer.processes.first:
                display.describe(f"loss {losses[trainer.headline]:.4g}")
                display.advance()

        began = trainer.step
        trained = trainer.run(on_step)
        if not trainer.processes.first:
            return None
        for name, reason in trained.skipped:
            display.say(f"skipped: {name}: {reason}")
        did = (
            f"steps {began + 1} to {trained.steps}" if trained.steps > began else f"all {began} steps were done before"
        )
        display.say(f"{trained.weights}  {did}; use it: coz zoom PHOTO {trainer.describe_use()}")
    return trained


def _print_estimate(rows: list[MemoryRow], *, as_json: bool) -> None:
    if as_json:
        echo_lines(format_json(rows))
        return
    lines = [["", "parameters", "here", "published"]]
    for row in rows:
        count = f"{row.parameters:,}" if row.parameters else ""
        lines.append([row.part, count, human_size(row.bytes), human_size(row.published)])
    echo_lines("\n".join(format_plain_table(lines)))


train_app.command("degrade")(train_data.degrade)
train_app.command("captions")(train_data.captions)
