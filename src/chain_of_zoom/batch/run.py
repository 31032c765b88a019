"""Runs a batch: an executor makes the zooms, here or elsewhere; this process alone writes summary and page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

from chain_of_zoom.api import ChainOfZoom
from chain_of_zoom.batch.executors import BatchOptions, Executor, Watcher
from chain_of_zoom.batch.here import Here
from chain_of_zoom.batch.report import Outcome, Report
from chain_of_zoom.batch.tasks import Task
from chain_of_zoom.chain.run import Layout
from chain_of_zoom.errors import UsageError

PAUSE = 2.0
"""Seconds between two versions of summary and page where zooms end out of order, many a second."""


class Batch:
    """Zooms into many photos and writes a folder for each run, summary.json, index.html and thumbnails.

    tasks: each with a name of its own (see `assign_folder_names`). skip_done: keep runs that are complete for the same
    photo and settings without reading their states, whatever versions of the software made them. together: how many
    photos advance together; by default as many as pay on this machine. executor: where the zooms are made; here by
    default. The rest is as for one zoom.
    Raises MissingError for weights that are not there. `report.summary` holds the state of the batch.
    """

    def __init__(
        self,
        chain: ChainOfZoom,
        tasks: Sequence[Task],
        out: Path,
        *,
        layout: Layout = "default",
        force: bool = False,
        skip_done: bool = False,
        animate: bool = False,
        together: int | None = None,
        watcher: Watcher | None = None,
        executor: Executor | None = None,
    ) -> None:
        if together is not None and together < 1:
            raise UsageError(f"together {together}; accepted: 1 or more; for example together=8")
        self.tasks = tasks
        self.options = BatchOptions(
            out=out, layout=layout, force=force, skip_done=skip_done, animate=animate, together=together
        )
        self.watcher = watcher or Watcher()
        self.executor: Executor = executor or Here(chain)
        if executor is None:
            self.report  # noqa: B018 - here missing weights are said at once

    @cached_property
    def report(self) -> Report:
        """Summary and page; where the executor is prepared first, so that missing weights leave no folder behind."""
        backbone, prompter = self.executor.prepare(self.tasks, self.options)
        pause = 0.0 if self.executor.is_ordered else PAUSE
        return Report(backbone, prompter, self.tasks, self.options.out, force=self.options.force, pause=pause)

    def run(self) -> Iterator[Outcome]:
        """Yield outcomes as the executor has them, here in the order of the tasks; summary and page keep up.

        What is wrong with one photo or spot is a failed outcome. Raises OccupiedError when the whole folder is in use
        or somebody else's, OutputError as soon as nothing can be written any more, and MissingError.
        """
        try:
            with self.report:
                for outcome in self.executor.map(self.tasks, self.options, self.watcher):
                    self.report.add(outcome)
                    self.watcher.on_task_end(outcome)
                    _drop_frames(outcome.error)
                    yield outcome
        finally:
            self.executor.close()


def _drop_frames(error: BaseException | None) -> None:
    """Drop the tracebacks, which would keep the photo in memory."""
    while error:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__
