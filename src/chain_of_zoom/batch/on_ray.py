"""Makes the zooms of a batch on a Ray cluster: rows are descriptions; photos and results lie where all nodes see them.

Records are the checkpoint: whatever dies, the same command goes on where they end.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import Any, Literal

from chain_of_zoom.api import ChainOfZoom
from chain_of_zoom.batch.executors import BatchOptions, Watcher
from chain_of_zoom.batch.here import ZoomLoop
from chain_of_zoom.batch.report import Outcome, write_thumbnail
from chain_of_zoom.batch.tasks import Task
from chain_of_zoom.chain.record import BackboneRecord, Record
from chain_of_zoom.cluster.joining import Crew
from chain_of_zoom.cluster.nodes import BuildChain, share_places
from chain_of_zoom.cluster.pool import DEPTH, ChainPool, open_pool
from chain_of_zoom.errors import BackboneError, InUseError, rebuild

BUSY_SECONDS = 60.0
"""Seconds that a worker waits for a folder in which one on a lost node may still be writing."""


@dataclass(frozen=True, kw_only=True)
class RowAnswer:
    """Says how a task ended on a worker, in text and numbers."""

    status: Literal["done", "kept", "failed"]
    """How it ended."""
    seconds: float
    """Seconds that it took there."""
    record: bytes | None
    """Record of a complete run, as JSON."""
    error: tuple[str, str] | None
    """Class and message of the error of a failed one."""


def count_together(chain: ChainOfZoom, tasks: int) -> int:
    """Count how many of so many photos should advance together on a worker."""
    return chain.pictures_at_once(tasks)


def zoom_rows(chain: ChainOfZoom, tasks: Sequence[Task], options: BatchOptions) -> list[RowAnswer]:
    """Zoom into photos that advance together on a worker, and draw their thumbnails.

    A folder that another process writes to is waited for. Raises OutputError and MissingError that are everybody's.
    """
    options = replace(options, together=len(tasks))
    answers = []
    for outcome in ZoomLoop(chain, options, Watcher()).run(tasks):
        patience = time.monotonic() + BUSY_SECONDS
        while isinstance(outcome.error, InUseError) and time.monotonic() < patience:
            time.sleep(0.5)
            (outcome,) = ZoomLoop(chain, options, Watcher()).run([outcome.task])
        answers.append(_describe(outcome, options))
    return answers


def _describe(outcome: Outcome, options: BatchOptions) -> RowAnswer:
    record, error = outcome.record, outcome.error
    if record:
        for entry in (record.states[0], record.states[-1]):
            write_thumbnail(options.out, outcome.folder / entry.file, entry.sha256)
    return RowAnswer(
        status=outcome.status,
        seconds=outcome.seconds,
        record=record.to_json() if record else None,
        error=(type(error).__name__, str(error)) if error else None,
    )


class OnRay:
    """Makes zooms with many chains, on the nodes of a cluster."""

    is_ordered = False

    def __init__(self, build: BuildChain, crew: Crew) -> None:
        """Connect with nothing yet. build: makes the chain of a worker; it has to survive pickling."""
        self.build = build
        self.crew = crew
        self._pool: ChainPool | None = None

    def prepare(self, tasks: Sequence[Task], options: BatchOptions) -> tuple[BackboneRecord, str]:
        """Join the cluster, compare its nodes and begin to start workers.

        Raises MissingError without Ray or where nodes differ, and OutputError where one does not see a folder.
        """
        photos = [task.photo.absolute() for task in tasks]
        with share_places(photos, options.out.absolute()) as places:
            self._pool = open_pool(self.build, self.crew, places, most=len(tasks))
        return self._pool.report.backbone, self._pool.report.prompter

    def map(self, tasks: Sequence[Task], options: BatchOptions, watcher: Watcher) -> Iterator[Outcome]:
        """Yield the outcome of every task as it ends, wherever.

        Photos that advance together and of which a worker died, for want of memory perhaps, are tried one by one.
        """
        assert self._pool, "prepare comes first"
        pool, there = self._pool, replace(options, out=options.out.absolute())
        size = options.together or pool.ask(count_together, len(tasks))
        groups = deque(tasks[start : start + size] for start in range(0, len(tasks), size))
        running: dict[Future[Any], Sequence[Task]] = {}
        with ThreadPoolExecutor(DEPTH * pool.size) as threads:
            try:
                while groups or running:
                    while groups and len(running) < DEPTH * pool.size:
                        group = groups.popleft()
                        rows = [replace(task, photo=task.photo.absolute()) for task in group]
                        running[threads.submit(pool.ask, zoom_rows, rows, there)] = group
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        group = running.pop(future)
                        error = future.exception()
                        if isinstance(error, BackboneError) and len(group) > 1:
                            watcher.on_group_failed(error)
                            groups += [[task] for task in group]
                            continue
                        answers = [_describe_death(error)] if isinstance(error, BackboneError) else future.result()
                        for task, answer in zip(group, answers, strict=True):
                            yield _read(task, answer, options)
            finally:
                pool.close()  # nobody waits any more: the threads end

    def close(self) -> None:
        """End the workers and leave the cluster."""
        if self._pool:
            self._pool.close()


def _describe_death(error: BackboneError) -> RowAnswer:
    return RowAnswer(status="failed", seconds=0.0, record=None, error=(type(error).__name__, str(error)))


def _read(task: Task, answer: RowAnswer, options: BatchOptions) -> Outcome:
    return Outcome(
        task=task,
        folder=options.locate_record(task),
        status=answer.status,
        record=Record.from_json(answer.record) if answer.record else None,
        error=rebuild(*answer.error) if answer.error else None,
        seconds=answer.seconds,
    )
