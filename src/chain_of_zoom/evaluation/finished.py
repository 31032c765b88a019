"""Finished zooms of a benchmark: which state shows which depth, and what to report of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from chain_of_zoom.chain.record import Record, StateRecord
from chain_of_zoom.evaluation.consistency import Window
from chain_of_zoom.evaluation.methods import Method
from chain_of_zoom.evaluation.protocols import Case, MeasuredRun
from chain_of_zoom.evaluation.results import SentPrompt, ShownFile
from chain_of_zoom.files import relate


@dataclass(frozen=True, kw_only=True)
class FinishedZoom:
    """One finished zoom; worker processes get it whole."""

    case: Case
    """The picture and the spot."""
    method: Method
    """What made it."""
    run: MeasuredRun
    """What was asked for."""
    record: Record
    """What was made."""
    unprompted: dict[int, str]
    """For every depth whose state had a prompt, the file of the same step without it."""

    def indices(self) -> dict[int, int]:
        """Return for every depth the index of the state that shows it, from 0."""
        count = len(self.record.states)
        return {depth: index % count for depth, index in self.run.states.items()}

    def states(self) -> dict[int, StateRecord]:
        """Return for every depth the state that shows it."""
        return {depth: self.record.states[index] for depth, index in self.indices().items()}

    def enlarged_states(self) -> list[StateRecord]:
        """Return the states that a backbone made, in order: those that were given a text, even if an empty one."""
        return [state for state in self.record.states if state.prompter is not None]

    def list_enlarged(self) -> dict[int, StateRecord]:
        """Return for every depth the state that shows it, where a backbone made that."""
        return {depth: state for depth, state in self.states().items() if state.prompter is not None}

    def find_parent(self, state: StateRecord) -> tuple[Path, Window]:
        """Return the file that a state was made from, and where it lies in the photo."""
        states = self.enlarged_states()
        i = states.index(state)
        if self.run.linked and i > 0:
            return self.run.folder / states[i - 1].file, states[i - 1].window
        return self.origin()

    def origin(self) -> tuple[Path, Window]:
        """Return the file of the picture that was zoomed into, and where it lies in the photo."""
        if self.run.from_photo:
            width, height = self.record.input.size
            return self.run.photo, (0.0, 0.0, float(width), float(height))
        first = self.record.states[0]
        return self.run.folder / first.file, first.window

    def place(self, depth: int) -> dict[str, Any]:
        """Return the fields of a StateEntry for the state at a depth."""
        return {
            "picture": self.case.picture,
            "spot": self.case.spot,
            "method": self.method.name,
            "depth": depth,
        }

    def prompts(self) -> list[SentPrompt]:
        """Return the prompts of a backbone that reads them."""
        if not self.record.backbone.text_aware:
            return []
        return [
            SentPrompt(
                **self.place(depth),
                prompt=state.prompt or "",
                raw=state.prompt_raw or "",
                used=state.prompt_used,
                notes=state.fallbacks,
            )
            for depth, state in self.states().items()
        ]


def median_seconds(zooms: Iterable[FinishedZoom]) -> dict[int, float]:
    """Return for every depth the median seconds of a zoom up to it."""
    times: dict[int, list[float]] = defaultdict(list)
    for zoom in zooms:
        for depth, index in zoom.indices().items():
            times[depth].append(sum(state.seconds for state in zoom.record.states[: index + 1]))
    return {depth: median(seconds) for depth, seconds in times.items()}


def list_files(zooms: Sequence[FinishedZoom], out: Path) -> tuple[ShownFile, ...]:
    """Return the files for the page in `out`: states, and the truth where there is one."""
    states: list[ShownFile] = []
    truths: dict[tuple[str, int, int], ShownFile] = {}
    for zoom in zooms:
        for depth, state in zoom.states().items():
            file = relate(zoom.run.folder / state.file, out)
            states.append(ShownFile(**zoom.place(depth), file=file))
        for depth in zoom.case.boxes:
            if zoom.case.truth:
                file = relate(zoom.case.truth, out)
                place = zoom.place(depth) | {"method": "truth"}
                truths[zoom.case.picture, zoom.case.spot, depth] = ShownFile(**place, file=file)
    return (*states, *truths.values())
