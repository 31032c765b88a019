"""The state of a batch as a JSON file: all runs, how they ended, and their files. Its keys are stable.

The JSON schema beside this file is generated from these classes (`python -m chain_of_zoom.batch.summary`).
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Literal

import msgspec

from chain_of_zoom.chain.record import BackboneRecord, StateRecord
from chain_of_zoom.chain.request import ZoomRequest
from chain_of_zoom.chain.schedule import Origin
from chain_of_zoom.json_bytes import format_json
from chain_of_zoom.parsing import parse_json, printable

INDEX = "index.html"
SUMMARY = "summary.json"
THUMBNAILS = "thumbnails"
SCHEMA = Path(__file__).with_name("summary.schema.json")

Status = Literal["done", "kept", "failed", "waiting"]


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Describes the error of a run."""

    code: int
    """Exit code of the error."""
    kind: str
    """Class of the error."""
    message: str
    """Its message, in one line."""

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """Describe an error."""
        kind = type(error).__name__
        code = getattr(error, "exit_code", 1)
        message = printable(" ".join(str(error).split())) or kind
        return cls(code=code, kind=kind, message=message if code != 1 else f"unexpected {kind}: {message}")


class StateSummary(msgspec.Struct, frozen=True, kw_only=True):
    """Describes one state of a run."""

    file: str
    """Path of the state, relative to the summary."""
    magnification: float
    """Magnification against the whole photo."""
    origin: Origin
    """Origin of its pixels."""
    beyond_evidence: bool
    """Whether it shows less of the photo than can be told from it."""
    thumbnail: str | None = None
    """Path of a thumbnail, for the first and the last state."""

    @classmethod
    def of(cls, entry: StateRecord, folder: str, thumbnail: str | None) -> StateSummary:
        """Describe a recorded state."""
        return cls(
            file=f"{folder}/{entry.file}",
            magnification=entry.magnification,
            origin=entry.origin,
            beyond_evidence=entry.beyond_evidence,
            thumbnail=thumbnail,
        )


class RunSummary(msgspec.Struct, frozen=True, kw_only=True):
    """Describes one run. Paths are relative to the summary and have slashes.

    status: "done" in this call, "kept" complete from before, "failed", or "waiting" for its turn.
    seconds: of this call. record, sheet, animation and states: of complete runs.
    """

    name: str
    """Name of the run and of its folder."""
    photo: str
    """Path of the photo."""
    settings: ZoomRequest
    """Settings of the zoom."""
    status: Status = "waiting"
    """How far the run is."""
    seconds: float = 0.0
    """Seconds that it took in this call."""
    record: str | None = None
    """Path of its record."""
    sheet: str | None = None
    """Path of its sheet."""
    animation: str | None = None
    """Path of its animation, if there is one."""
    states: tuple[StateSummary, ...] = ()
    """Its states, from the widest."""
    error: Failure | None = None
    """Error of a failed run."""


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """Describes a batch.

    complete: every run has had its turn, failed or not. exit_code: what the command returned, once complete; that of
    the first failure. done, kept, failed, waiting: how many runs. backbone and prompter: as in the records.
    """

    version: Literal[1] = 1
    """Version of the file format."""
    complete: bool
    """Whether every run has had its turn, failed or not."""
    exit_code: int
    """Exit code of the first failure, which the command returns once the batch is complete; 0 without one."""
    done: int
    """Number of runs finished in this call."""
    kept: int
    """Number of runs that were complete before."""
    failed: int
    """Number of failed runs."""
    waiting: int
    """Number of runs that wait for their turn."""
    seconds: float
    """Seconds of all runs in this call."""
    backbone: BackboneRecord
    """The backbone, as in the records."""
    prompter: str
    """Name of the prompter."""
    runs: tuple[RunSummary, ...]
    """All runs, in order."""

    @classmethod
    def of(cls, runs: tuple[RunSummary, ...], backbone: BackboneRecord, prompter: str) -> Summary:
        """Summarise runs at this moment."""
        counts = Counter(run.status for run in runs)
        return cls(
            complete=not counts["waiting"],
            exit_code=next((run.error.code for run in runs if run.error), 0),
            done=counts["done"],
            kept=counts["kept"],
            failed=counts["failed"],
            waiting=counts["waiting"],
            seconds=sum(run.seconds for run in runs),
            backbone=backbone,
            prompter=prompter,
            runs=runs,
        )

    def to_json(self) -> bytes:
        """Encode the summary as indented JSON."""
        return format_json(self)

    @classmethod
    def from_json(cls, data: bytes) -> Summary:
        """Decode a summary. Raises msgspec.DecodeError for data that is none of this version."""
        return parse_json(data, cls)


def schema() -> bytes:
    """Generate the JSON schema of `Summary`, which `SCHEMA` holds."""
    return format_json(msgspec.json.schema(Summary))


if __name__ == "__main__":
    SCHEMA.write_bytes(schema())
