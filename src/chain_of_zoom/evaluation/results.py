"""What a benchmark found: every value and the tables made of them, as results.json and, in long format, results.csv."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from chain_of_zoom.errors import BadInputError
from chain_of_zoom.evaluation.statistics import Bootstrap, Direction, Interval, Paired, share_of_wins
from chain_of_zoom.files import write_atomic
from chain_of_zoom.json_bytes import format_json

CSV, JSON, PAGE = "results.csv", "results.json", "index.html"


class _Struct(msgspec.Struct, frozen=True, kw_only=True):
    pass


class Value(_Struct, frozen=True, kw_only=True):
    """One number: a metric of one state. depth: how far the state is zoomed in, linear."""

    picture: str
    spot: int
    method: str
    depth: int
    metric: str
    value: float


class Cell(_Struct, frozen=True, kw_only=True):
    """A method's mean of a metric at a depth.

    best: no other mean is better; only among the methods that have as many pictures as any.
    """

    method: str
    depth: int
    metric: str
    interval: Interval
    best: bool


class MetricNote(_Struct, frozen=True, kw_only=True):
    """What a reader must know of a metric."""

    name: str
    direction: Direction
    reference: bool
    source: str
    licence: str
    note: str


class MethodNote(_Struct, frozen=True, kw_only=True):
    """What a method was. seconds: of one picture up to a depth, median."""

    name: str
    backbone: str
    mode: str
    writer: str | None
    licence: str
    text_aware: bool
    weights_sha256: str | None
    options: dict[str, dict[str, str]]
    software: dict[str, str]
    seconds: dict[int, float]


class PictureNote(_Struct, frozen=True, kw_only=True):
    """A picture and how many spots of it were zoomed into."""

    id: str
    path: str
    sha256: str
    spots: int


class Gap(_Struct, frozen=True, kw_only=True):
    """Something that could not be measured: what, why, and what to do where something can be done."""

    what: str
    why: str


class Failure(_Struct, frozen=True, kw_only=True):
    """Something that went wrong with one picture; it is left out of what is said about it, and of nothing else."""

    picture: str
    spot: int | None = None
    method: str | None = None
    depth: int | None = None
    metric: str | None = None
    error: str


class Text(_Struct, frozen=True, kw_only=True):
    """A prompt, as sent and as extracted."""

    picture: str
    spot: int
    method: str
    depth: int
    prompt: str
    raw: str
    used: bool
    notes: tuple[str, ...] = ()


class Shown(_Struct, frozen=True, kw_only=True):
    """A state's file, relative to the report; method "truth" and "input" are not made by any."""

    picture: str
    spot: int
    method: str
    depth: int
    file: str


class Results(_Struct, frozen=True, kw_only=True):
    """A whole benchmark."""

    version: Literal[1] = 1
    protocol: str
    about: str
    data: str
    known: str | None
    command: str
    settings: dict[str, Any]
    depths: tuple[int, ...]
    pictures: tuple[PictureNote, ...]
    methods: tuple[MethodNote, ...]
    metrics: tuple[MetricNote, ...]
    gaps: tuple[Gap, ...]
    failures: tuple[Failure, ...]
    cells: tuple[Cell, ...]
    pairs: tuple[Paired, ...]
    prompts: tuple[Text, ...]
    shown: tuple[Shown, ...]
    values: tuple[Value, ...]

    def cell(self, method: str, depth: int, metric: str) -> Cell | None:
        """The mean of a method, or None when there is none."""
        key = (method, depth, metric)
        return next((cell for cell in self.cells if (cell.method, cell.depth, cell.metric) == key), None)

    def pair(self, base: str, other: str, depth: int, metric: str) -> Paired | None:
        """The comparison of two methods, `base` being the earlier one in the list; None when no picture has both."""
        key = (base, other, depth, metric)
        return next((pair for pair in self.pairs if (pair.base, pair.other, pair.depth, pair.metric) == key), None)

    def write(self, folder: Path) -> None:
        """results.csv and results.json. Raises OutputError."""
        write_atomic(folder / CSV, to_csv(self.values))
        write_atomic(folder / JSON, format_json(self, indent=1))


