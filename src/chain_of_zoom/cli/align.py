"""`coz align`: teach the prompter which words help."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chain_of_zoom.cli.align_pairs import pairs
from chain_of_zoom.cli.flags import AsJson, Debug, Quiet, option, switch
from chain_of_zoom.cli.progress import Display
from chain_of_zoom.cli.terminal import echo, echo_lines
from chain_of_zoom.errors import UsageError
from chain_of_zoom.settings import read_config, read_sets

if TYPE_CHECKING:
    from chain_of_zoom.alignment.training.align import AlignmentResult
    from chain_of_zoom.alignment.training.trainer import LoggedStep

align_app = typer.Typer()
align_app.command("pairs")(pairs)

DEFAULT_OUT = Path("aligned")


@align_app.callback(invoke_without_command=True)
def align(
    context: typer.Context,
    data: Annotated[
        str | None, option("PAIRS", "A folder of `coz align pairs`, or a JSONL file of that shape.")
    ] = None,
    model: Annotated[
        str | None, option("NAME", "The prompter's model: a folder, or in the Hugging Face cache.")
    ] = None,
    critic: Annotated[
        str | None, option("NAME|URL", "Who rates: such a model, or an OpenAI-compatible server.")
    ] = None,
    preset: Annotated[
        str | None, option("paper|safe", "safe (default): larger groups, KL, a guard against empty texts.")
    ] = None,
    steps: Annotated[int | None, option("N", "Of the optimizer, instead of the preset's.")] = None,
    out: Annotated[Path, option("DIR", "Where adapter, card, report and checkpoints go.", "--out", "-o")] = DEFAULT_OUT,
    sets: Annotated[
        list[str] | None, option("KEY=VALUE", "Any other setting: group=4, lora.r=16, weights.sr=0.5 ...", "--set")
    ] = None,
    config: Annotated[
        Path | None, option("FILE", "TOML of settings, such as the config.toml of another run.", readable=False)
    ] = None,
    force: Annotated[bool, switch("--force", "Begin anew where DIR holds another alignment.")] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Align the prompter with a critic's preferences: GRPO of a LoRA, as in section 3.3 of the paper.

    Stopped or killed, the same command goes on from the last checkpoint. DIR is an adapter for --prompter vlm and PEFT;
    open DIR/report.html while it runs. Several GPUs: accelerate launch -m chain_of_zoom align ... (docs/alignment.md).

    \b
    Examples:
      coz align pairs photos/ -o pairs
      coz align --data pairs --model Qwen/Qwen2.5-VL-3B-Instruct --critic http://127.0.0.1:8000/v1 -o aligned
      coz align --preset paper --data pairs --model vlm/ --critic OpenGVLab/InternVL3-8B-hf --set save_every=50
      coz zoom photo.jpg --backbone osediff-sd3 --prompter vlm --adapter aligned
    """
    if context.invoked_subcommand:
        return
    from chain_of_zoom.alignment.training.align import align as run
    from chain_of_zoom.alignment.training.config import resolve

    file = read_config(config)
    flags: dict[str, Any] = {"data": data, "model": model, "steps": steps}
    flags = {key: value for key, value in flags.items() if value is not None}
    if critic is not None:
        flags["critic"] = {"name": critic}
    detail_settings = read_sets(sets or [], "key=value or table.key=value; for example --set lora.r=16")
    if doubled := [key for key in flags if key in detail_settings and key != "critic"]:
        raise UsageError(f"--{doubled[0]} and --set {doubled[0]} are both given; accepted: one of them; leave one out")
    settings = resolve(preset or file.get("preset", "safe"), file, detail_settings, flags)
    with Display("reading", show=not (quiet or as_json) and os.environ.get("RANK", "0") == "0") as display:
        result = run(settings, out, force=force, progress=_Progress(display), say=display.say)
    if result is None:
        return
    if as_json:
        echo_lines(_json(result))
    elif not quiet:
        _summarise(result)


class _Progress:
    """Moves the bar, with the parts of the reward beside it; without a bar, a line for every twentieth of the steps."""

    def __init__(self, display: Display) -> None:
        self.display = display
        self.last_twentieth = -1

    def __call__(self, moment: LoggedStep) -> None:
        parts = {key.split("/")[1]: value for key, value in moment.values.items() if _is_reward(key)}
        text = f"reward {moment.values['reward']:.3f}"
        if parts:
            text += f" ({', '.join(f'{name} {value:.3f}' for name, value in parts.items())})"
        self.display.describe(text)
        self.display.expect(moment.steps, done=moment.step)
        twentieth = moment.step * 20 // moment.steps
        if not self.display.bar and twentieth > self.last_twentieth:
            self.last_twentieth = twentieth
            self.display.say(f"step {moment.step} of {moment.steps}: {text}")


def _is_reward(key: str) -> bool:
    return key.startswith("rewards/") and key.endswith("/mean")


def _json(result: AlignmentResult) -> str:
    import dataclasses
    import json

    return json.dumps({key: _plain(value) for key, value in dataclasses.asdict(result).items()}, indent=2)


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def _summarise(result: AlignmentResult) -> None:
    for name, reason in result.skipped[:5]:
        echo(f"skipped: {name}: {reason}")
    if len(result.skipped) > 5:
        echo(f"skipped: {len(result.skipped) - 5} more, listed in the report")
    if result.unscored:
        echo(f"without a score: {result.unscored} texts, listed in the report")
    if result.resumed:
        echo(f"went on after step {result.resumed}")
    if result.first:
        echo(f"reward {result.first['reward']:.3f} -> {result.last['reward']:.3f} in {result.steps} steps")
    echo(f"{result.folder}  the adapter, for --prompter vlm --adapter {result.folder}")
    echo(f"{result.report}  curves, and texts before and after: open it in a browser")
