"""One photo, one spot: what `coz zoom` does and says."""

from __future__ import annotations

import sys
from pathlib import Path
from textwrap import shorten

from chain_of_zoom.api import ChainOfZoom, choose_encoder
from chain_of_zoom.chain.choice import EDITED, Revision
from chain_of_zoom.chain.evidence import describe_softness, describe_support
from chain_of_zoom.chain.folder import SHEET, RunFolder
from chain_of_zoom.chain.place import refuse_to_choose
from chain_of_zoom.chain.record import StateRecord
from chain_of_zoom.chain.request import ZoomRequest
from chain_of_zoom.chain.run import Layout, ZoomRun
from chain_of_zoom.chain.state import ScaleState, magnification_name
from chain_of_zoom.cli.finding import ask_back, name_words
from chain_of_zoom.cli.progress import Display
from chain_of_zoom.cli.signed import write_signed
from chain_of_zoom.cli.step_times import StepClock
from chain_of_zoom.cli.terminal import echo, echo_lines, quote
from chain_of_zoom.errors import UsageError
from chain_of_zoom.prompters.base import NO_WORDS
from chain_of_zoom.provenance.identity import Identity


def zoom_one(
    chain: ChainOfZoom,
    photo: Path,
    request: ZoomRequest,
    out: Path | None,
    *,
    layout: Layout,
    force: bool,
    animate: bool | None,
    revision: Revision,
    identity: Identity | None,
    show: bool,
    as_json: bool,
    clock: StepClock,
) -> None:
    """Zoom into one spot; `out` is the folder itself. show: lines and a bar; as_json: print the record."""
    home = out or (Path(f"{photo.stem}_{name_words(request.find)}") if request.find else None)
    is_answerable = show and sys.stdin.isatty()
    run = chain.plan(
        chain.read_photo(photo), request,
        earlier=None if force else home, choose=ask_back if is_answerable else refuse_to_choose,
    )  # fmt: skip
    if animate and len(run.steps) == 1:
        raise UsageError("--animate with one state alone; accepted: a larger --zoom; leave it out")
    branch = run.find_branch(revision)
    home = home or Path(f"{photo.stem}_{magnification_name(float(run.steps[-1].magnification))}")
    with (
        run.open(home, force=force, layout=layout, branch=branch) as folder,
        Display(f"zoom with {chain.backbone.info.name}", show=show) as display,
    ):
        earlier_states = folder.record.states
        work = run.count_enlargements()
        if run.place:
            display.say(f"found at --box {run.place.describe()}: {request.find}")
        display.expect(work, done=work - run.count_enlargements(len(earlier_states)))
        for entry in earlier_states:
            display.say(state_line(folder, entry, "kept from before"))
        if animate is None and layout != "default":
            animate = False
        states = list(folder.finished_states)
        for state, entry in run.write(choose_encoder(animate, display.track)):
            states.append(state)
            clock.add(photo.name, entry)
            display.advance(run.steps[len(folder.record.states) - 1].enlarge)
            display.say(state_line(folder, entry, f"{state.seconds:.1f} s"))
        if branch and branch.stop:
            offer(run, states[: branch.step], revision.candidates or 0, display)
    write_signed(folder.path, folder.record.files, photo, folder.record.input.sha256, identity, show=show)
    if as_json:
        echo_lines(folder.record.to_json())
    elif show and not (branch and branch.stop):
        echo(f"{folder.path / SHEET}  all of them side by side: look at this first")
        if folder.record.animation:
            echo(f"{folder.path / folder.record.animation}  all of them as one smooth zoom")
        elif animate is None and len(run.steps) > 1 and layout == "default":
            echo(f"note: no animation, which would take a while here; type: coz animate {quote([str(folder.path)])}")
        supported = run.find_supported(folder.record.states)
        echo(describe_support(run.meter.measure(run.steps[-1].window), supported))
        if softness := describe_softness(folder.record.finest):
            echo(f"note: {softness}")
        for note in notes(chain, [folder.record.settings.prompt], folder.record.states):
            echo(f"note: {note}")


def offer(run: ZoomRun, done: list[ScaleState], count: int, display: Display) -> None:
    """Make the alternatives of the state after those `done`, and say what to look at and what to type next."""
    step, folder = len(done), run.folder
    display.restart(f"candidates of state {step} with {run.models.backbone.info.name}", count)
    alternatives = []
    for state in run.candidates(count, done, folder.record.choices):
        display.advance()
        alternatives.append(state)
    offered = run.offer(alternatives)
    for entry in offered.states:
        display.say(f"{folder.path / entry.file}  {entry.variant}  ({entry.seconds:.1f} s)")
    numbers = [entry.variant.candidate for entry in offered.states if entry.variant]
    if left_out := [str(number) for number in range(1, count + 1) if number not in numbers]:
        display.say(f"note: the same picture as another one, and left out: {', '.join(left_out)}")
    display.say(f"{folder.path / offered.sheet}  look at this, choose one, and type its number at the end:")
    display.say(f"  {_next_command(step, numbers[-1])}")


def _next_command(step: int, candidate: int) -> str:
    """The command that was typed, but taking a candidate instead of asking for them."""
    words, skip = [], False
    for word in sys.argv[1:]:
        option = word.partition("=")[0]
        if not skip and option not in ("--candidates", "--resume-from"):
            words.append(word)
        skip = not skip and word in ("--candidates", "--resume-from")
    return f"{quote(['coz', *words])} --resume-from {step} --candidate {candidate}"


def state_line(folder: RunFolder, entry: StateRecord, what: str) -> str:
    """A state in one line: file, origin, and what happened."""
    fallbacks = "".join(f"; {note}" for note in entry.fallbacks if note != NO_WORDS)  # the usual thing far in
    limit = ", beyond evidence" if entry.beyond_evidence else ""
    chosen = f", {entry.variant}" if entry.variant else ""
    words = ", edited prompt" if entry.prompter == EDITED else ""
    if entry.prompt and not words and entry.prompt != folder.record.settings.prompt:
        words = f', words "{shorten(entry.prompt, 60)}"'
    return f"{folder.path / entry.file}  {entry.origin.value}{limit}{chosen}{words}  ({what}{fallbacks})"


def notes(chain: ChainOfZoom, prompts: list[str], states: tuple[StateRecord, ...]) -> list[str]:
    """What a user should know about the result: words that were not used, detail that nothing supports."""
    info = chain.backbone.info
    lines = []
    if chain.residence:
        lines.append(str(chain.residence))
    elif (device := chain.backbone.runs_on()) and not device.startswith("cpu"):
        lines.append(f"{info.name} ran on {device}")
    has_words = any(prompts) or any(state.prompt for state in states)  # the user's own, or a prompter's
    if has_words and not info.text_aware:
        lines.append(f"{info.name} ignores prompts; the text is recorded and was not used")
    elif has_words and states and not any(state.prompt_used for state in states):
        known = ""
        if info.vocabulary:
            known = f": it knows {', '.join(info.vocabulary)}, and shows them only far beyond the photo's own pixels"
            known += ", and not where the picture is even (docs/texture.md)"
        lines.append(f"the words changed nothing that {info.name} made{known}")
    if any(state.beyond_evidence for state in states):
        from chain_of_zoom.chain.sheet import beyond_evidence

        maker = info.acting_as(uses_words=any(state.prompt_used for state in states))
        lines.append(beyond_evidence(maker))
    return lines
