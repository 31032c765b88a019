"""Compute numbers about the states of finished runs in worker processes, and keep them beside those states.

A prompt may fill in what the parent left open. Where it changes what the parent did show, it contradicts the source.
"""

from __future__ import annotations

import hashlib
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib import metadata
from multiprocessing import get_context
from pathlib import Path

import msgspec
import numpy as np

from chain_of_zoom.errors import ChainOfZoomError, MetricError, MissingError
from chain_of_zoom.evaluation.consistency import (
    ConsistencyMetric,
    StateConsistency,
    StateView,
    measure_chain,
    measure_consistency,
)
from chain_of_zoom.evaluation.finished import FinishedZoom
from chain_of_zoom.evaluation.metrics.base import Metric, PictureMetric
from chain_of_zoom.evaluation.metrics.table import load_metric
from chain_of_zoom.evaluation.results import MetricValue, ZoomFailure
from chain_of_zoom.files import write_atomic
from chain_of_zoom.imaging.geometry import Size
from chain_of_zoom.imaging.images import RGB8, decode_png, size_of
from chain_of_zoom.parsing import parse_json


@dataclass(frozen=True, kw_only=True)
class PromptInfluence:
    """What a prompt changed in one step, against the same step with another prompt or none."""

    energy: float
    """The mean squared difference, in levels squared."""
    contradiction: float | None
    """The share of it in frequencies that the parent has too; None where nothing changed."""
    invention: float | None
    """The share above them, which the parent leaves open; None where nothing changed."""


def measure_influence(with_prompt: RGB8, without: RGB8, window: Size) -> PromptInfluence:
    """Measure how a prompt changed a state (uint8, H x W x 3), where the parent's window had `window` pixels.

    The difference of both states is split by a cosine transform at the parent's Nyquist frequency: half a cycle per
    pixel of the parent, in each direction: exact shares of the energy, and no leakage from borders that do not meet.
    Raises MetricError for sizes that do not fit, and MissingError without
    the extra [eval].
    """
    try:
        from scipy.fft import dctn
    except ImportError as error:
        raise MissingError("prompt influence lacks scipy; type: pip install 'chain-of-zoom[eval]'") from error
    size = size_of(with_prompt)
    if with_prompt.shape != without.shape or window.width > size.width or window.height > size.height:
        raise MetricError(f"states of {size} and {size_of(without)} from a window of {window} cannot be compared")
    difference = with_prompt.astype(np.float64) - without.astype(np.float64)
    spectrum = np.square(dctn(difference, axes=(0, 1), norm="ortho"))
    total = float(spectrum.sum())
    if not total:
        return PromptInfluence(energy=0.0, contradiction=None, invention=None)
    below = float(spectrum[: window.height, : window.width].sum()) / total
    return PromptInfluence(energy=total / difference.size, contradiction=below, invention=1 - below)


SCORES = "scores.json"

ENOUGH_ZOOMS = 24
"""Zooms from which processes pay: starting one costs as much as three zooms; two are 1.2 to 1.4 times as fast."""

CHANGE, CONTRADICTION = "prompt.change", "prompt.contradiction"
"""What a prompt changed in its step: root mean square, in levels; and the share that the parent could have told."""


@dataclass(frozen=True, kw_only=True)
class ZoomScores:
    """All numbers about one zoom, and the reasons where there is none."""

    values: list[MetricValue] = field(default_factory=list)
    """The numbers."""
    failures: list[ZoomFailure] = field(default_factory=list)
    """Metrics that cannot judge one of the states."""
    missing: dict[str, str] = field(default_factory=dict)
    """For every metric that cannot run here, the reason."""
    unknown: list[tuple[str, int]] = field(default_factory=list)
    """Metrics and depths whose number cannot be told from these pictures."""


def score_zooms(zooms: Sequence[FinishedZoom], metrics: Sequence[str], jobs: int) -> Iterator[tuple[int, ZoomScores]]:
    """Yield (index of the zoom, its scores) as they come, from `jobs` processes where there is enough to do."""
    if jobs == 1 or len(zooms) < ENOUGH_ZOOMS:
        yield from ((index, score_zoom(zoom, metrics)) for index, zoom in enumerate(zooms))
        return
    # A forked child would inherit the locks of the networks' threads.
    with ProcessPoolExecutor(min(jobs, len(zooms)), get_context("spawn"), _leave_interrupts_to_the_parent) as pool:
        futures = {pool.submit(score_zoom, zoom, metrics): index for index, zoom in enumerate(zooms)}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def score_zoom(zoom: FinishedZoom, metrics: Sequence[str]) -> ZoomScores:
    """Return the scores of one zoom; those already kept for the same pixels are not computed again."""
    path = zoom.run.folder / SCORES
    numbers = _read_numbers(path)
    count = len(numbers)
    scorer = _ZoomScorer(zoom, numbers)
    for depth in scorer.positions:
        for name in metrics:
            scorer.score(depth, name)
    for depth in zoom.unprompted:
        for name in (CHANGE, CONTRADICTION):
            scorer.score_prompt(depth, name)
    if len(numbers) > count:
        write_atomic(path, msgspec.json.encode(numbers))
    return scorer.scores


