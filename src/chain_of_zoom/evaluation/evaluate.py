"""The benchmark: every method on every picture, every metric on every state, and what follows from the numbers.

States and numbers are kept as they are made, so that a stopped benchmark goes on where it was, and one more method or
metric costs only itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean

from chain_of_zoom.api import ChainOfZoom
from chain_of_zoom.datasets.manifest import Dataset
from chain_of_zoom.errors import BackboneError, BadInputError, UsageError
from chain_of_zoom.evaluation import consistency, tally
from chain_of_zoom.evaluation.methods import Method, Options, build
from chain_of_zoom.evaluation.metrics.base import MetricInfo
from chain_of_zoom.evaluation.metrics.table import load_metric
from chain_of_zoom.evaluation.protocols import Case, Protocol
from chain_of_zoom.evaluation.results import Failure, Gap, MethodNote, Results, arranged, compare_methods, means
from chain_of_zoom.evaluation.score import infos, score
from chain_of_zoom.evaluation.states import StateCache
from chain_of_zoom.evaluation.statistics import Bootstrap
from chain_of_zoom.evaluation.tally import Made
from chain_of_zoom.files import make_folder
from chain_of_zoom.resources import available_cores

STATES = "states"

# What goes wrong with one picture; anything else (a full disk, missing weights) ends the benchmark.
OF_ONE_PICTURE = (UsageError, BadInputError, BackboneError)

Progress = Callable[[str, int, int, float | None], None]
"""Called with what is being done, how much of it is done, how much there is, and the seconds it may still take."""


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """What to measure.

    metrics: names of metrics and of measures of consistency. options: loader details by method. seed: of backbones and
    intervals. jobs: processes for metrics; 0 is one for each core. command: as typed, for the report.
    """

    data: Dataset
    methods: Sequence[Method]
    protocol: Protocol
    metrics: Sequence[str]
    options: Mapping[str, Options] = field(default_factory=dict)
    seed: int = 0
    jobs: int = 0
    command: str = ""


def evaluate(benchmark: Benchmark, out: Path, *, force: bool = False, progress: Progress | None = None) -> Results:
    """Run the benchmark, or what is left of it, and write results.csv and results.json to `out`.

    force: replace states that were made in another way. Raises UsageError, MissingError (weights, extras) and
    OutputError; what fails on one picture is among the failures of the results.
    """
    say = progress or (lambda what, done, total, left: None)
    protocol = benchmark.protocol
    chains = build(benchmark.methods, benchmark.options)
    metrics, gaps = _usable(benchmark)
    cases, failures = _cases(benchmark, make_folder(out / STATES), force, say)
    made, notes, failed = _states(benchmark, chains, cases, force, say)
    tasks = [each.task(tuple(metrics)) for each in made]
    scores = {}
    for index, found in score(tasks, benchmark.jobs or available_cores()):
        scores[index] = found
        say("metrics", len(scores), len(tasks), None)
    values, unjudged, untold = tally.values(made, scores)
    directions = {name: info.direction for name, info in metrics.items()}
    table, bootstrap = arranged(v for v in values if v.metric in directions), Bootstrap(seed=benchmark.seed)
    results = Results(
        protocol=protocol.name,
        about=protocol.about,
        data=benchmark.data.name,
        known=benchmark.data.known,
        command=benchmark.command,
        settings={
            "seed": benchmark.seed,
            **protocol.settings(),
            "intervals": f"95%, percentile bootstrap over pictures, {bootstrap.resamples} resamples",
        },
        depths=protocol.depths,
        pictures=tally.picture_notes(benchmark.data, cases),
        methods=tuple(notes),
        metrics=tuple(tally.metric_note(info) for info in metrics.values()),
        gaps=(*gaps, *untold),
        failures=(*failures, *failed, *unjudged),
        cells=means(table, directions, bootstrap),
        pairs=compare_methods(table, [method.name for method in benchmark.methods], directions, bootstrap),
        prompts=tuple(text for each in made for text in tally.texts(each)),
        shown=tally.shown(made, out),
        values=tuple(values),
    )
    results.write(out)
    return results


def _usable(benchmark: Benchmark) -> tuple[dict[str, MetricInfo], list[Gap]]:
    """The metrics that can run here, and a gap for everything else that was asked for."""
    gaps = [Gap(what=f"{depth}x", why=why) for depth, why in benchmark.protocol.gaps.items()]
    usable: dict[str, MetricInfo] = {}
    for name, info in infos(benchmark.metrics).items():
        if name in consistency.INFOS:
            why = consistency.missing()
        elif info.reference and not benchmark.protocol.has_truth:
            why = "compares with a truth, and this protocol has none; type: --protocol true-zoom"
        else:
            why = load_metric(name).missing()
        if why:
            gaps.append(Gap(what=name, why=why))
        else:
            usable[name] = info
    return usable, gaps


def _cases(benchmark: Benchmark, home: Path, force: bool, say: Progress) -> tuple[list[Case], list[Failure]]:
    cases: list[Case] = []
    failures: list[Failure] = []
    items = benchmark.data.items
    for index, item in enumerate(items):
        say("pictures", index, len(items), None)
        try:
            cases += benchmark.protocol.prepare_cases(item, home, force=force)
        except OF_ONE_PICTURE as error:
            failures.append(Failure(picture=item.id, error=str(error)))
    return cases, failures


def _states(
    benchmark: Benchmark, chains: dict[str, ChainOfZoom], cases: Sequence[Case], force: bool, say: Progress
) -> tuple[list[Made], list[MethodNote], list[Failure]]:
    """Every zoom of every method; methods one after the other, so that one model at a time is in memory."""
    made: list[Made] = []
    notes: list[MethodNote] = []
    failures: list[Failure] = []
    clock = _Clock({method.name: len(cases) for method in benchmark.methods})
    for method in benchmark.methods:
        maker = StateCache(method, chains.pop(method.name))  # popped: the last method that uses a model lets it go
        mine: list[Made] = []
        for case in cases:
            say(f"states: {method.name}", clock.done, clock.total, clock.left())
            seconds = 0.0
            for run in benchmark.protocol.plan_runs(case, method, benchmark.seed):
                try:
                    record = maker.make(run, force=force)
                    unprompted = maker.make_without_prompts(run, record)
                except OF_ONE_PICTURE as error:
                    failures.append(
                        Failure(
                            picture=case.picture,
                            spot=case.spot,
                            method=method.name,
                            depth=max(run.states) if len(run.states) == 1 else None,
                            error=str(error),
                        )
                    )
                    continue
                mine.append(Made(case=case, method=method, run=run, record=record, unprompted=unprompted))
                seconds += mine[-1].seconds()
            clock.tick(method.name, seconds)
        made += mine
        notes.append(maker.describe_method(tally.seconds(mine)))
    say("states", clock.total, clock.total, 0.0)
    return made, notes, failures


class _Clock:
    """How long the states may still take: by the mean of each method so far, or of all where it has not begun."""

    def __init__(self, todo: dict[str, int]) -> None:
        self._todo = todo
        self._took: dict[str, list[float]] = defaultdict(list)
        self.total, self.done = sum(todo.values()), 0

    def tick(self, method: str, seconds: float) -> None:
        """One case of a method is done."""
        self.done += 1
        self._todo[method] -= 1
        self._took[method].append(seconds)

    def left(self) -> float | None:
        """Seconds; None before anything is known."""
        if not self._took:
            return None
        other = mean(mean(times) for times in self._took.values())
        return sum(n * (mean(self._took[name]) if name in self._took else other) for name, n in self._todo.items())
