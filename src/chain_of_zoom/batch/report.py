"""Writes the report of a batch: `summary.json` for programs, `index.html` with thumbnails for people."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import msgspec

from chain_of_zoom.batch.summary import INDEX, SUMMARY, THUMBNAILS, Failure, RunSummary, StateSummary, Summary
from chain_of_zoom.batch.tasks import Task
from chain_of_zoom.chain.folder import RECORD
from chain_of_zoom.chain.record import BackboneRecord, Record
from chain_of_zoom.errors import OutputError
from chain_of_zoom.files import explain_write_errors, make_inner_folder, relate, write_atomic
from chain_of_zoom.parsing import printable
from chain_of_zoom.runs.folder import WorkFolder

QUIET_SECONDS = 2.0
"""Seconds between two versions of the page while runs are merely kept."""
LEISURE = 20
"""A page that may wait does so for this many times what it takes to write: those of 100,000 zooms are long."""
_THUMBNAIL = re.compile(r"[0-9a-f]{16}\.webp")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Says how a task of a batch ended."""

    task: Task
    """The task."""
    folder: Path
    """Folder of the run."""
    status: Literal["done", "kept", "failed"]
    """"done" in this call, "kept" complete from an earlier one, or "failed" with an error."""
    record: Record | None
    """Record of a complete run."""
    error: Exception | None
    """Reason of a failure."""
    seconds: float
    """Seconds that it took in this call."""


class SummaryFolder(WorkFolder[Summary]):
    """The folder of a batch; any batch may go on in that of another, whose summary and page it replaces."""

    marker = SUMMARY
    owns = (INDEX,)

    def parse(self, data: bytes) -> Summary:
        """Read the summary of an earlier batch."""
        return Summary.from_json(data)

    def clear(self, earlier: Summary | None) -> None:
        """Remove nothing: runs of earlier batches stay."""


class Report:
    """Keeps summary and page of a batch up to date and locks its folder, inside a `with` block."""

    def __init__(
        self,
        backbone: BackboneRecord,
        prompter: str,
        tasks: Sequence[Task],
        out: Path,
        *,
        force: bool = False,
        pause: float = 0.0,
    ) -> None:
        """Describe tasks that wait. prompter: its name. pause: least seconds between two versions of the page."""
        self.backbone = backbone
        self.prompter = prompter
        self.out = out
        self.force = force
        self.pause = pause
        self.places = {task.name: index for index, task in enumerate(tasks)}
        self.runs = [
            RunSummary(name=task.name, photo=self._relative(task.photo), settings=task.request) for task in tasks
        ]
        self._saved, self._cost = 0.0, 0.0

    def __enter__(self) -> Self:
        """Make and lock the folder. Raises OccupiedError when it is in use or holds a page of another program."""
        self._folder = SummaryFolder(self.out, force=self.force)
        try:
            self._save(running=True)
        except BaseException:
            self._folder.close()
            raise
        return self

    def __exit__(self, kind: object, *error: object) -> None:
        try:
            if kind is None:
                self._save(running=False)
                self._tidy()
            else:
                with suppress(OutputError):  # the error that ended the block matters more
                    self._save(running=False)
        finally:
            self._folder.close()

    def add(self, outcome: Outcome) -> None:
        """Add the outcome of a task. Raises OutputError when it cannot be written."""
        place = self.places[outcome.task.name]
        run = msgspec.structs.replace(self.runs[place], status=outcome.status, seconds=outcome.seconds)
        if outcome.error:
            run = msgspec.structs.replace(run, error=Failure.of(outcome.error))
        if outcome.record:
            run = self._with_files(run, outcome.folder, outcome.record)
        self.runs[place] = run
        pause = QUIET_SECONDS if outcome.status == "kept" else self.pause
        if time.monotonic() - self._saved >= max(pause, LEISURE * self._cost if pause else 0.0):
            self._save(running=True)

    @property
    def summary(self) -> Summary:
        """Summary of the batch at this moment."""
        return Summary.of(tuple(self.runs), self.backbone, self.prompter)

    def _with_files(self, run: RunSummary, folder: Path, record: Record) -> RunSummary:
        home = self._relative(folder)
        last = len(record.states) - 1
        states = [
            StateSummary.of(
                entry, home, write_thumbnail(self.out, folder / entry.file, entry.sha256) if i in (0, last) else None
            )
            for i, entry in enumerate(record.states)
        ]
        return msgspec.structs.replace(
            run,
            record=f"{home}/{RECORD}",
            sheet=f"{home}/{record.sheet}",
            animation=f"{home}/{record.animation}" if record.animation else None,
            states=tuple(states),
        )

    def _save(self, *, running: bool) -> None:
        from chain_of_zoom.batch.index import index_page

        started = time.monotonic()
        summary = self.summary
        write_atomic(self.out / SUMMARY, summary.to_json())
        write_atomic(self.out / INDEX, index_page(summary, running=running))
        self._saved = time.monotonic()
        self._cost = self._saved - started

    def _tidy(self) -> None:
        """Remove thumbnails of runs that were replaced."""
        thumbnails = {state.thumbnail for run in self.runs for state in run.states}
        with explain_write_errors(self.out):
            for file in (self.out / THUMBNAILS).glob("*.webp"):
                if _THUMBNAIL.fullmatch(file.name) and f"{THUMBNAILS}/{file.name}" not in thumbnails:
                    file.unlink()

    def _relative(self, path: Path) -> str:
        return printable(relate(path, self.out))


def write_thumbnail(out: Path, state: Path, sha256: str) -> str | None:
    """Write a small copy, named after the hash of the state so that it never shows another one; return its path.

    out: folder of the batch. None for a state that is not there or cannot be read. Raises OutputError.
    """
    from chain_of_zoom.imaging.encode import make_thumbnail

    name = f"{sha256[:16]}.webp"
    if not _THUMBNAIL.fullmatch(name):  # a record from elsewhere may say anything
        return None
    file = out / THUMBNAILS / name
    if not file.is_file():
        make_inner_folder(out, THUMBNAILS)
        try:
            data = make_thumbnail(state.read_bytes())
        except (OSError, SyntaxError, ValueError):  # a state of before, removed or damaged since
            return None
        write_atomic(file, data)
    return f"{THUMBNAILS}/{file.name}"