class _ZoomScorer:
    """Reads the files of a zoom, and decodes them when a number is missing."""

    def __init__(self, zoom: FinishedZoom, numbers: dict[str, float | None]) -> None:
        self.zoom, self.numbers = zoom, numbers
        self.scores = ZoomScores()
        self._states = zoom.enlarged_states()
        self._data = [(zoom.run.folder / state.file).read_bytes() for state in self._states]
        self.positions = {depth: self._states.index(state) for depth, state in zoom.list_enlarged().items()}
        origin, self._origin_window = zoom.origin()
        self._origin = origin.read_bytes()
        self._truth = zoom.case.truth.read_bytes() if zoom.case.truth else None

    def score(self, depth: int, name: str) -> None:
        """Add one number about one state."""
        metric, i = _load_once(name), self.positions[depth]
        if isinstance(metric, ConsistencyMetric):
            pictures = [self._origin, *self._data[: i + 1]]
        else:
            pictures = [self._data[i]]
            if metric.info.reference and self._truth:
                pictures.append(self._truth)

        def compute() -> float | None:
            if isinstance(metric, ConsistencyMetric):
                return metric.read(self._consistencies[i])
            assert isinstance(metric, PictureMetric)
            truth = decode_png(self._truth) if self._truth else None
            return metric(decode_png(self._data[i]), truth)

        # A number belongs to the metric as it describes itself, this version of it, and the pixels that it saw.
        self._add(depth, name, _digest(repr(metric.info), pictures), compute)

    def score_prompt(self, depth: int, name: str) -> None:
        """Add what the prompt of one state changed; no number where it changed nothing at all."""
        i = self.positions[depth]
        state, unprompted = self._data[i], (self.zoom.run.folder / self.zoom.unprompted[depth]).read_bytes()

        def compute() -> float | None:
            influence = measure_influence(decode_png(state), decode_png(unprompted), self._parent_pixels(i))
            return influence.energy**0.5 if name == CHANGE else influence.contradiction

        self._add(depth, name, _digest(name, [state, unprompted]), compute)

    def _add(self, depth: int, name: str, digest: str, compute: Callable[[], float | None]) -> None:
        key = f"{name}@{depth}:{digest}"
        place = {**self.zoom.place(depth), "metric": name}
        try:
            if key not in self.numbers:
                self.numbers[key] = compute()
        except MissingError as error:
            self.scores.missing[name] = str(error)
        except ChainOfZoomError as error:
            self.scores.failures.append(ZoomFailure(**place, error=str(error)))
        else:
            number = self.numbers[key]
            if number is None:
                self.scores.unknown.append((name, depth))
            else:
                self.scores.values.append(MetricValue(**place, value=number))

    def _parent_pixels(self, i: int) -> Size:
        """Return how many pixels of its parent a state was made from."""
        parent, window = self.zoom.find_parent(self._states[i])
        size = size_of(decode_png(parent.read_bytes()))
        x0, y0, x1, y1 = self._states[i].window
        across, down = size.width / (window[2] - window[0]), size.height / (window[3] - window[1])
        return Size(max(1, round((x1 - x0) * across)), max(1, round((y1 - y0) * down)))

    @cached_property
    def _consistencies(self) -> list[StateConsistency]:
        origin = StateView(decode_png(self._origin), self._origin_window)
        windows = [state.window for state in self._states]
        views = [StateView(decode_png(data), window) for data, window in zip(self._data, windows, strict=True)]
        if self.zoom.run.linked:
            return measure_chain([origin, *views])
        steps = [measure_consistency(view, origin) for view in views]
        return [StateConsistency(parent=step, frame=step, drift=step.shift) for step in steps]


@cache
def _load_once(name: str) -> Metric:
    """Return the metric, made once per process: some read weights."""
    return load_metric(name)


def _digest(subject: str, pictures: Sequence[bytes]) -> str:
    digest = hashlib.sha256(f"{subject} {metadata.version('chain-of-zoom')}".encode())
    for data in pictures:
        digest.update(hashlib.sha256(data).digest())
    return digest.hexdigest()[:32]


def _read_numbers(path: Path) -> dict[str, float | None]:
    try:
        return parse_json(path.read_bytes(), dict[str, float | None])
    except (OSError, msgspec.DecodeError):
        return {}
