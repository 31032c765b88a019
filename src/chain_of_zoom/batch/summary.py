"""How a batch stands: every run, what came of it, and where its files are. Its keys are stable.

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
    """What went wrong: exit code, class of the error, and its one line."""

    code: int
    kind: str
    message: str

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """The failure that an error is."""
        kind = type(error).__name__
        code = getattr(error, "exit_code", 1)
        message = printable(" ".join(str(error).split())) or kind
        return cls(code=code, kind=kind, message=message if code != 1 else f"unexpected {kind}: {message}")


class StateSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One state; thumbnail: of the first and the last."""

    file: str
    magnification: float
    origin: Origin
    beyond_evidence: bool
    thumbnail: str | None = None

    @classmethod
    def of(cls, entry: StateRecord, folder: str, thumbnail: str | None) -> StateSummary:
        """The summary of a recorded state."""
        return cls(
            file=f"{folder}/{entry.file}",
            magnification=entry.magnification,
            origin=entry.origin,
            beyond_evidence=entry.beyond_evidence,
            thumbnail=thumbnail,
        )


class RunSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One run. Paths are relative to the summary and have slashes.

    status: "done" in this call, "kept" complete from before, "failed", or "waiting" for its turn.
    seconds: of this call. record, sheet, animation and states: of complete runs.
    """

    name: str
    photo: str
    settings: ZoomRequest
    status: Status = "waiting"
    seconds: float = 0.0
    record: str | None = None
    sheet: str | None = None
    animation: str | None = None
    states: tuple[StateSummary, ...] = ()
    error: Failure | None = None


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """A batch.

    complete: every run has had its turn, failed or not. exit_code: what the command returned, once complete; that of
    the first failure. done, kept, failed, waiting: how many runs. backbone and prompter: as in the records.
    """

    version: Literal[1] = 1
    complete: bool
    exit_code: int
    done: int
    kept: int
    failed: int
    waiting: int
    seconds: float
    backbone: BackboneRecord
    prompter: str
    runs: tuple[RunSummary, ...]

    @classmethod
    def of(cls, runs: tuple[RunSummary, ...], backbone: BackboneRecord, prompter: str) -> Summary:
        """The summary of runs as they stand."""
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
        """Indented JSON."""
        return format_json(self)

    @classmethod
    def from_json(cls, data: bytes) -> Summary:
        """Raises msgspec.DecodeError when `data` is no summary of this version."""
        return parse_json(data, cls)


def schema() -> bytes:
    """The JSON schema of `Summary`, as shipped in `SCHEMA`."""
    return format_json(msgspec.json.schema(Summary))


if __name__ == "__main__":
    SCHEMA.write_bytes(schema())
