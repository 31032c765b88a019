"""Zooms of several photos that advance together, scale by scale, so that a GPU gets batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from chain_of_zoom.batch.tasks import Task
from chain_of_zoom.batch.writer import Writer
from chain_of_zoom.chain.folder import RunFolder
from chain_of_zoom.chain.record import StateRecord
from chain_of_zoom.chain.run import EncodeAnimation, ZoomRun, advance_together
from chain_of_zoom.chain.state import ScaleState

OnState = Callable[[Task, RunFolder, StateRecord, bool], None]


@dataclass(frozen=True)
class TaskRun:
    """The zoom of a task on its way into its folder."""

    task: Task
    """The task that the zoom is made for."""
    run: ZoomRun
    """The zoom, with its folder open."""
    states: list[ScaleState]
    """The finished states, of which some may not be written yet."""

    @property
    def is_made(self) -> bool:
        """Whether all states are there."""
        return len(self.states) == len(self.run.steps)


def zoom_together(runs: Sequence[TaskRun], encode_animation: EncodeAnimation | None, *, on_state: OnState) -> None:
    """Make the missing states of all runs, of one protocol and colour fix, and write them in a thread of its own.

    on_state(task, folder, entry, enlarged) is called, in that thread, for every state's file. Raises what goes wrong
    with any of them; the folders then hold what was written, as after a stop.
    """

    def write(task_run: TaskRun, state: ScaleState, enlarged: bool) -> None:
        folder = task_run.run.folder
        on_state(task_run.task, folder, folder.add(state), enlarged)

    def finish(task_run: TaskRun) -> None:
        task_run.run.finish(task_run.states, encode_animation)

    with Writer() as writer:
        for task_run in runs:
            if task_run.is_made:
                writer.put(partial(finish, task_run))
        for index, state in advance_together([task_run.run for task_run in runs]):
            task_run = runs[index]
            enlarged = task_run.run.steps[len(task_run.states)].enlarge
            task_run.states.append(state)
            writer.put(partial(write, task_run, state, enlarged))
            if task_run.is_made:
                writer.put(partial(finish, task_run))
