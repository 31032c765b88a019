"""`coz prompts`: which prompter writes better texts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chain_of_zoom.api import load_prompter
from chain_of_zoom.cli.flags import AsJson, Debug, Device, Dtype, Quiet, option
from chain_of_zoom.cli.options import accepted, choose_critic, read_loader_sets, split_role
from chain_of_zoom.cli.progress import Display
from chain_of_zoom.cli.terminal import echo, echo_lines
from chain_of_zoom.errors import BadInputError, UsageError
from chain_of_zoom.json_bytes import format_json
from chain_of_zoom.settings import split_labels
from chain_of_zoom.weights import presets

if TYPE_CHECKING:
    from chain_of_zoom.prompters.base import Prompter

EXAMPLE = "for example --prompter vlm --prompter mine=vlm --set mine/prompter.adapter=run/adapter"

prompts_app = typer.Typer(no_args_is_help=True, help="Compare prompters by what they write.")


@prompts_app.callback()
def _group() -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class NamedPrompter:
    """A prompter as named on the command line."""

    label: str
    """Its label, or its name as written."""
    prompter: str
    """Name of the prompter."""
    options: dict[str, Any]
    """Options that are part of the name, as in `vlm@multi`."""


@prompts_app.command("score")
def score(
    prompters: Annotated[
        list[str],
        option(
            "[LABEL=]NAME[@multi|@single]",
            "A prompter of `coz zoom`, vlm-adapter, or text:WORDS; again for each of several.",
            "--prompter",
        ),
    ],
    data: Annotated[
        Path, option("PAIRS", "A folder of `coz align pairs`, or a JSONL file of that shape.", readable=False)
    ],
    sets: Annotated[
        list[str] | None,
        option(
            "[LABEL/]prompter.KEY=VALUE",
            "A detail of one prompter, or of all that take it; critic.KEY=VALUE of the critic.",
            "--set",
        ),
    ] = None,
    critic: Annotated[
        str | None, option("NAME|URL", "A vision-language model (folder or hub name) or server that judges.")
    ] = None,
    limit: Annotated[int | None, option("N", "Only the first N held-out pairs.", min=1)] = None,
    device: Device = None,
    dtype: Dtype = None,
    out: Annotated[Path | None, option("DIR", "Write index.html with pictures and all texts.", "--out", "-o")] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Ask prompters about held-out pairs and compare what they write.

    Rewards of preference alignment, length, distinct words and seconds for each; with a critic also its rating, and
    every prompter against every other: the critic sees both texts twice, with either first. Texts are judged as they
    are written, not cleaned.

    \b
    Examples:
      coz prompts score --prompter vlm --prompter vlm-adapter --data pairs --critic Qwen/Qwen2.5-VL-7B-Instruct -o duel
      coz prompts score --prompter dape --prompter "moss=text:moss, stone" --data pairs
      coz prompts score --prompter vlm --prompter mine=vlm --set mine/prompter.adapter=run/adapter --data pairs
    """
    from chain_of_zoom.alignment.pairs.read import read_pairs
    from chain_of_zoom.alignment.scoring.page import check_folder, format_scores, write_page
    from chain_of_zoom.alignment.scoring.score import score as scored
    from chain_of_zoom.prompters.critic import is_url

    named_prompters = parse_prompters(prompters)
    of_critic, of_prompters = split_role(sets or [], "critic")
    flags = {key: value for key, value in (("device", device), ("dtype", dtype)) if value is not None}
    is_local = critic is not None and not is_url(critic)
    judge = choose_critic("critic", critic, of_critic, flags if is_local else {})
    writers = build_prompters(named_prompters, of_prompters, flags, judged=is_local)
    pairs = read_pairs(data, needed=1)
    held_out = pairs.select("held-out")[:limit]
    if not held_out:
        raise BadInputError(
            f"{data} has {len(pairs.pairs)} pairs and none is held out; accepted: pairs that nothing learns from; "
            "type: coz align pairs PHOTOS -o pairs, with two photos or more"
        )
    if out:
        check_folder(out)
    with Display("prompters", show=not (quiet or as_json)) as display:
        scores = scored(data.resolve().name, held_out, writers, critic=judge, on_progress=display.show_progress)
    page = write_page(scores, held_out, out) if out else None
    if as_json:
        echo_lines(format_json(scores))
    elif not quiet:
        echo_lines(format_scores(scores))
        for name, reason in pairs.skipped:
            echo(f"skipped: {name}: {reason}")
        if page:
            echo(f"{page}  pictures and texts: open it in a browser")


def parse_prompters(texts: Sequence[str]) -> list[NamedPrompter]:
    """Prompters of the command line, labels all different. Raises UsageError."""
    prompters = [_parse(text) for text in texts]
    for label, count in Counter(prompter.label for prompter in prompters).items():
        if count > 1:
            raise UsageError(f"prompter {label!r} is there {count} times; accepted: labels that differ; {EXAMPLE}")
    return prompters


def _parse(text: str) -> NamedPrompter:
    label, equals, description = text.partition("=") if re.match(r"[\w.-]*=", text) else ("", "", text)
    if equals and not label:
        raise UsageError(f"--prompter {text!r} has an empty label; accepted: [LABEL=]NAME; {EXAMPLE}")
    name, colon, words = description.partition(":")
    if colon:
        if name != "text":
            raise UsageError(f"--prompter {text!r}: {name} takes no words; accepted: text:WORDS; {EXAMPLE}")
        return NamedPrompter(label=label or description, prompter=name, options={"text": words})
    name, at, scales = description.partition("@")
    if at and scales not in ("multi", "single"):
        raise UsageError(f"--prompter {text!r}: view {scales!r}; accepted: @multi, @single; {EXAMPLE}")
    options = {"multi_scale": scales == "multi"} if at else {}
    return NamedPrompter(label=label or description, prompter=name, options=options)


def build_prompters(
    named_prompters: Sequence[NamedPrompter], sets: Sequence[str], flags: Mapping[str, str], *, judged: bool = False
) -> dict[str, Prompter]:
    """Prompters by their labels, no weights read. Raises UsageError for details that nobody takes, and MissingError.

    flags: device and dtype, for all that take them. judged: a local critic is given the flags, too.
    """
    labels = [named.label for named in named_prompters]
    details = {
        label: read_loader_sets(texts, ["prompter"])["prompter"]
        for label, texts in split_labels(sets, labels, "prompter").items()
    }
    used = set(flags) if judged else set()
    details[None] = {**flags, **details[None]}
    prompters = {}
    for named in named_prompters:
        name = "vlm" if named.prompter == presets.ALIGNED else named.prompter
        takes = accepted("prompter", name)
        own = named.options | details[named.label]
        for key in own:
            if key not in takes:
                hint = f"accepted: {', '.join(takes)}" if takes else "it takes none"
                raise UsageError(f"prompter {named.label} takes no option {key}; {hint}; leave it out")
        fitting = {key: value for key, value in details[None].items() if key in takes}
        used |= fitting.keys()
        options = fitting | own
        prompters[named.label] = load_prompter(
            name, **presets.prompter_options(named.prompter, options.keys()) | options
        )
    for key in details[None]:
        if key not in used:
            raise UsageError(f"option {key} means nothing to {', '.join(labels)}; leave it out")
    return prompters
