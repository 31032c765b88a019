"""Where the zooms of a batch are made: here, or on the machines of a cluster; who watches; and what to write."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from chain_of_zoom.batch.report import Outcome
from chain_of_zoom.batch.tasks import Task
from chain_of_zoom.chain.folder import RunFolder
from chain_of_zoom.chain.record import BackboneRecord, StateRecord
from chain_of_zoom.chain.run import FOLDERS, Layout


@dataclass(frozen=True, kw_only=True)
class BatchOptions:
    """Says how the zooms of a batch are written."""

    out: Path
    """Folder of the batch."""
    layout: Layout = "default"
    """Names of the files, as for one zoom."""
    force: bool = False
    """Whether another run in a folder is replaced."""
    skip_done: bool = False
    """Whether complete runs of the same photo and settings are kept as they are, unread."""
    animate: bool = False
    """Whether every run gets an animation."""
    together: int | None = None
    """How many photos advance together; None for as many as pay on the machine."""

    def locate(self, task: Task) -> Path:
        """Return the folder that a task is written to."""
        return self.out if self.layout == "published" else self.out / task.name

    def locate_record(self, task: Task) -> Path:
        """Return the folder of the record of a task."""
        return FOLDERS[self.layout].home(self.locate(task), task.name)


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


class Executor(Protocol):
    """Makes the zooms of a batch, somewhere."""

    @property
    def is_ordered(self) -> bool:
        """Whether outcomes come in the order of the tasks."""

    def prepare(self, tasks: Sequence[Task], options: BatchOptions) -> tuple[BackboneRecord, str]:
        """Make sure that the tasks can be done; return the backbone, as records name it, and the prompter's name.

        Raises MissingError, UsageError and OutputError before anything is made.
        """

    def map(self, tasks: Sequence[Task], options: BatchOptions, watcher: Watcher) -> Iterator[Outcome]:
        """Yield the outcome of every task as it ends. Raises what every other task would fail of, too."""

    def close(self) -> None:
        """Let go of what `prepare` took, also after an error."""
