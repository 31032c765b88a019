"""Many photos or spots: what `coz zoom` says while a batch runs, and how it ends."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path

from chain_of_zoom.api import ChainOfZoom
from chain_of_zoom.batch.executors import Executor, Watcher
from chain_of_zoom.batch.report import Outcome
from chain_of_zoom.batch.run import Batch
from chain_of_zoom.batch.summary import INDEX, RunSummary
from chain_of_zoom.batch.tasks import Task
from chain_of_zoom.chain.folder import RunFolder
from chain_of_zoom.chain.record import StateRecord
from chain_of_zoom.chain.run import Layout
from chain_of_zoom.chain.state import magnification_name
from chain_of_zoom.cli.progress import Display
from chain_of_zoom.cli.signed import write_signed
from chain_of_zoom.cli.step_times import StepClock
from chain_of_zoom.cli.terminal import echo, echo_lines
from chain_of_zoom.cli.zoom_one import notes
from chain_of_zoom.provenance.identity import Identity


class BatchProgress(Watcher):
    """Moves the bar. Tasks still to come are expected to need as many enlargements as those so far did."""

    def __init__(
        self, display: Display, tasks: int, clock: StepClock, *, debug: bool, reword: Callable[[str], str] = str
    ) -> None:
        self.clock = clock
        self.reword = reword
        self.display = display
        self.debug = debug
        self.waiting = tasks
        self.tasks = tasks
        self.needed: list[int] = []  # enlargements, of every task that needed any
        self.made = 0
        self.due: dict[str, int] = {}  # of the tasks at work

    def on_task_start(self, task: Task) -> None:
        """Name the task."""
        self.waiting -= 1
        self.display.describe(f"{task.name} ({self.tasks - self.waiting} of {self.tasks})")

    def on_task_planned(self, task: Task, enlargements: int) -> None:
        """Learn how much there is to do."""
        if enlargements and task.name not in self.due:
            self.needed.append(enlargements)
        self.due[task.name] = enlargements
        self._show()

    def on_state(self, task: Task, folder: RunFolder, entry: StateRecord, enlarged: bool) -> None:
        """Count an enlargement."""
        self.clock.add(task.name, entry)
        self.made += enlarged
        self.due[task.name] -= enlarged
        self._show()

    def on_group_failed(self, error: Exception) -> None:
        """Say why each goes on alone."""
        self.display.say(f"note: zooms that advanced together stopped ({error}); each goes on alone")

    def on_task_end(self, outcome: Outcome) -> None:
        """Say what came of it; what a failed task left out will not be made."""
        self.due.pop(outcome.task.name, None)
        self._show()
        if self.debug and outcome.error:
            echo_lines("".join(traceback.format_exception(outcome.error)), err=True)
        self.display.say(self.reword(_line(outcome)))

    def _show(self) -> None:
        if self.needed:
            typical = sum(self.needed) / len(self.needed)
            self.display.expect(round(self.made + sum(self.due.values()) + self.waiting * typical), done=self.made)


class ClusterProgress(BatchProgress):
    """Moves the bar by whole zooms, since workers elsewhere do not tell of single enlargements."""

    def on_task_end(self, outcome: Outcome) -> None:
        """Count the zoom, and say what came of it."""
        self.waiting -= 1
        self.display.expect(self.tasks, done=self.tasks - self.waiting)
        super().on_task_end(outcome)


def zoom_many(
    chain: ChainOfZoom,
    tasks: list[Task],
    out: Path,
    *,
    layout: Layout,
    force: bool,
    skip_done: bool,
    animate: bool,
    identity: Identity | None,
    show: bool,
    as_json: bool,
    debug: bool,
    clock: StepClock,
    executor: Executor | None = None,
    reword: Callable[[str], str] = str,
) -> int:
    """Run the tasks; `out` receives a folder for each. Returns the exit code: 0, or that of the first failure.

    executor: where the zooms are made; here by default. reword: names addresses in a line instead of paths.
    """
    lines: dict[str, None] = {}
    with Display(f"{len(tasks)} zooms with {chain.backbone.info.name}", show=show) as display:
        progress = (ClusterProgress if executor else BatchProgress)(
            display, len(tasks), clock, debug=debug, reword=reword
        )
        batch = Batch(
            chain, tasks, out,
            layout=layout, force=force, skip_done=skip_done, animate=animate, watcher=progress, executor=executor,
        )  # fmt: skip
        for outcome in batch.run():
            if record := outcome.record:
                write_signed(
                    outcome.folder, record.files, outcome.task.photo, record.input.sha256, identity, show=False
                )
                lines.update(dict.fromkeys(notes(chain, [outcome.task.request.prompt], record.states)))
    summary = batch.report.summary
    if as_json:
        echo_lines(summary.to_json())
    elif show:
        echo(f"{reword(str(out / INDEX))}  all of them: look at this first")
        for note in lines:
            echo(f"note: {note}")
        echo(f"{summary.done} done, {summary.kept} kept from before, {summary.failed} failed")
    for run in summary.runs:
        if run.error:
            echo(f"error: {_failure(run)}", err=True)
    return summary.exit_code


def _line(outcome: Outcome) -> str:
    if outcome.record is None:
        return f"{outcome.folder}  failed: {outcome.error}"
    states = outcome.record.states
    beyond = sum(state.beyond_evidence for state in states)
    states_text = f"{len(states)} states to {magnification_name(states[-1].magnification)}"
    limit = f", {beyond} beyond evidence" if beyond else ""
    fallbacks = "".join(f"; {note}" for note in dict.fromkeys(note for state in states for note in state.fallbacks))
    outcome_text = "kept from before" if outcome.status == "kept" else f"{outcome.seconds:.1f} s"
    return f"{outcome.folder}  {states_text}{limit}  ({outcome_text}{fallbacks})"


def _failure(run: RunSummary) -> str:
    """The photo and what is wrong with it, which often begins with its name."""
    assert run.error
    name = Path(run.photo).name
    return run.error.message if name in run.error.message else f"{name}: {run.error.message}"
