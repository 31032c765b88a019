"""One photo, one spot: what `coz zoom` does and says."""

from __future__ import annotations

from pathlib import Path

import typer

from chain_of_zoom.api import ChainOfZoom, Layout
from chain_of_zoom.chain.folder import SHEET, RunFolder
from chain_of_zoom.chain.record import StateRecord
from chain_of_zoom.chain.request import ZoomRequest
from chain_of_zoom.chain.state import magnification_name
from chain_of_zoom.cli.progress import Display
from chain_of_zoom.imaging.images import load


def zoom_one(
    chain: ChainOfZoom,
    photo: Path,
    request: ZoomRequest,
    out: Path | None,
    *,
    layout: Layout,
    force: bool,
    show: bool,
    as_json: bool,
) -> None:
    """Zoom into one spot; `out` is the folder itself. show: lines and a bar; as_json: print the record."""
    zoom = chain.prepare(load(photo), request)
    name = f"{photo.stem}_{magnification_name(float(zoom.steps[-1].magnification))}"
    with (
        chain.open_folder(zoom, out or Path(name), force=force, layout=layout) as folder,
        Display(f"zoom with {chain.backbone.info.name}", show=show) as display,
    ):
        kept = folder.record.states
        work = sum(step.enlarge for step in zoom.steps)
        display.expect(work, done=sum(step.enlarge for step in zoom.steps[: len(kept)]))
        for entry in kept:
            display.say(state_line(folder, entry, "kept from before"))
        for state, entry in chain.write(zoom, folder):
            display.advance(zoom.steps[len(folder.record.states) - 1].enlarge)
            display.say(state_line(folder, entry, f"{state.seconds:.1f} s"))
    if as_json:
        typer.echo(folder.record.to_json(), nl=False)
    elif show:
        typer.echo(f"{folder.path / SHEET}  all of them side by side: look at this first")
        for note in notes(chain, [folder.record.settings.prompt], folder.record.states):
            typer.echo(f"note: {note}")


def state_line(folder: RunFolder, entry: StateRecord, what: str) -> str:
    """A state in one line: file, origin, and what happened."""
    fallbacks = "".join(f"; {note}" for note in entry.fallbacks)
    limit = ", beyond evidence" if entry.beyond_evidence else ""
    return f"{folder.path / entry.file}  {entry.origin.value}{limit}  ({what}{fallbacks})"


def notes(chain: ChainOfZoom, prompts: list[str], states: tuple[StateRecord, ...]) -> list[str]:
    """What a user should know about the result: words that were not used, detail that nothing supports."""
    info = chain.backbone.info
    said = []
    if any(prompts) and not info.text_aware:
        said.append(f"{info.name} ignores prompts; the text is recorded and was not used")
    if any(state.beyond_evidence for state in states):
        from chain_of_zoom.chain.sheet import beyond_evidence

        said.append(beyond_evidence(info))
    return said
