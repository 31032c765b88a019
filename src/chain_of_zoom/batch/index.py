"""Renders the page of a batch: all runs at a glance, read from the file system without requests to anywhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from chain_of_zoom.batch.summary import RunSummary, StateSummary, Summary
from chain_of_zoom.chain.request import DEFAULT_ZOOM, ZoomRequest
from chain_of_zoom.chain.state import magnification_name
from chain_of_zoom.pages.render import render


@dataclass(frozen=True, kw_only=True)
class IndexPicture:
    """Describes one state as the page shows it."""

    file: str
    """Path of the state, relative to the page."""
    thumbnail: str | None
    """Path of its thumbnail; None for states between the first and the last."""
    name: str
    """Its magnification, in words."""
    kind: str
    """CSS class of its colour."""
    label: str
    """Its origin, in words."""

    @classmethod
    def of(cls, state: StateSummary) -> IndexPicture:
        """Describe a state."""
        beyond = ", beyond evidence" if state.beyond_evidence else ""
        return cls(
            file=state.file,
            thumbnail=state.thumbnail,
            name=magnification_name(state.magnification),
            kind="beyond" if state.beyond_evidence else state.origin.value,
            label=state.origin.value + beyond,
        )


def index_page(summary: Summary, *, running: bool) -> bytes:
    """Render the page as HTML, without times so that a resumed batch ends with the same bytes.

    running: let the page reload itself while runs wait.
    """
    return render(
        "index.html",
        backbone=summary.backbone.name,
        total=len(summary.runs),
        complete=[_card(run) for run in summary.runs if run.states],
        failed=[(_photo(run), spot(run.settings), run.error.message) for run in summary.runs if run.error],
        waiting=[_photo(run) for run in summary.runs if run.status == "waiting"],
        running=running and bool(summary.waiting),
    ).encode()


def _card(run: RunSummary) -> dict[str, object]:
    pictures = [IndexPicture.of(state) for state in run.states]
    return {
        "photo": _photo(run),
        "spot": spot(run.settings),
        "prompt": run.settings.prompt,
        "sheet": run.sheet,
        "record": run.record,
        "animation": run.animation,
        "states": pictures,
        "shown": [picture for picture in dict.fromkeys((pictures[0], pictures[-1])) if picture.thumbnail],
    }


def _photo(run: RunSummary) -> str:
    return PurePosixPath(run.photo).name


def spot(request: ZoomRequest) -> str:
    """Describe the spot and the magnification of a request: `at 0.62,0.4, 64x`."""
    return ", ".join(_describe(request))


def _describe(request: ZoomRequest) -> Iterator[str]:
    if request.box:
        yield f"box {request.box}"
    else:
        yield f"at {request.at}" if request.at else "centre"
        yield magnification_name(DEFAULT_ZOOM if request.zoom is None else request.zoom)
    if request.seed:
        yield f"seed {request.seed}"
