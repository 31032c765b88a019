"""Zooms whose photos or results lie in object stores: fetched to where the worker is, made there, and sent whole.

A record is sent after all that it lists. So a folder in a store is finished or was not begun.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from chain_of_zoom.api import ChainOfZoom
from chain_of_zoom.batch.executors import BatchOptions
from chain_of_zoom.batch.rows import RowAnswer, zoom_rows
from chain_of_zoom.batch.summary import INDEX, SUMMARY, THUMBNAILS
from chain_of_zoom.batch.tasks import Task
from chain_of_zoom.chain.folder import RECORD, read_finished
from chain_of_zoom.cluster.stores import StoreMirror


def zoom_far_rows(chain: ChainOfZoom, tasks: Sequence[Task], options: BatchOptions, root: Path) -> list[RowAnswer]:
    """Zoom as `zoom_rows` does. root: of the mirror of whoever asks, of whose paths this process has its own.

    Raises OutputError also where a store fails.
    """
    with StoreMirror() as mirror:

        def move(path: Path) -> Path:
            return mirror.root / path.relative_to(root) if path.is_relative_to(root) else path

        rows = [replace(task, photo=move(task.photo)) for task in tasks]
        options = replace(options, out=move(options.out))
        is_far = mirror.find_address(options.out) is not None
        names = {row.name: _fetch_row(mirror, row, options) if is_far else set() for row in rows}
        for row in rows:
            mirror.fetch(row.photo)
        answers = zoom_rows(chain, rows, options)
        if is_far:
            for row, answer in zip(rows, answers, strict=True):
                folder = options.locate_record(row)
                if answer.status != "kept" and (folder / RECORD).is_file():
                    mirror.send_folder(folder, RECORD, names[row.name])
        thumbnails = {path.name: path.read_bytes() for path in sorted((options.out / THUMBNAILS).glob("*.webp"))}
        if is_far:
            for name in thumbnails:
                mirror.send(options.out / THUMBNAILS / name)
        errors = [answer.error and (answer.error[0], mirror.reword(answer.error[1])) for answer in answers]
        return [
            replace(answer, error=error, thumbnails=thumbnails if is_far else {})
            for answer, error in zip(answers, errors, strict=True)
        ]


def _fetch_row(mirror: StoreMirror, row: Task, options: BatchOptions) -> set[str]:
    """Fetch what an earlier run has left of a row; of a finished one that is not read its record alone."""
    folder = options.locate_record(row)
    if not options.skip_done or options.force:
        return mirror.fetch_folder(folder)
    names = mirror.fetch_folder(folder, whole={RECORD})
    record = read_finished(folder, intact=False)
    if record is None:
        return mirror.fetch_folder(folder)
    for entry in (record.states[0], record.states[-1]):
        mirror.fetch(options.out / THUMBNAILS / f"{entry.sha256[:16]}.webp")
    return names


def publish(mirror: StoreMirror, out: Path) -> None:
    """Send the summary and the page of a batch, where its folder is one of a store."""
    if mirror.find_address(out):
        for name in (INDEX, SUMMARY):
            if (out / name).is_file():
                mirror.send(out / name)
