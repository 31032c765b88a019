"""Makes the zooms of a batch on a Ray cluster: rows are descriptions; photos and results lie where all nodes see them.

Records are the checkpoint: whatever dies, the same command goes on where they end.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence, Set
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from chain_of_zoom.batch.executors import BatchOptions, Watcher
from chain_of_zoom.batch.far import publish, zoom_far_rows
from chain_of_zoom.batch.report import Outcome
from chain_of_zoom.batch.rows import RowAnswer, count_together, zoom_rows
from chain_of_zoom.batch.summary import THUMBNAILS
from chain_of_zoom.batch.tasks import Task
from chain_of_zoom.chain.record import BackboneRecord, Record
from chain_of_zoom.cluster.joining import Crew
from chain_of_zoom.cluster.nodes import BuildChain, share_places
from chain_of_zoom.cluster.pool import FAREWELL, ChainPool, open_pool
from chain_of_zoom.cluster.stores import StoreMirror
from chain_of_zoom.errors import BackboneError, UsageError, rebuild
from chain_of_zoom.files import is_temporary, make_inner_folder, remove_stale, write_atomic

SEND_SECONDS = 30.0
"""Seconds between two versions of summary and page in an object store."""


class OnRay:
    """Makes zooms with many chains, on the nodes of a cluster."""

    is_ordered = False

    def __init__(self, build: BuildChain, crew: Crew, mirror: StoreMirror | None = None) -> None:
        """Connect with nothing yet. build: makes the chain of a worker; it has to survive pickling.

        mirror: stands for the object stores of photos and results that lie in it, and is removed in the end.
        """
        self.build = build
        self.crew = crew
        self.mirror = mirror
        self._out: Path | None = None
        self._pool: ChainPool | None = None

    def prepare(self, tasks: Sequence[Task], options: BatchOptions) -> tuple[BackboneRecord, str]:
        """Join the cluster, compare its nodes and begin to start workers.

        Raises MissingError without Ray or where nodes differ, and OutputError where one does not see a folder.
        """
        photos = [task.photo.absolute() for task in tasks]
        if self.mirror and options.layout == "published":
            raise UsageError("--layout published with addresses; accepted: folders of paths; leave --layout out")
        with share_places(photos, options.out.absolute(), self.mirror) as places:
            self._pool = open_pool(self.build, self.crew, places, most=len(tasks))
        return self._pool.report.backbone, self._pool.report.prompter

    def map(self, tasks: Sequence[Task], options: BatchOptions, watcher: Watcher) -> Iterator[Outcome]:
        """Yield the outcome of every task as it ends, wherever.

        Photos that advance together and of which a worker died, for want of memory perhaps, are tried one by one.
        """
        assert self._pool, "prepare comes first"
        pool, there = self._pool, replace(options, out=options.out.absolute())
        size = options.together or pool.ask(count_together, len(tasks))
        make = partial(pool.ask, zoom_far_rows) if self.mirror else partial(pool.ask, zoom_rows)
        root = [self.mirror.root] if self.mirror else []
        self._out, sent = options.out, time.monotonic()
        groups = deque(tasks[start : start + size] for start in range(0, len(tasks), size))
        running: dict[Future[Any], Sequence[Task]] = {}
        with ThreadPoolExecutor(pool.lanes) as threads:
            try:
                while groups or running:
                    while groups and len(running) < pool.lanes:
                        group = groups.popleft()
                        rows = [replace(task, photo=task.photo.absolute()) for task in group]
                        running[threads.submit(make, rows, there, *root)] = group
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
                    if self.mirror and time.monotonic() - sent > SEND_SECONDS:
                        publish(self.mirror, options.out)
                        sent = time.monotonic()
            finally:
                pool.close()  # nobody waits any more: the threads end
                if running and not self.mirror:
                    remove_leftovers(
                        {options.out / THUMBNAILS} | set(map(options.locate_record, chain(*running.values())))
                    )

    def close(self) -> None:
        """End the workers and leave the cluster; send summary and page to where they belong."""
        if self._pool:
            self._pool.close()
        if self.mirror:
            with self.mirror:
                if self._out:
                    publish(self.mirror, self._out)


def remove_leftovers(folders: Set[Path]) -> None:
    """Remove what workers that were ended had half written, as soon as they are gone."""
    end = time.monotonic() + FAREWELL
    while any(is_temporary(path.name) for folder in folders for path in folder.glob(".*.tmp")):
        for folder in folders:
            remove_stale(folder)
        if time.monotonic() > end:
            break
        time.sleep(0.05)


def _describe_death(error: BackboneError) -> RowAnswer:
    return RowAnswer(status="failed", seconds=0.0, record=None, error=(type(error).__name__, str(error)))


def _read(task: Task, answer: RowAnswer, options: BatchOptions) -> Outcome:
    for name, data in answer.thumbnails.items():
        write_atomic(make_inner_folder(options.out, THUMBNAILS) / name, data)
    return Outcome(
        task=task,
        folder=options.locate_record(task),
        status=answer.status,
        record=Record.from_json(answer.record) if answer.record else None,
        error=rebuild(*answer.error) if answer.error else None,
        seconds=answer.seconds,
    )
