"""Runs a batch: one zoom after the other with the same models, the next photo decoded meanwhile, failures noted."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

from chain_of_zoom.api import FOLDERS, ChainOfZoom, Layout
from chain_of_zoom.batch.report import Outcome, Report
from chain_of_zoom.batch.tasks import Task, printable
from chain_of_zoom.chain.folder import RunFolder, finished
from chain_of_zoom.chain.record import Record, StateRecord
from chain_of_zoom.errors import BadInputError, MissingError, OccupiedError, OutputError
from chain_of_zoom.imaging.decode import ACCEPTED
from chain_of_zoom.imaging.images import Picture
from chain_of_zoom.models.files import file_sha256


class Watcher:
    """Hears of a batch while it runs; overridden by whoever shows it."""

    def begun(self, task: Task) -> None:
        """A task has its turn."""

    def planned(self, task: Task, enlargements: int) -> None:
        """Its photo is there, and so many enlargements are still to be made."""

    def state(self, folder: RunFolder, entry: StateRecord, enlarged: bool) -> None:
        """A state was written."""

    def ended(self, outcome: Outcome) -> None:
        """A task is over; an error still has its traceback here, and not later, since that holds the photo."""


class Batch:
    """Zooms of many photos into one folder: a folder for each run, summary.json, index.html and thumbnails.

    tasks: each with a name of its own (see `named`). skip_done: keep runs that are complete for the same photo and
    settings without reading their states, whatever versions of the software made them. The rest is as for one zoom.
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
        self._decoded: Picture | None = None

    def run(self) -> Iterator[Outcome]:
        """Yield outcomes in the order of the tasks; summary and page are up to date at each.

        What is wrong with one photo or spot is a failed outcome. Raises OccupiedError when the whole folder is in use
        or somebody else's, OutputError as soon as nothing can be written any more, and MissingError.
        """
        with self.report, ThreadPoolExecutor(1) as pool:
            coming = deque(pool.submit(self._look, task) for task in self.tasks[:1])
            for task, following in zip(self.tasks, [*self.tasks[1:], None], strict=True):
                started = time.perf_counter()
                self.watcher.begun(task)
                wait(coming)
                if following:  # this photo has been read: now the next one, and no more, meanwhile
                    coming.append(pool.submit(self._look, following))
                outcome = self._outcome(task, coming.popleft(), started)
                self.report.add(outcome)
                self.watcher.ended(outcome)
                _drop_frames(outcome.error)
                yield outcome

    def _look(self, task: Task) -> Picture | Record:
        """The photo, or the record of its complete run; only one thread calls it."""
        if printable(task.photo) != str(task.photo):
            raise BadInputError(f"{printable(task.photo)}: the name is not UTF-8; accepted: any other; rename it")
        if task.photo.is_dir():
            raise BadInputError(f"{task.photo}: no pictures in this folder; {ACCEPTED}; --recursive looks further down")
        if not self.force and (record := self._kept(task)):
            return record
        if self._decoded is None or self._decoded.path != task.photo:
            self._decoded = None  # or two photos would be here, and a third at work
            self._decoded = self.chain.picture(task.photo)
        return self._decoded

    def _kept(self, task: Task) -> Record | None:
        record = finished(self._home(task), intact=not self.skip_done)
        if self.animate and not self.skip_done and not (record and record.animation):
            return None
        try:
            if record is None or file_sha256(task.photo) != record.input.sha256:
                return None
        except OSError:
            return None  # it is opened once more to be zoomed into, and then the error is told
        ours = self.chain.begin(record.input, task.request)
        return None if ours.difference(record, but="software" if self.skip_done else "") else record

    def _outcome(self, task: Task, coming: Future[Picture | Record], started: float) -> Outcome:
        record, error, kept = None, None, False
        try:
            found = coming.result()
            kept = isinstance(found, Record)
            record = found if isinstance(found, Record) else self._zoom(task, found)
        except Exception as caught:  # whatever is wrong with one photo, the others go on
            if coming.exception() is None and _is_everyones(caught):
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

    def _zoom(self, task: Task, photo: Picture) -> Record:
        zoom = self.chain.prepare(photo, task.request)
        path = self._path(task)
        with self.chain.open_folder(zoom, path, name=task.name, force=self.force, layout=self.layout) as folder:
            enlarge = [step.enlarge for step in zoom.steps]
            self.watcher.planned(task, sum(enlarge[len(folder.done) :]))
            for _, entry in self.chain.write(zoom, folder, animate=self.animate):
                self.watcher.state(folder, entry, enlarge[len(folder.record.states) - 1])
        return folder.record

    def _path(self, task: Task) -> Path:
        return self.out if self.layout == "published" else self.out / task.name

    def _home(self, task: Task) -> Path:
        """Where the record lies."""
        return FOLDERS[self.layout].home(self._path(task), task.name)


def _is_everyones(error: Exception) -> bool:
    """True when every other task would fail in the same way."""
    return isinstance(error, OutputError | MissingError) and not isinstance(error, OccupiedError)


def _drop_frames(error: BaseException | None) -> None:
    """Let go of the tracebacks, which would keep the photo in memory."""
    while error:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__
