"""The results of a benchmark, as results.json and, in long format, results.csv."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import msgspec

from chain_of_zoom.errors import BadInputError
from chain_of_zoom.evaluation.metrics.base import Direction
from chain_of_zoom.files import write_atomic
from chain_of_zoom.json_bytes import format_json
from chain_of_zoom.parsing import parse_json
from chain_of_zoom.prompters.duel import Duel

CSV, JSON, PAGE = "results.csv", "results.json", "index.html"

ENOUGH_PICTURES = 6
"""Pictures from which a difference can be clear: five of one sign come about by chance once in 16 times, six in 32."""


class Interval(msgspec.Struct, frozen=True, kw_only=True):
    """A mean over pictures and its 95% interval."""

    n: int
    """How many pictures."""
    mean: float
    """Their mean."""
    low: float | None = None
    """The lower end; None for fewer than two pictures."""
    high: float | None = None
    """The upper end; None for fewer than two pictures."""

    @property
    def is_clear(self) -> bool:
        """Tell of a difference whether its interval lies on one side of zero, with enough pictures to say so."""
        if self.n < ENOUGH_PICTURES or self.low is None or self.high is None:
            return False
        return self.low > 0 or self.high < 0


class PairedDifference(msgspec.Struct, frozen=True, kw_only=True):
    """The difference of two methods over the pictures that both have."""

    base: str
    """The method that is subtracted."""
    other: str
    """The method that it is subtracted from."""
    depth: int
    """How far the states are zoomed in, linear."""
    metric: str
    """The name of the metric."""
    difference: Interval
    """`other` minus `base`."""
    wins: float
    """The share of pictures on which `other` is better, ties counting half."""


class StateEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Names one state of a benchmark."""

    picture: str
    """The id of the picture."""
    spot: int
    """The number of the spot in it, from 1."""
    method: str
    """The name of the method; for a file to show also "truth"."""
    depth: int
    """How far the state is zoomed in, linear."""


class MetricValue(StateEntry, frozen=True, kw_only=True):
    """One number: a metric of one state."""

    metric: str
    """The name of the metric."""
    value: float
    """The number."""


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """The mean of a method at a depth, by one metric."""

    method: str
    """The name of the method."""
    depth: int
    """How far the states are zoomed in, linear."""
    metric: str
    """The name of the metric."""
    interval: Interval
    """The mean over pictures."""
    best: bool
    """Whether no mean is better among the methods that have as many pictures as any."""


class MetricNote(msgspec.Struct, frozen=True, kw_only=True):
    """What a reader must know of a metric; see MetricInfo."""

    name: str
    """Its name."""
    direction: Direction
    """Which way is better."""
    reference: bool
    """Whether it compares with a reference."""
    source: str
    """The paper to cite."""
    licence: str
    """Of the code and the weights that compute it."""
    note: str
    """Settings, caps, units."""


class MethodNote(msgspec.Struct, frozen=True, kw_only=True):
    """What a method was."""

    name: str
    """Its label, or the text it was written as."""
    backbone: str
    """What enlarges."""
    mode: str
    """`chain` or `direct`."""
    writer: str | None
    """Who writes prompts, as named on the command line; None when nobody was named."""
    licence: str
    """The licence of the backbone."""
    text_aware: bool
    """Whether the backbone reads prompts."""
    weights_sha256: str | None
    """The hash of its weights."""
    options: dict[str, dict[str, str]]
    """Loader details of `backbone` and `prompter`."""
    software: dict[str, str]
    """Versions of the packages that can change a pixel."""
    seconds: dict[int, float]
    """For every depth the median seconds of a zoom up to it."""


class PictureNote(msgspec.Struct, frozen=True, kw_only=True):
    """A picture of the set."""

    id: str
    """Its name in the set."""
    path: str
    """Its file."""
    sha256: str
    """The hash of that file."""
    spots: int
    """How many spots of it were zoomed into; 0 for one that could not be used."""


class NotMeasured(msgspec.Struct, frozen=True, kw_only=True):
    """Something that could not be measured at all."""

    what: str
    """A depth, a metric or a table."""
    why: str
    """The reason, and what to type where something can be done."""


class ZoomFailure(msgspec.Struct, frozen=True, kw_only=True):
    """Something that went wrong with one picture, which is missing from the means it would have been in."""

    picture: str
    """The id of the picture."""
    spot: int | None = None
    """The number of the spot; None for all."""
    method: str | None = None
    """The method; None for all."""
    depth: int | None = None
    """The depth; None for all."""
    metric: str | None = None
    """The metric; None when the zoom itself failed."""
    error: str
    """The message of the error."""


