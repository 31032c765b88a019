"""The benchmark: every method on every picture, every metric on every state, and tables of the numbers.

States and numbers are kept as they are made, so that a stopped benchmark goes on where it was, and one more method or
metric costs only itself.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import mean

import msgspec

from chain_of_zoom.api import ChainOfZoom
from chain_of_zoom.cluster.joining import Crew, stay
from chain_of_zoom.cluster.nodes import share_places
from chain_of_zoom.cluster.working import open_chain
from chain_of_zoom.datasets.manifest import Dataset
from chain_of_zoom.errors import BackboneError, DownError
from chain_of_zoom.evaluation.finished import FinishedZoom, list_files, median_seconds
from chain_of_zoom.evaluation.judge import ANSWERS, INVENTION, JudgeScores, describe_invention, judge_zooms
from chain_of_zoom.evaluation.methods import Method, Options, build_chain, build_chains
from chain_of_zoom.evaluation.metrics.base import MetricInfo
from chain_of_zoom.evaluation.metrics.table import load_metric
from chain_of_zoom.evaluation.protocols import Case, Protocol
from chain_of_zoom.evaluation.results import (
    MethodNote,
    MetricNote,
    MetricValue,
    NotMeasured,
    PictureNote,
    Results,
    ZoomFailure,
)
from chain_of_zoom.evaluation.score import ZoomScores, score_zooms
from chain_of_zoom.evaluation.states import OF_ONE_PICTURE, RunMaking, StateCache, make_runs
from chain_of_zoom.evaluation.statistics import Bootstrap, average_pictures, compare_methods, group_values
from chain_of_zoom.evaluation.trust import check_trust
from chain_of_zoom.files import make_folder
from chain_of_zoom.parsing import printable
from chain_of_zoom.prompters.critic import Critic
from chain_of_zoom.resources import available_cores
from chain_of_zoom.runs.ahead import work_ahead
from chain_of_zoom.runs.progress import OnProgress, Progress, ignore_progress

STATES = "states"


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """What to measure."""

    data: Dataset
    """The pictures."""
    methods: Sequence[Method]
    """The ways to zoom; the first one is the base of the comparisons in the report."""
    protocol: Protocol
    """Which zooms to make, and what to compare them with."""
    metrics: Sequence[str]
    """The names of the metrics."""
    options: Mapping[str, Options] = field(default_factory=dict)
    """Loader details by the name of the method."""
    seed: int = 0
    """The seed of backbones and intervals."""
    jobs: int = 0
    """Processes for metrics; 0 is one for each core."""
    command: str = ""
    """The command as typed, for the report."""
    crew: Crew | None = None
    """The cluster that makes the states; None where they are made here."""
    judge: Critic | None = None
    """The model that is asked which states contradict what is known; its answers are kept with the results."""


def evaluate(
    benchmark: Benchmark, out: Path, *, force: bool = False, on_progress: OnProgress = ignore_progress
) -> Results:
    """Run the benchmark, or what is left of it, and write results.csv and results.json to `out`.

    force: replace states that were made in another way. Raises UsageError, MissingError (weights, extras, a judge that
    is down) and OutputError; what fails on one picture is among the failures of the results.
    """
    evaluation = _Evaluation(benchmark, out, force, on_progress)
    chains = build_chains(benchmark.methods, benchmark.options)
    metrics = evaluation.find_usable_metrics()
    cases = evaluation.prepare_cases()
    with stay(benchmark.crew) if benchmark.crew else nullcontext():
        zooms, notes = evaluation.make_zooms(chains, cases)
    values = evaluation.score(zooms, list(metrics))
    judged = evaluation.ask_judge(zooms, metrics)
    results = evaluation.summarise(metrics, cases, zooms, notes, values, judged)
    results.write(out)
    return results


class _Evaluation:
    """One benchmark as it goes, with what failed and what could not be measured so far."""

    def __init__(self, benchmark: Benchmark, out: Path, force: bool, on_progress: OnProgress) -> None:
        self.benchmark, self.protocol, self.data = benchmark, benchmark.protocol, benchmark.data
        self.out, self.force, self.on_progress = out, force, on_progress
        self.failures: list[ZoomFailure] = []
        self.gaps = [NotMeasured(what=f"{depth}x", why=reason) for depth, reason in self.protocol.gaps.items()]

    def find_usable_metrics(self) -> dict[str, MetricInfo]:
        """Return the metrics that can run here; note the others as gaps."""
        usable: dict[str, MetricInfo] = {}
        for name in self.benchmark.metrics:
            metric = load_metric(name)
            if metric.needs_truth and not self.protocol.has_truth:
                reason: str | None = "compares with a truth, and this protocol has none; type: --protocol true-zoom"
            else:
                reason = metric.missing()
            if reason:
                self.gaps.append(NotMeasured(what=name, why=reason))
            else:
                usable[name] = metric.info
        return usable

    def prepare_cases(self) -> list[Case]:
        """Return the spots of all pictures."""
        home = make_folder(self.out / STATES)
        cases: list[Case] = []
        for index, item in enumerate(self.data.items):
            self.on_progress(Progress("pictures", index, len(self.data.items)))
            try:
                cases += self.protocol.prepare_cases(item, home, force=self.force)
            except OF_ONE_PICTURE as error:
                self.failures.append(ZoomFailure(picture=item.id, error=str(error)))
        return cases

    def make_zooms(
        self, chains: dict[str, ChainOfZoom], cases: Sequence[Case]
    ) -> tuple[list[FinishedZoom], list[MethodNote]]:
        """Make every zoom of one method after the other, so that one model at a time is in memory."""
        zooms: list[FinishedZoom] = []
        notes: list[MethodNote] = []
        clock = _Clock({method.name: len(cases) for method in self.benchmark.methods})
        for method in self.benchmark.methods:
            own_zooms: list[FinishedZoom] = []
            with self._open_chain(method, chains.pop(method.name)) as chain:  # the last method of a model lets it go
                self._report_states(method, clock)
                make = partial(self._make_runs, chain, method)
                for case, makings in work_ahead(make, cases, chain.lanes, chain.close):
                    case_zooms = self._collect(case, method, makings)
                    own_zooms += case_zooms
                    clock.tick(method.name, sum(state.seconds for zoom in case_zooms for state in zoom.record.states))
                    self._report_states(method, clock)
                zooms += own_zooms
                notes.append(StateCache(method, chain).describe_method(median_seconds(own_zooms)))
        self.on_progress(Progress("states", clock.total, clock.total, seconds_left=0.0))
        return zooms, notes

    def _report_states(self, method: Method, clock: _Clock) -> None:
        progress = Progress(f"states: {method.name}", clock.done, clock.total, seconds_left=clock.remaining())
        self.on_progress(progress)

    @contextmanager
    def _open_chain(self, method: Method, chain: ChainOfZoom) -> Iterator[ChainOfZoom]:
        """Yield the chain of a method: this one, or one on the cluster, which makes the same states."""
        if self.benchmark.crew is None:
            yield chain
            return
        build = partial(build_chain, method, self.benchmark.options.get(method.name, {}))
        with (
            share_places([item.path.absolute() for item in self.data.items], self.out.absolute()) as places,
            open_chain(build, self.benchmark.crew, places, most=len(self.data.items)) as chain,
        ):
            yield chain

    def _make_runs(self, chain: ChainOfZoom, method: Method, case: Case) -> list[RunMaking]:
        """Make the zooms of a case, whose files are named by whole paths to whoever works in another folder."""
        runs = self.protocol.plan_runs(case, method, self.benchmark.seed)
        if self.benchmark.crew:
            runs = [replace(run, folder=run.folder.absolute(), photo=run.photo.absolute()) for run in runs]
        try:
            makings: list[RunMaking] = chain.ask(make_runs, method, runs, self.force)
        except BackboneError as error:  # workers died of it
            makings = [RunMaking(None, {}, str(error))] * len(runs)
        return makings

    def _collect(self, case: Case, method: Method, makings: Sequence[RunMaking]) -> list[FinishedZoom]:
        zooms = []
        runs = self.protocol.plan_runs(case, method, self.benchmark.seed)
        for run, making in zip(runs, makings, strict=True):
            if making.record is None:
                depth = max(run.states) if len(run.states) == 1 else None
                self.failures.append(
                    ZoomFailure(
                        picture=case.picture, spot=case.spot, method=method.name, depth=depth, error=making.error
                    )
                )
                continue
            zooms.append(
                FinishedZoom(case=case, method=method, run=run, record=making.record, unprompted=making.unprompted)
            )
        return zooms

    def score(self, zooms: Sequence[FinishedZoom], metrics: Sequence[str]) -> list[MetricValue]:
        """Return every number, in the order of methods, pictures and depths."""
        scores: dict[int, ZoomScores] = {}
        for index, zoom_scores in score_zooms(zooms, metrics, self.benchmark.jobs or available_cores()):
            scores[index] = zoom_scores
            self.on_progress(Progress("metrics", len(scores), len(zooms)))
        values: list[MetricValue] = []
        missing: dict[str, str] = {}
        unknown: Counter[tuple[str, int]] = Counter()
        for _, zoom_scores in sorted(scores.items()):
            values += zoom_scores.values
            self.failures += zoom_scores.failures
            missing |= zoom_scores.missing
            unknown.update(zoom_scores.unknown)
        self.gaps += [NotMeasured(what=metric, why=reason) for metric, reason in missing.items()]
        for (metric, depth), count in unknown.items():
            reason = f"cannot be told on {count} states: too few pixels or too little texture"
            self.gaps.append(NotMeasured(what=f"{metric} at {depth}x", why=reason))
        return values

    def ask_judge(self, zooms: Sequence[FinishedZoom], metrics: dict[str, MetricInfo]) -> JudgeScores:
        """Return what the judge says, and add its metric; nothing without a judge."""
        judge = self.benchmark.judge
        if judge is None:
            return JudgeScores()
        judge.keep_answers(self.out / ANSWERS)
        try:
            scores = judge_zooms(zooms, self.benchmark.methods[0].name, judge, self.on_progress)
        except DownError as error:
            advice = "its answers so far are kept: type the same command to go on, or leave out --judge"
            raise DownError(f"{error}; {advice}") from error
        metrics[INVENTION] = describe_invention(judge, has_truth=self.protocol.has_truth)
        self.failures += scores.failures
        return scores

    def summarise(
        self,
        metrics: Mapping[str, MetricInfo],
        cases: Sequence[Case],
        zooms: Sequence[FinishedZoom],
        methods: Sequence[MethodNote],
        metric_values: Sequence[MetricValue],
        judged: JudgeScores,
    ) -> Results:
        """Put everything together, with means, intervals and comparisons."""
        bootstrap = Bootstrap(seed=self.benchmark.seed)
        values = [*metric_values, *judged.values]
        directions = {name: info.direction for name, info in metrics.items()}
        table = group_values(value for value in values if value.metric in directions)
        spots = Counter(case.picture for case in cases)
        pictures = [
            PictureNote(id=item.id, path=printable(item.path), sha256=item.sha256, spots=spots[item.id])
            for item in self.data.items
        ]
        notes = [msgspec.convert(info, MetricNote, from_attributes=True) for info in metrics.values()]
        names = [method.name for method in methods]
        trust, trust_files = check_trust(zooms, self.out)
        return Results(
            protocol=self.protocol.name,
            about=self.protocol.about,
            data=self.data.name,
            known=self.data.published_as,
            command=self.benchmark.command,
            settings={
                "seed": self.benchmark.seed,
                **self.protocol.settings(),
                "intervals": f"95%, percentile bootstrap over pictures, {bootstrap.resamples} resamples",
                **({"judge": self.benchmark.judge.name} if self.benchmark.judge else {}),
            },
            depths=self.protocol.depths,
            pictures=tuple(pictures),
            methods=tuple(methods),
            metrics=tuple(notes),
            gaps=tuple(self.gaps),
            failures=tuple(self.failures),
            cells=average_pictures(table, directions, bootstrap, shares=(INVENTION,)),
            pairs=compare_methods(table, names, directions, bootstrap),
            prompts=tuple(prompt for zoom in zooms for prompt in zoom.prompts()),
            shown=(*list_files(zooms, self.out), *trust_files),
            trust=trust,
            duels=tuple(judged.duels),
            values=tuple(values),
        )


class _Clock:
    """Estimates the time for the states: by the mean of each method so far, or of all where it has not begun."""

    def __init__(self, cases: dict[str, int]) -> None:
        self._cases = cases
        self._seconds: dict[str, list[float]] = defaultdict(list)
        self.total, self.done = sum(cases.values()), 0

    def tick(self, method: str, seconds: float) -> None:
        """Count one case of a method as done."""
        self.done += 1
        self._cases[method] -= 1
        self._seconds[method].append(seconds)

    def remaining(self) -> float | None:
        """Return the seconds that the remaining cases may take; None before the first one is done."""
        if not self._seconds:
            return None
        means = {method: mean(seconds) for method, seconds in self._seconds.items()}
        typical = mean(means.values())
        return sum(count * means.get(method, typical) for method, count in self._cases.items())
