"""Numbers about the states of finished runs, made in worker processes and kept beside the states they are of."""

from __future__ import annotations

import hashlib
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from multiprocessing import get_context
from pathlib import Path

import msgspec

from chain_of_zoom.errors import ChainOfZoomError, MissingError
from chain_of_zoom.evaluation import consistency
from chain_of_zoom.evaluation.metrics.base import Metric, MetricInfo
from chain_of_zoom.evaluation.metrics.table import load_metric
from chain_of_zoom.imaging.images import RGB8, decode_png, write_atomic

SCORES = "scores.json"

Window = tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True)
class Enlarged:
    """One state that was enlarged. depth: where it counts; None for one that only stands between."""

    file: str
    window: Window
    depth: int | None


@dataclass(frozen=True, kw_only=True)
class Task:
    """One run to judge.

    states: the enlarged ones, in order, in `folder`. origin: the picture that was zoomed into, and its window. linked:
    each state was cut from the one before, else all from the origin. truth: what the states should be, where known.
    """

    folder: Path
    states: tuple[Enlarged, ...]
    origin: Path
    origin_window: Window
    linked: bool
    truth: Path | None
    metrics: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Score:
    """One number; or why there is none, and whether that holds for every picture (something is not installed)."""

    depth: int
    metric: str
    value: float | None = None
    error: str = ""
    missing: bool = False


def infos(names: Sequence[str]) -> dict[str, MetricInfo]:
    """What the metrics and the measures of consistency called so are. Raises UsageError."""
    return {name: consistency.INFOS[name] if name in consistency.INFOS else load_metric(name).info for name in names}


def score(tasks: Sequence[Task], jobs: int) -> Iterator[tuple[int, list[Score]]]:
    """Yields (index of the task, its scores) as they come, from `jobs` processes; in this one for a single job."""
    if jobs == 1 or len(tasks) < 2:
        yield from ((index, judge(task)) for index, task in enumerate(tasks))
        return
    # A forked child would inherit the locks of the networks' threads.
    with ProcessPoolExecutor(min(jobs, len(tasks)), get_context("spawn"), _leave_interrupts_to_the_parent) as pool:
        futures = {pool.submit(judge, task): index for index, task in enumerate(tasks)}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def judge(task: Task) -> list[Score]:
    """The scores of one run; those that lie there already for the same pixels are not computed again."""
    kept = _read(task.folder / SCORES)
    judged = _Judged(task, kept)
    scores = [judged.score(i, name) for i, state in enumerate(task.states) if state.depth for name in task.metrics]
    if judged.new:
        write_atomic(task.folder / SCORES, msgspec.json.encode(kept | judged.new))
    return scores


class _Judged:
    """A run whose pictures are read, and decoded when a number is missing."""

    def __init__(self, task: Task, kept: dict[str, float | None]) -> None:
        self.task, self.kept = task, kept
        self.new: dict[str, float | None] = {}
        self.data = [(task.folder / state.file).read_bytes() for state in task.states]
        self.origin = task.origin.read_bytes()
        self.truth = task.truth.read_bytes() if task.truth else None

    def score(self, index: int, name: str) -> Score:
        """One number about one state."""
        depth = self.task.states[index].depth or 0
        info = _info(name)
        if name in consistency.INFOS:
            seen = [self.origin, *self.data[: index + 1]]
        else:
            seen = [self.data[index], *([self.truth] if info.reference and self.truth else [])]
        key = _key(info, depth, seen)
        try:
            if key not in self.kept:
                self.new[key] = self._consistency(index, name) if name in consistency.INFOS else self._plain(index, name)
            value = (self.kept | self.new)[key]
        except MissingError as error:
            return Score(depth=depth, metric=name, error=str(error), missing=True)
        except ChainOfZoomError as error:
            return Score(depth=depth, metric=name, error=str(error))
        return Score(depth=depth, metric=name, value=value)

    def _plain(self, index: int, name: str) -> float:
        return _metric(name)(_decoded(self.data[index]), _decoded(self.truth) if self.truth else None)

    def _consistency(self, index: int, name: str) -> float | None:
        return self._measured()[index].values()[name]

    @cache  # noqa: B019 - lives as long as the run is judged
    def _measured(self) -> list[consistency.StateConsistency]:
        origin = consistency.View(_decoded(self.origin), self.task.origin_window)
        views = [
            consistency.View(_decoded(data), state.window)
            for data, state in zip(self.data, self.task.states, strict=True)
        ]
        if self.task.linked:
            return consistency.chain_consistency([origin, *views])
        steps = [consistency.consistency(view, origin) for view in views]
        return [consistency.StateConsistency(parent=step, frame=step, drift=step.shift) for step in steps]


@cache
def _metric(name: str) -> Metric:
    """The metric, made once per process: some read weights."""
    return load_metric(name)


@cache
def _info(name: str) -> MetricInfo:
    return infos([name])[name]


def _decoded(data: bytes) -> RGB8:
    return decode_png(data)


def _key(info: MetricInfo, depth: int, pictures: Sequence[bytes]) -> str:
    """What a number is of: the metric as it describes itself, this version of it, and the pixels it saw."""
    digest = hashlib.sha256(f"{info!r} {metadata.version('chain-of-zoom')}".encode())
    for data in pictures:
        digest.update(hashlib.sha256(data).digest())
    return f"{info.name}@{depth}:{digest.hexdigest()[:32]}"


def _read(path: Path) -> dict[str, float | None]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, float | None])
    except (OSError, msgspec.DecodeError):
        return {}
