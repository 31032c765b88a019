"""Runs a batch with the same models: one zoom after the other, or groups that advance together where that pays.

The next photos are decoded meanwhile, and failures noted.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from pathlib import Path
from threading import Lock
from typing import Literal
from weakref import WeakValueDictionary

from chain_of_zoom.api import ChainOfZoom, choose_encoder
from chain_of_zoom.batch.report import Outcome, Report
from chain_of_zoom.batch.tasks import Task, check_folder
from chain_of_zoom.batch.together import TaskRun, zoom_together
from chain_of_zoom.chain.folder import RunFolder, read_finished
from chain_of_zoom.chain.record import Record, StateRecord
from chain_of_zoom.chain.run import FOLDERS, Layout, ZoomRun, begin_record
from chain_of_zoom.errors import MissingError, OccupiedError, OutputError, UsageError
from chain_of_zoom.imaging.images import Picture
from chain_of_zoom.weights.files import file_sha256

READERS = 4
"""Photos decoded at the same time, at most."""


class Watcher:
    """Receives the events of a batch, in several threads; subclasses show them to the user."""

    def on_task_start(self, task: Task) -> None:
        """Called when a task has its turn."""

    def on_task_planned(self, task: Task, enlargements: int) -> None:
        """Called when the photo is read, with the number of enlargements that are still to be made."""

    def on_state(self, task: Task, folder: RunFolder, entry: StateRecord, enlarged: bool) -> None:
        """Called when a state is written."""

    def on_group_failed(self, error: Exception) -> None:
        """Called when an error stops zooms that advanced together, after which each goes on alone."""

    def on_task_end(self, outcome: Outcome) -> None:
        """Called when a task is over.

        An error has its traceback only during this call, since tracebacks keep the photo in memory.
        """


class Batch:
    """Zooms into many photos and writes a folder for each run, summary.json, index.html and thumbnails.

    tasks: each with a name of its own (see `assign_folder_names`). skip_done: keep runs that are complete for the same
    photo and settings without reading their states, whatever versions of the software made them. together: how many
    photos advance together; by default as many as pay on this machine. The rest is as for one zoom.
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
    ) -> None:
        self.chain = chain
        self.tasks = tasks
        self.out = out
        self.layout: Layout = layout
        self.force = force
        self.skip_done = skip_done
        self.animate = animate
        self.watcher = watcher or Watcher()
        self.report = Report(chain, tasks, out, force=force)
        if together is not None and together < 1:
            raise UsageError(f"together {together}; accepted: 1 or more; for example together=8")
        self.together = together or chain.pictures_at_once(len(tasks))
        self._decoded: WeakValueDictionary[Path, Picture] = WeakValueDictionary()
        self._reading: dict[Path, Lock] = {}

    def run(self) -> Iterator[Outcome]:
        """Yield outcomes in the order of the tasks; summary and page are up to date at each.

        What is wrong with one photo or spot is a failed outcome. Raises OccupiedError when the whole folder is in use
        or somebody else's, OutputError as soon as nothing can be written any more, and MissingError.
        """
        groups = [self.tasks[i : i + self.together] for i in range(0, len(self.tasks), self.together)]
        with self.report, ThreadPoolExecutor(min(self.together, READERS)) as pool:
            coming = [pool.submit(self._look, task) for group in groups[:1] for task in group]
            for group, following in zip(groups, [*groups[1:], ()], strict=True):
                started = time.perf_counter()
                for task in group:
                    self.watcher.on_task_start(task)
                wait(coming)
                looked = coming
                # These photos have been read: now the next ones, and no more, meanwhile.
                coming = [pool.submit(self._look, task) for task in following]
                records = self._zoom_together(group, looked) if len(group) > 1 else {}
                shared = (time.perf_counter() - started) / len(group)
                for task in group:
                    outcome = self._outcome(task, looked.pop(0), records.get(task.name), shared)
                    self.report.add(outcome)
                    self.watcher.on_task_end(outcome)
                    _drop_frames(outcome.error)
                    yield outcome

    def _look(self, task: Task) -> Picture | Record:
        """Read the photo, once for tasks that follow one another, or the record of its complete run."""
        check_folder(task.photo)
        if not self.force and (record := self._find_complete_run(task)):
            return record
        with self._reading.setdefault(task.photo, Lock()):
            photo = self._decoded.get(task.photo)
            if photo is None:
                photo = self._decoded[task.photo] = self.chain.read_photo(task.photo)
            return photo

    def _find_complete_run(self, task: Task) -> Record | None:
        """Read the record of an earlier run that is complete, of the same photo and settings; None without one."""
        record = read_finished(self._home(task), intact=not self.skip_done)
        if self.animate and not self.skip_done and not (record and record.animation):
            return None
        try:
            if record is None or file_sha256(task.photo) != record.input.sha256:
                return None
        except OSError:
            return None  # the error is raised when the photo is opened to zoom into it
        new_record = begin_record(self.chain, record.input, task.request)
        return None if new_record.difference(record, ignored="software" if self.skip_done else "") else record

    def _outcome(self, task: Task, coming: Future[Picture | Record], record: Record | None, seconds: float) -> Outcome:
        """Zoom unless there is a record already, and return the outcome. seconds: that the task took until now."""
        started = time.perf_counter() - seconds
        status: Literal["done", "kept", "failed"] = "done"
        error: Exception | None = None
        try:
            photo = coming.result()
            if isinstance(photo, Record):
                status, record = "kept", photo
            elif record is None:
                record = self._zoom(task, photo)
        except Exception as exception:  # whatever is wrong with one photo, the others go on
            if coming.exception() is None and _affects_every_task(exception):
                raise
            status, error = "failed", exception
        return Outcome(
            task=task,
            folder=self._home(task),
            status=status,
            record=record,
            error=error,
            seconds=time.perf_counter() - started,
        )

    def _open(self, task: Task, photo: Picture) -> ZoomRun:
        run = self.chain.plan(photo, task.request, earlier=None if self.force else self._home(task))
        run.open(self._path(task), name=task.name, force=self.force, layout=self.layout)
        return run

    def _zoom(self, task: Task, photo: Picture) -> Record:
        run = self._open(task, photo)
        with run.folder as folder:
            self.watcher.on_task_planned(task, run.count_enlargements(len(folder.finished_states)))
            for _, entry in run.write(choose_encoder(self.animate)):
                self.watcher.on_state(task, folder, entry, run.steps[len(folder.record.states) - 1].enlarge)
        return folder.record

    def _zoom_together(self, group: Sequence[Task], looked: Sequence[Future[Picture | Record]]) -> dict[str, Record]:
        """Zoom into the photos of a group together and return the records of complete runs by name.

        The other tasks are tried alone afterwards: they go on where they are, and raise their errors themselves.
        """
        with ExitStack() as stack:
            runs = []
            for task, coming in zip(group, looked, strict=True):
                try:
                    photo = coming.result()
                    if isinstance(photo, Record):
                        continue
                    run = self._open(task, photo)
                except Exception:
                    continue
                folder = stack.enter_context(run.folder)
                runs.append(TaskRun(task, run, list(folder.finished_states)))
                self.watcher.on_task_planned(task, run.count_enlargements(len(folder.finished_states)))
            try:
                zoom_together(runs, choose_encoder(self.animate), on_state=self.watcher.on_state)
            except Exception as error:
                self.watcher.on_group_failed(error)
            records = {task_run.task.name: task_run.run.folder.record for task_run in runs}
            return {name: record for name, record in records.items() if record.complete}

    def _path(self, task: Task) -> Path:
        return self.out if self.layout == "published" else self.out / task.name

    def _home(self, task: Task) -> Path:
        """Return the folder of the record."""
        return FOLDERS[self.layout].home(self._path(task), task.name)


def _affects_every_task(error: Exception) -> bool:
    """Return whether every other task would fail in the same way."""
    return isinstance(error, OutputError | MissingError) and not isinstance(error, OccupiedError)


def _drop_frames(error: BaseException | None) -> None:
    """Drop the tracebacks, which would keep the photo in memory."""
    while error:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__
