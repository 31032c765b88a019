"""The folder that an enlargement is made in, and its output, which is put in place whole."""

from __future__ import annotations

import hashlib
import os
import shutil
from functools import partial
from pathlib import Path

import msgspec

from chain_of_zoom.errors import OccupiedError
from chain_of_zoom.files import explain_write_errors, make_inner_folder, replacement, write_atomic
from chain_of_zoom.runs.folder import WorkFolder, remove_path
from chain_of_zoom.runs.progress import OnProgress
from chain_of_zoom.upscaling import deepzoom
from chain_of_zoom.upscaling.canvas import Canvas
from chain_of_zoom.upscaling.job import UpscaleJob
from chain_of_zoom.upscaling.request import UpscaleRecord
from chain_of_zoom.upscaling.writers import write_picture

RECORD = "record.json"
PROMPTS = "prompts.json"


class UpscaleFolder(WorkFolder[UpscaleRecord]):
    """The work folder of a job, and the files beside its output."""

    marker = RECORD
    owns = ("*",)
    target = "file"

    def __init__(self, job: UpscaleJob, record: UpscaleRecord, *, force: bool, redo: bool) -> None:
        """Make the work folder, or take up the one of the same run that stopped.

        force: replace anything that is there. redo: the output may be replaced, being this run's own.
        Raises OutputError, and OccupiedError for somebody else's files and while another process is at it.
        """
        self.job, self.record = job, record
        earlier = _read_record(job.work / RECORD)
        output = next((path for path in job.outputs if path.exists()), None)
        if output and not (force or redo) and (earlier is None or earlier.complete):
            raise OccupiedError(f"{output} is there already; add --force to replace it, or name another file with -o")
        super().__init__(make_inner_folder(job.out.parent, job.work.name), force=force)

    def parse(self, data: bytes) -> UpscaleRecord:
        """Read the record of an earlier run."""
        return UpscaleRecord.from_json(data)

    def difference(self, earlier: UpscaleRecord) -> str | None:
        """Describe what makes the earlier run another one."""
        return self.record.difference(earlier)

    def claim(self, force: bool) -> UpscaleRecord | None:
        """Claim the folder and write the record of a run that has begun."""
        earlier = super().claim(force)
        write_atomic(self.path / RECORD, self.record.to_json())
        return earlier

    def refuse_foreign_files(self) -> None:
        """Raise OccupiedError for any file, since everything in a work folder is removed in the end."""
        if any(self.path.iterdir()):
            raise OccupiedError(f"{self.path} is not this program's; remove it, or name another file with -o")

    def clear(self, earlier: UpscaleRecord | None) -> None:
        """Remove everything from a folder with a record, readable or not; any other is refused also with --force."""
        if not (self.path / RECORD).exists():
            self.refuse_foreign_files()
        super().clear(earlier)

    def place_output(self, canvas: Canvas, on_progress: OnProgress) -> None:
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
        with explain_write_errors(job.out, "file"):
            if job.format.name != "Deep Zoom":
                with replacement(job.out, self.path) as file:
                    write(Path(file.name))
                return
            draft = self.path / f"output{job.format.suffixes[0]}"
            draft_tiles, tiles = deepzoom.tiles_folder(draft), deepzoom.tiles_folder(job.out)
            self.remove([draft_tiles.name, draft.name])
            write(draft.with_suffix(""))
            (draft_tiles / "vips-properties.xml").unlink(missing_ok=True)
            deepzoom.put_label(draft, description)
            remove_path(tiles)
            draft_tiles.replace(tiles)
            draft.replace(job.out)
        suffix = "jpg" if job.alpha is None else "png"
        deepzoom.write_page(job.out, job.size, suffix, description)

    def finish(self, record: UpscaleRecord) -> UpscaleRecord:
        """Write the record and, of a backbone that reads them, the prompts."""
        sha256, size = _fingerprint(self.job)
        output = msgspec.structs.replace(record.output, sha256=sha256, bytes=size)
        record = msgspec.structs.replace(record, output=output, complete=True)
        if self.job.reads_prompts:
            write_atomic(self.job.prompts_path, (self.path / PROMPTS).read_bytes())
        write_atomic(self.job.record_path, record.to_json())
        write_atomic(self.path / RECORD, record.to_json())  # last: until then the output may be replaced
        return record


def read_finished(job: UpscaleJob, record: UpscaleRecord) -> UpscaleRecord | None:
    """Return the record of a finished run like `record` whose output is still there as it was written; None without."""
    earlier = _read_record(job.record_path)
    if earlier is None or not earlier.complete or record.difference(earlier):
        return None
    if earlier.output.file != job.out.name or not job.out.exists():
        return None
    return earlier if _fingerprint(job)[0] == earlier.output.sha256 else None


def remove_work(job: UpscaleJob) -> None:
    """Remove the work folder of a finished run; where prompts can be edited, its canvases serve the next run."""
    if not job.reads_prompts:
        shutil.rmtree(job.work, ignore_errors=True)


def _read_record(path: Path) -> UpscaleRecord | None:
    try:
        return UpscaleRecord.from_json(path.read_bytes())
    except (OSError, msgspec.DecodeError):
        return None


def _fingerprint(job: UpscaleJob) -> tuple[str, int]:
    if job.format.name == "Deep Zoom":
        return deepzoom.fingerprint(job.out)
    with job.out.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), os.fstat(file.fileno()).st_size
