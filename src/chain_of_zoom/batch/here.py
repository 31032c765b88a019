"""Makes the zooms of a batch in this process: one after the other, or groups that advance together where that pays.

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
from chain_of_zoom.batch.executors import BatchOptions, Watcher
from chain_of_zoom.batch.report import Outcome
from chain_of_zoom.batch.tasks import Task, check_folder
from chain_of_zoom.batch.together import TaskRun, zoom_together
from chain_of_zoom.chain.folder import read_finished
from chain_of_zoom.chain.record import BackboneRecord, Record
from chain_of_zoom.chain.run import ZoomRun, begin_record
from chain_of_zoom.errors import MissingError, OccupiedError, OutputError
from chain_of_zoom.imaging.images import Picture
from chain_of_zoom.weights.files import file_sha256

READERS = 4
"""Photos decoded at the same time, at most."""


class Here:
    """Makes zooms with one chain, in this process."""

    is_ordered = True

    def __init__(self, chain: ChainOfZoom) -> None:
        self.chain = chain

    def prepare(self, tasks: Sequence[Task], options: BatchOptions) -> tuple[BackboneRecord, str]:
        """Return the backbone and the prompter's name. Raises MissingError for weights that are not there."""
        return self.chain.backbone_record, self.chain.prompter.name

    def map(self, tasks: Sequence[Task], options: BatchOptions, watcher: Watcher) -> Iterator[Outcome]:
        """Yield outcomes in the order of the tasks.

        What is wrong with one photo or spot is a failed outcome. Raises OutputError as soon as nothing can be written
        any more, and MissingError.
        """
        return ZoomLoop(self.chain, options, watcher).run(tasks)

    def close(self) -> None:
        """Do nothing: the chain is the caller's."""


class ZoomLoop:
    """The zooms of one batch, with the photos that are decoded at the moment."""

    def __init__(self, chain: ChainOfZoom, options: BatchOptions, watcher: Watcher) -> None:
        self.chain = chain
        self.options = options
        self.watcher = watcher
        self._decoded: WeakValueDictionary[Path, Picture] = WeakValueDictionary()
        self._reading: dict[Path, Lock] = {}

    def run(self, tasks: Sequence[Task]) -> Iterator[Outcome]:
        """Yield the outcome of every task, in order."""
        together = self.options.together or self.chain.pictures_at_once(len(tasks))
        groups = [tasks[i : i + together] for i in range(0, len(tasks), together)]
        with ThreadPoolExecutor(min(together, READERS)) as pool:
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
                    yield self._outcome(task, looked.pop(0), records.get(task.name), shared)

    def _look(self, task: Task) -> Picture | Record:
        """Read the photo, once for tasks that follow one another, or the record of its complete run."""
        check_folder(task.photo)
        if not self.options.force and (record := self._find_complete_run(task)):
            return record
        with self._reading.setdefault(task.photo, Lock()):
            photo = self._decoded.get(task.photo)
            if photo is None:
                photo = self._decoded[task.photo] = self.chain.read_photo(task.photo)
            return photo

    def _find_complete_run(self, task: Task) -> Record | None:
        """Read the record of an earlier run that is complete, of the same photo and settings; None without one."""
        record = read_finished(self.options.locate_record(task), intact=not self.options.skip_done)
        if self.options.animate and not self.options.skip_done and not (record and record.animation):
            return None
        try:
            if record is None or file_sha256(task.photo) != record.input.sha256:
                return None
        except OSError:
            return None  # the error is raised when the photo is opened to zoom into it
        new_record = begin_record(self.chain, record.input, task.request)
        return None if new_record.difference(record, ignored="software" if self.options.skip_done else "") else record

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
            if coming.exception() is None and affects_every_task(exception):
                raise
            status, error = "failed", exception
        return Outcome(
            task=task,
            folder=self.options.locate_record(task),
            status=status,
            record=record,
            error=error,
            seconds=time.perf_counter() - started,
        )

    def _open(self, task: Task, photo: Picture) -> ZoomRun:
        earlier = None if self.options.force else self.options.locate_record(task)
        run = self.chain.plan(photo, task.request, earlier=earlier)
        run.open(self.options.locate(task), name=task.name, force=self.options.force, layout=self.options.layout)
        return run

    def _zoom(self, task: Task, photo: Picture) -> Record:
        run = self._open(task, photo)
        with run.folder as folder:
            self.watcher.on_task_planned(task, run.count_enlargements(len(folder.finished_states)))
            for _, entry in run.write(choose_encoder(self.options.animate)):
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
                zoom_together(runs, choose_encoder(self.options.animate), on_state=self.watcher.on_state)
            except Exception as error:
                self.watcher.on_group_failed(error)
            records = {task_run.task.name: task_run.run.folder.record for task_run in runs}
            return {name: record for name, record in records.items() if record.complete}


def affects_every_task(error: Exception) -> bool:
    """Return whether every other task would fail in the same way."""
    return isinstance(error, OutputError | MissingError) and not isinstance(error, OccupiedError)
