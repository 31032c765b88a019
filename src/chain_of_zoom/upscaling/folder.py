"""Where an enlargement is made and where it ends up: resumed, replaced or refused, and put in place whole."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import msgspec

from chain_of_zoom.errors import OutputError
from chain_of_zoom.files import is_temporary, make_inner_folder, naming, replacement, write_atomic
from chain_of_zoom.runs.lock import lock_folder
from chain_of_zoom.runs.progress import OnProgress
from chain_of_zoom.upscaling import deepzoom
from chain_of_zoom.upscaling.canvas import Canvas
from chain_of_zoom.upscaling.job import UpscaleJob
from chain_of_zoom.upscaling.request import UpscaleRecord
from chain_of_zoom.upscaling.writers import write_picture

RECORD = "record.json"
PROMPTS = "prompts.json"


class Folder:
    """The work folder of a job and the files beside its output."""

    def __init__(self, job: UpscaleJob, record: UpscaleRecord) -> None:
        self.job, self.record = job, record
        self.path = job.work

    @property
    def book_path(self) -> Path:
        """The prompts so far."""
        return self.path / PROMPTS

    def finished(self) -> UpscaleRecord | None:
        """The record of an earlier run of the same kind whose output is still there as it was written."""
        earlier = _read(self.job.record_path)
        if earlier is None or not earlier.complete or self.record.difference(earlier):
            return None
        if earlier.output.file != self.job.out.name or not self.job.out.exists():
            return None
        return earlier if _fingerprint(self.job)[0] == earlier.output.sha256 else None

    @contextmanager
    def opened(self, *, force: bool, redo: bool) -> Iterator[None]:
        """Make the work folder, or take up the one of the same run that stopped; nobody else writes to it meanwhile.

        force: replace whatever is there. redo: the output may be replaced, being this run's own.
        Raises OutputError, and OccupiedError while another process is at it.
        """
        job = self.job
        if force and self._is_foreign() and not (self.path / RECORD).exists():
            raise self._foreign()
        if not force:
            resumed = self._is_resumed()
            stranger = next((path for path in job.outputs if path.exists()), None)
            if stranger and not (redo or resumed):
                raise OutputError(
                    f"{stranger} is there already; add --force to replace it, or name another file with -o"
                )
        with naming(make_inner_folder(job.out.parent, self.path.name)):
            unlock = lock_folder(self, self.path)
        try:
            with naming(job.out.parent):
                for path in self.path.iterdir() if force else ():
                    _remove(path)
            write_atomic(self.path / RECORD, self.record.to_json())
            yield
        finally:
            unlock()

    def put(self, canvas: Canvas, on_progress: OnProgress) -> None:
        """Write the output in the work folder and move it into place."""
        job, tags = self.job, self.job.make_tags()
        description = tags.texts["Description"]
        write = partial(
            write_picture,
            canvas,
            output_format=job.format,
            tags=tags,
            quality=job.request.quality,
            on_progress=on_progress,
        )
        with naming(job.out, "file"):
            if job.format.name != "Deep Zoom":
                with replacement(job.out, self.path) as file:
                    write(Path(file.name))
                return
            made = self.path / f"output{job.format.suffixes[0]}"
            tiles, place = deepzoom.tiles_folder(made), deepzoom.tiles_folder(job.out)
            _remove(tiles)
            _remove(made)
            write(made.with_suffix(""))
            (tiles / "vips-properties.xml").unlink(missing_ok=True)
            deepzoom.put_label(made, description)
            _remove(place)
            tiles.replace(place)
            made.replace(job.out)
        suffix = "jpg" if job.alpha is None else "png"
        deepzoom.write_page(job.out, job.size, suffix, description)

    def close(self, record: UpscaleRecord) -> UpscaleRecord:
        """Write the record and, of a backbone that reads them, the prompts."""
        sha256, size = _fingerprint(self.job)
        output = msgspec.structs.replace(record.output, sha256=sha256, bytes=size)
        record = msgspec.structs.replace(record, output=output, complete=True)
        if self.job.reads_prompts:
            write_atomic(self.job.prompts_path, self.book_path.read_bytes())
        write_atomic(self.job.record_path, record.to_json())
        write_atomic(self.path / RECORD, record.to_json())  # last: until then the output may be replaced
        return record

    def tidy(self) -> None:
        """Drop what no later run can use; canvases stay where prompts can be edited, so that only these are redone."""
        if not self.job.reads_prompts:
            shutil.rmtree(self.path, ignore_errors=True)

    def _is_resumed(self) -> bool:
        """Whether the work folder is that of the same run, stopped. Raises OutputError when it is another's."""
        earlier = _read(self.path / RECORD)
        if earlier is None:
            if self._is_foreign():
                raise self._foreign()
            return False
        if difference := self.record.difference(earlier):
            raise OutputError(
                f"{self.path} holds another run: {difference}; accepted: the same run, which goes on; "
                "add --force to replace it, or name another file with -o"
            )
        return not earlier.complete

    def _is_foreign(self) -> bool:
        """Whether there is more than half a record, which a kill leaves while that is written."""
        if not self.path.is_dir():
            return self.path.exists()
        return not all(is_temporary(path.name) for path in self.path.iterdir())

    def _foreign(self) -> OutputError:
        return OutputError(f"{self.path} is not this program's; remove it, or name another file with -o")


def _read(path: Path) -> UpscaleRecord | None:
    try:
        return UpscaleRecord.from_json(path.read_bytes())
    except (OSError, msgspec.DecodeError):
        return None


def _fingerprint(job: UpscaleJob) -> tuple[str, int]:
    if job.format.name == "Deep Zoom":
        return deepzoom.fingerprint(job.out)
    with job.out.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), os.fstat(file.fileno()).st_size


def _remove(path: Path) -> None:
    """Remove a file, a link or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
