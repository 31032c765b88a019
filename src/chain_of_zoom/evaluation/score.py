"""Numbers about the states of finished runs, made in worker processes and kept beside the states they are of."""

from __future__ import annotations

import difflib
import hashlib
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import metadata
from multiprocessing import get_context
from pathlib import Path

import msgspec

from chain_of_zoom.errors import ChainOfZoomError, MissingError, UsageError
from chain_of_zoom.evaluation import consistency
from chain_of_zoom.evaluation.metrics.base import Metric, MetricInfo
from chain_of_zoom.evaluation.metrics.table import load_metric
from chain_of_zoom.evaluation.prompts import prompt_influence
from chain_of_zoom.files import write_atomic
from chain_of_zoom.imaging.geometry import Size
from chain_of_zoom.imaging.images import RGB8, decode_png, size_of

SCORES = "scores.json"

ENOUGH = 24
"""Tasks from which processes pay: starting one costs as much as three tasks; two are 1.2 to 1.4 times as fast."""

INFLUENCE = ("prompt.change", "prompt.contradiction")
"""What a prompt changed in its step: root mean square, in levels; and the share that the parent could have told."""

Window = tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True)
class Enlarged:
    """One state that was enlarged.

    depth: where it counts; None for one that only stands between. unprompted: the same step without its prompt.
    """

    file: str
    window: Window
    depth: int | None
    unprompted: str | None = None


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
    found: dict[str, MetricInfo] = {}
    for name in names:
        if name.startswith("consistency") and name not in consistency.INFOS:
            close = difflib.get_close_matches(name, consistency.INFOS, 1)
            hint = f"did you mean {close[0]}?" if close else "see coz eval metrics"
            raise UsageError(f"unknown metric {name!r}; accepted: {', '.join(consistency.INFOS)}; {hint}")
        found[name] = consistency.INFOS[name] if name in consistency.INFOS else load_metric(name).info
    return found


def score(tasks: Sequence[Task], jobs: int) -> Iterator[tuple[int, list[Score]]]:
    """Yields (index of the task, its scores) as they come, from `jobs` processes where there is enough to do."""
    if jobs == 1 or len(tasks) < ENOUGH:
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
    scores += [
        judged.influence(i, name) for i, state in enumerate(task.states) if state.unprompted for name in INFLUENCE
    ]
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
                self.new[key] = (
                    self._consistency(index, name) if name in consistency.INFOS else self._plain(index, name)
                )
            value = (self.kept | self.new)[key]
        except MissingError as error:
            return Score(depth=depth, metric=name, error=str(error), missing=True)
        except ChainOfZoomError as error:
            return Score(depth=depth, metric=name, error=str(error))
        return Score(depth=depth, metric=name, value=value)

    def _plain(self, index: int, name: str) -> float:
        return _metric(name)(_decoded(self.data[index]), _decoded(self.truth) if self.truth else None)

    def _consistency(self, index: int, name: str) -> float | None:
        return self._measured[index].values()[name]

    def influence(self, index: int, name: str) -> Score:
        """What the prompt of one state changed; None where it changed nothing at all."""
        state = self.task.states[index]
        assert state.depth
        assert state.unprompted
        without = (self.task.folder / state.unprompted).read_bytes()
        key = f"{name}@{state.depth}:{_digest(name, [self.data[index], without])}"
        try:
            if key not in self.kept:
                found = prompt_influence(_decoded(self.data[index]), _decoded(without), self._parent_pixels(index))
                self.new[key] = found.energy**0.5 if name == INFLUENCE[0] else found.contradiction
        except ChainOfZoomError as error:
            missing = isinstance(error, MissingError)
            return Score(depth=state.depth, metric=name, error=str(error), missing=missing)
        return Score(depth=state.depth, metric=name, value=(self.kept | self.new)[key])

    def _parent_pixels(self, index: int) -> Size:
        """How many pixels of its parent a state was made from."""
        linked = self.task.linked and index > 0
        window = self.task.states[index - 1].window if linked else self.task.origin_window
        size = size_of(_decoded(self.data[index - 1] if linked else self.origin))
        x0, y0, x1, y1 = self.task.states[index].window
        across, down = size.width / (window[2] - window[0]), size.height / (window[3] - window[1])
        return Size(max(1, round((x1 - x0) * across)), max(1, round((y1 - y0) * down)))

    @cached_property
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
    return f"{info.name}@{depth}:{_digest(repr(info), pictures)}"


def _digest(what: str, pictures: Sequence[bytes]) -> str:
    digest = hashlib.sha256(f"{what} {metadata.version('chain-of-zoom')}".encode())
    for data in pictures:
        digest.update(hashlib.sha256(data).digest())
    return digest.hexdigest()[:32]


def _read(path: Path) -> dict[str, float | None]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, float | None])
    except (OSError, msgspec.DecodeError):
        return {}
