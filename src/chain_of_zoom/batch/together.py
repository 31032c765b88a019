"""Zooms of several photos that advance together, scale by scale, so that a GPU gets batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from chain_of_zoom.api import ChainOfZoom, Zoom
from chain_of_zoom.batch.tasks import Task
from chain_of_zoom.batch.writer import Writer
from chain_of_zoom.chain.folder import RunFolder
from chain_of_zoom.chain.record import StateRecord
from chain_of_zoom.chain.state import ScaleState

Wrote = Callable[[Task, RunFolder, StateRecord, bool], None]


@dataclass(frozen=True)
class Run:
    """A zoom on its way into its folder; states: those that are made, which may not be written yet."""

    task: Task
    zoom: Zoom
    folder: RunFolder
    states: list[ScaleState]

    @property
    def left(self) -> int:
        """Enlargements still to be made."""
        return sum(step.enlarge for step in self.zoom.steps[len(self.states) :])

    @property
    def is_made(self) -> bool:
        """Whether all states are there."""
        return len(self.states) == len(self.zoom.steps)


def zoom_together(chain: ChainOfZoom, runs: Sequence[Run], *, animate: bool, wrote: Wrote) -> None:
    """Make what is left of all runs, of one protocol and colour fix, and write it meanwhile in a thread of its own.

    wrote(task, folder, entry, enlarged) hears, in that thread, of every state's file. Raises what goes wrong with any
    of them; the folders then hold what was written, as after a stop.
    """
    jobs = [(run.zoom, run.folder.done, run.folder.record.choices) for run in runs]

    def write(run: Run, state: ScaleState, enlarged: bool) -> None:
        wrote(run.task, run.folder, run.folder.add(state), enlarged)

    def finish(run: Run) -> None:
        chain.finish(run.zoom, run.folder, run.states, animate=animate)

    with Writer() as writer:
        for run in runs:
            if run.is_made:
                writer.put(partial(finish, run))
        for index, state in chain.run_together(jobs):
            run = runs[index]
            enlarged = run.zoom.steps[len(run.states)].enlarge
            run.states.append(state)
            writer.put(partial(write, run, state, enlarged))
            if run.is_made:
                writer.put(partial(finish, run))