def read_results(folder: Path) -> Results:
    """The results of a finished benchmark. Raises BadInputError."""
    try:
        return msgspec.json.decode((folder / JSON).read_bytes(), type=Results)
    except (OSError, msgspec.DecodeError) as error:
        raise BadInputError(
            f"{folder / JSON} cannot be read ({error}); accepted: the folder that coz eval wrote; run it to its end"
        ) from error


def to_csv(values: Iterable[Value]) -> bytes:
    """Long format, one number a row; `repr` of the number, so that nothing is lost. Names are no formulas."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["picture", "spot", "method", "depth", "metric", "value"])
    writer.writerows(
        [_as_text(v.picture), v.spot, _as_text(v.method), v.depth, v.metric, repr(v.value)] for v in values
    )
    return buffer.getvalue().encode()


def _as_text(name: str) -> str:
    """The name with an apostrophe before it where a spreadsheet would take it for a formula."""
    return f"'{name}" if name.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) else name


PerPicture = dict[tuple[str, int, str], dict[str, dict[int, float]]]
"""(method, depth, metric) -> picture -> spot -> value."""


def arranged(values: Iterable[Value]) -> PerPicture:
    """Values by what they are of, pictures in their order."""
    table: PerPicture = {}
    for v in values:
        table.setdefault((v.method, v.depth, v.metric), {}).setdefault(v.picture, {})[v.spot] = v.value
    return table


def means(table: PerPicture, directions: dict[str, Direction], bootstrap: Bootstrap) -> tuple[Cell, ...]:
    """The mean of every method, depth and metric over pictures, and which is best."""
    intervals = {
        key: bootstrap.interval([sum(spots.values()) / len(spots) for spots in pictures.values()])
        for key, pictures in table.items()
    }
    most: dict[tuple[int, str], int] = {}
    for (_, depth, metric), interval in intervals.items():
        most[depth, metric] = max(most.get((depth, metric), 0), interval.n)
    best: dict[tuple[int, str], float] = {}
    for (_, depth, metric), interval in intervals.items():
        if interval.n == most[depth, metric]:
            choose = max if directions[metric] == "higher" else min
            best[depth, metric] = choose(best.get((depth, metric), interval.mean), interval.mean)
    return tuple(
        Cell(
            method=method,
            depth=depth,
            metric=metric,
            interval=interval,
            best=interval.n == most[depth, metric] and interval.mean == best[depth, metric],
        )
        for (method, depth, metric), interval in intervals.items()
    )


def differences(base: dict[str, dict[int, float]], other: dict[str, dict[int, float]]) -> list[float]:
    """`other` minus `base` for every picture that both have, over the spots that both have."""
    found: list[float] = []
    for picture, spots in base.items():
        common = [spot for spot in spots if spot in other.get(picture, {})]
        if common:
            found.append(sum(other[picture][spot] - spots[spot] for spot in common) / len(common))
    return found


def compare_methods(
    table: PerPicture, methods: Sequence[str], directions: dict[str, Direction], bootstrap: Bootstrap
) -> tuple[Paired, ...]:
    """Every two methods, the earlier one as base, at every depth and metric, on the pictures that both have."""
    pairs: list[Paired] = []
    for (base, depth, metric), pictures in table.items():
        for other in methods[methods.index(base) + 1 :]:
            if found := differences(pictures, table.get((other, depth, metric), {})):
                pairs.append(
                    Paired(
                        base=base,
                        other=other,
                        depth=depth,
                        metric=metric,
                        difference=bootstrap.interval(found),
                        wins=share_of_wins(found, directions[metric]),
                    )
                )
    return tuple(pairs)
