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
from weakref import WeakValueDictionary

from chain_of_zoom.api import ChainOfZoom, choose_encoder
from chain_of_zoom.batch.report import Outcome, Report
from chain_of_zoom.batch.tasks import Task, check_folder
from chain_of_zoom.batch.together import TaskRun, zoom_together
from chain_of_zoom.chain.folder import RunFolder, finished
from chain_of_zoom.chain.record import Record, StateRecord
from chain_of_zoom.chain.run import FOLDERS, Layout, ZoomRun, begin_record
from chain_of_zoom.errors import MissingError, OccupiedError, OutputError, UsageError
from chain_of_zoom.imaging.images import Picture
from chain_of_zoom.weights.files import file_sha256

READERS = 4
"""Photos decoded at the same time, at most."""


class Watcher:
    """Hears of a batch while it runs, from several threads; overridden by whoever shows it."""

    def on_task_start(self, task: Task) -> None:
        """A task has its turn."""

    def on_task_planned(self, task: Task, enlargements: int) -> None:
        """Its photo is there, and so many enlargements are still to be made."""

    def on_state(self, task: Task, folder: RunFolder, entry: StateRecord, enlarged: bool) -> None:
        """A state was written."""

    def on_group_failed(self, error: Exception) -> None:
        """Something was wrong with zooms that advanced together; each goes on alone."""

    def on_task_end(self, outcome: Outcome) -> None:
        """A task is over; an error still has its traceback here, and not later, since that holds the photo."""


class Batch:
    """Zooms of many photos into one folder: a folder for each run, summary.json, index.html and thumbnails.

    tasks: each with a name of its own (see `assign_folder_names`). skip_done: keep runs that are complete for the same
    photo and settings without reading their states, whatever versions of the software made them. together: how many
    photos advance together; by default as many as pay on this machine. The rest is as for one zoom.
    Raises MissingError for weights that are not there. `report.summary` says how it stands.
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
        """The photo, decoded once for tasks that follow one another, or the record of its complete run."""
        check_folder(task.photo)
        if not self.force and (record := self._kept(task)):
            return record
        with self._reading.setdefault(task.photo, Lock()):
            photo = self._decoded.get(task.photo)
            if photo is None:
                photo = self._decoded[task.photo] = self.chain.read_photo(task.photo)
            return photo

    def _kept(self, task: Task) -> Record | None:
        record = finished(self._home(task), intact=not self.skip_done)
        if self.animate and not self.skip_done and not (record and record.animation):
            return None
        try:
            if record is None or file_sha256(task.photo) != record.input.sha256:
                return None
        except OSError:
            return None  # it is opened once more to be zoomed into, and then the error is told
        ours = begin_record(self.chain, record.input, task.request)
        return None if ours.difference(record, but="software" if self.skip_done else "") else record

    def _outcome(self, task: Task, coming: Future[Picture | Record], record: Record | None, seconds: float) -> Outcome:
        """What comes of a task, made now unless there is a record already; seconds: that it took until now."""
        started = time.perf_counter() - seconds
        error, kept = None, False
        try:
            found = coming.result()
            kept = isinstance(found, Record)
            record = record or (found if isinstance(found, Record) else self._zoom(task, found))
        except Exception as caught:  # whatever is wrong with one photo, the others go on
            if coming.exception() is None and _affects_every_task(caught):
                raise
            error = caught
        return Outcome(
            task=task,
            folder=self._home(task),
            status="failed" if error else "kept" if kept else "done",
            record=record,
            error=error,
            seconds=time.perf_counter() - started,
        )

    def _open(self, task: Task, photo: Picture) -> ZoomRun:
        run = self.chain.plan(photo, task.request)
        run.open(self._path(task), name=task.name, force=self.force, layout=self.layout)
        return run

    def _zoom(self, task: Task, photo: Picture) -> Record:
        run = self._open(task, photo)
        with run.folder as folder:
            self.watcher.on_task_planned(task, run.count_enlargements(len(folder.done)))
            for _, entry in run.write(choose_encoder(self.animate)):
                self.watcher.on_state(task, folder, entry, run.steps[len(folder.record.states) - 1].enlarge)
        return folder.record

    def _zoom_together(self, group: Sequence[Task], looked: Sequence[Future[Picture | Record]]) -> dict[str, Record]:
        """The records of those that came to their end, by name. The others are left to be tried alone.

        Alone they go on where they are, and say themselves what is wrong.
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
                runs.append(TaskRun(task, run, list(folder.done)))
                self.watcher.on_task_planned(task, run.count_enlargements(len(folder.done)))
            try:
                zoom_together(runs, choose_encoder(self.animate), on_state=self.watcher.on_state)
            except Exception as error:
                self.watcher.on_group_failed(error)
            records = {one.task.name: one.run.folder.record for one in runs}
            return {name: record for name, record in records.items() if record.complete}

    def _path(self, task: Task) -> Path:
        return self.out if self.layout == "published" else self.out / task.name

    def _home(self, task: Task) -> Path:
        """Where the record lies."""
        return FOLDERS[self.layout].home(self._path(task), task.name)


def _affects_every_task(error: Exception) -> bool:
    """True when every other task would fail in the same way."""
    return isinstance(error, OutputError | MissingError) and not isinstance(error, OccupiedError)


def _drop_frames(error: BaseException | None) -> None:
    """Let go of the tracebacks, which would keep the photo in memory."""
    while error:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__
