"""What a worker on a cluster does: rows of a batch, which are descriptions, and never pixels."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from chain_of_zoom.api import ChainOfZoom
from chain_of_zoom.batch.executors import BatchOptions, Watcher
from chain_of_zoom.batch.here import ZoomLoop
from chain_of_zoom.batch.report import Outcome, write_thumbnail
from chain_of_zoom.batch.tasks import Task
from chain_of_zoom.errors import InUseError

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
    thumbnails: dict[str, bytes] = field(default_factory=dict)
    """Files of thumbnails by name, where the page is made by a process that does not see them."""


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