class SentPrompt(StateEntry, frozen=True, kw_only=True):
    """The prompt of one state."""

    prompt: str
    """The text as sent to the backbone."""
    raw: str
    """The text as the prompter wrote it."""
    used: bool
    """Whether the backbone was given any text."""
    notes: tuple[str, ...] = ()
    """What went another way than asked for."""


class ShownFile(StateEntry, frozen=True, kw_only=True):
    """A picture for the report to show."""

    file: str
    """Its file, relative to the report."""


class TrustCheck(msgspec.Struct, frozen=True, kw_only=True):
    """How right the trust map of a method is at one depth, over blocks of 16x16 px whose truth is known."""

    method: str
    """The name of the method."""
    depth: int
    """How far the states are zoomed in, linear."""
    pictures: int
    """How many pictures."""
    blocks: int
    """How many blocks."""
    differ: float
    """Share of the blocks that differ from the truth by more than 10 levels."""
    flagged: float
    """Share that is said to be more likely wrong than right."""
    caught: float | None
    """Share of those that differ which is flagged; None where none differs."""
    auroc: float | None
    """Chance that one that differs is trusted less than one that does not; None where all are alike."""
    tenths: tuple[tuple[int, int], ...]
    """For every tenth of the probability that was said: how many blocks, and how many of them were right."""


class StateDuel(Duel, frozen=True, kw_only=True):
    """What the judge prefers: a method against the first one, over the spots at one depth."""

    depth: int
    """How far the states are zoomed in, linear."""


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """A whole benchmark."""

    version: Literal[1] = 1
    """The version of this format."""
    protocol: str
    """The name of the protocol."""
    about: str
    """What the protocol does, in one sentence."""
    data: str
    """The name of the set of pictures."""
    known: str | None
    """The published set that they are, or None."""
    command: str
    """The command as typed; empty from Python."""
    settings: dict[str, Any]
    """Everything else that was chosen."""
    depths: tuple[int, ...]
    """The depths that were measured, ascending."""
    pictures: tuple[PictureNote, ...]
    """All pictures of the set."""
    methods: tuple[MethodNote, ...]
    """The methods, in the order asked for."""
    metrics: tuple[MetricNote, ...]
    """The metrics that could run, in the order asked for."""
    gaps: tuple[NotMeasured, ...]
    """What could not be measured at all."""
    failures: tuple[ZoomFailure, ...]
    """What went wrong with single pictures."""
    cells: tuple[Cell, ...]
    """Means of every method, depth and metric."""
    pairs: tuple[PairedDifference, ...]
    """Differences of every two methods at every depth and metric."""
    prompts: tuple[SentPrompt, ...]
    """The prompts of backbones that read them."""
    shown: tuple[ShownFile, ...]
    """Pictures for the report."""
    trust: tuple[TrustCheck, ...] = ()
    """How right the trust maps are, where there is a truth."""
    duels: tuple[StateDuel, ...] = ()
    """What the judge prefers, where there is one."""
    values: tuple[MetricValue, ...]
    """Every single number."""

    def cell(self, method: str, depth: int, metric: str) -> Cell | None:
        """Return the mean of a method, or None where there is none."""
        key = (method, depth, metric)
        return next((cell for cell in self.cells if (cell.method, cell.depth, cell.metric) == key), None)

    def pair(self, base: str, second: str, depth: int, metric: str) -> PairedDifference | None:
        """Return the comparison of two methods, the earlier one as `base`; None when no picture has both."""
        key = (base, second, depth, metric)
        return next((pair for pair in self.pairs if (pair.base, pair.other, pair.depth, pair.metric) == key), None)

    def write(self, folder: Path) -> None:
        """Write results.csv and results.json. Raises OutputError."""
        write_atomic(folder / CSV, format_csv(self.values))
        write_atomic(folder / JSON, format_json(self, indent=1))


def read_results(folder: Path) -> Results:
    """Return the results of a finished benchmark. Raises BadInputError."""
    try:
        return parse_json((folder / JSON).read_bytes(), Results)
    except (OSError, msgspec.DecodeError) as error:
        raise BadInputError(
            f"{folder / JSON} cannot be read ({error}); accepted: the folder that coz eval wrote; run it to its end"
        ) from error


def format_csv(values: Iterable[MetricValue]) -> bytes:
    """Write one number a row; as its `repr`, so that nothing is lost. Names are no formulas."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["picture", "spot", "method", "depth", "metric", "value"])
    writer.writerows(
        [_as_text(v.picture), v.spot, _as_text(v.method), v.depth, v.metric, repr(v.value)] for v in values
    )
    return buffer.getvalue().encode()


def _as_text(name: str) -> str:
    """Put an apostrophe before a name that a spreadsheet would take for a formula."""
    return f"'{name}" if name.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) else name
