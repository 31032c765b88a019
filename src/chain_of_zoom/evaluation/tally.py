"""From finished zooms and their scores to results: rows, tables, and what is said of methods and pictures."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from chain_of_zoom.chain.record import Record, StateRecord
from chain_of_zoom.datasets.manifest import Dataset
from chain_of_zoom.evaluation.methods import Method
from chain_of_zoom.evaluation.metrics.base import MetricInfo
from chain_of_zoom.evaluation.protocols import Case, MeasuredRun
from chain_of_zoom.evaluation.results import Failure, Gap, MetricNote, PictureNote, Shown, Text, Value
from chain_of_zoom.evaluation.score import Enlarged, Score, Task


@dataclass(frozen=True, kw_only=True)
class Made:
    """One finished zoom. unprompted: depth -> the same step without a prompt, where there was one."""

    case: Case
    method: Method
    run: MeasuredRun
    record: Record
    unprompted: dict[int, str]

    def depths(self) -> dict[int, int]:
        """Depth -> index of the state that shows it, from 0."""
        count = len(self.record.states)
        return {depth: index % count for depth, index in self.run.states.items()}

    def states(self) -> dict[int, StateRecord]:
        """Depth -> the state that shows it."""
        return {depth: self.record.states[index] for depth, index in self.depths().items()}

    def seconds(self) -> float:
        """Of all its states."""
        return sum(state.seconds for state in self.record.states)

    def task(self, metrics: Sequence[str]) -> Task:
        """What to judge: enlarged states have been given a text, even if empty; the others are the photo's own."""
        depth_of = {index: depth for depth, index in self.depths().items()}
        first = self.record.states[0]
        origin = self.run.photo if self.run.from_photo else self.run.folder / first.file
        whole = (0.0, 0.0, float(self.record.input.size[0]), float(self.record.input.size[1]))
        return Task(
            folder=self.run.folder,
            states=tuple(
                Enlarged(
                    file=state.file,
                    window=state.window,
                    depth=depth_of.get(index),
                    unprompted=self.unprompted.get(depth_of.get(index, 0)),
                )
                for index, state in enumerate(self.record.states)
                if state.prompter is not None
            ),
            origin=origin,
            origin_window=whole if self.run.from_photo else first.window,
            linked=self.run.linked,
            truth=self.case.truth,
            metrics=tuple(metrics),
        )


def values(made: Sequence[Made], scores: Mapping[int, Sequence[Score]]) -> tuple[list[Value], list[Failure], list[Gap]]:
    """Every number, in the order of methods, pictures and depths; what failed; and what could not be told at all."""
    found: list[Value] = []
    failures: list[Failure] = []
    missing: dict[str, str] = {}
    untold: Counter[tuple[str, int]] = Counter()
    for index, each in enumerate(made):
        picture, spot, method = each.case.picture, each.case.spot, each.method.name
        for one in scores[index]:
            depth, metric = one.depth, one.metric
            if one.value is not None:
                value = one.value
                found.append(Value(picture=picture, spot=spot, method=method, depth=depth, metric=metric, value=value))
            elif one.missing:
                missing[metric] = one.error
            elif one.error:
                error = one.error
                failures.append(
                    Failure(picture=picture, spot=spot, method=method, depth=depth, metric=metric, error=error)
                )
            else:
                untold[metric, depth] += 1
    gaps = [Gap(what=metric, why=why) for metric, why in missing.items()]
    gaps += [
        Gap(what=f"{metric} at {depth}x", why=f"cannot be told on {count} states: too few pixels or too little texture")
        for (metric, depth), count in untold.items()
    ]
    return found, failures, gaps


def seconds(made: Iterable[Made]) -> dict[int, float]:
    """Median seconds of a zoom up to each depth."""
    times: dict[int, list[float]] = defaultdict(list)
    for each in made:
        for depth, index in each.depths().items():
            times[depth].append(sum(state.seconds for state in each.record.states[: index + 1]))
    return {depth: median(found) for depth, found in times.items()}


def metric_note(info: MetricInfo) -> MetricNote:
    """What the report says of a metric."""
    return MetricNote(
        name=info.name,
        direction=info.direction,
        reference=info.reference,
        source=info.source,
        licence=info.licence,
        note=info.note,
    )


def picture_notes(data: Dataset, cases: Iterable[Case]) -> tuple[PictureNote, ...]:
    """The pictures, also those that failed: they have no spot."""
    spots = Counter(case.picture for case in cases)
    return tuple(
        PictureNote(id=item.id, path=str(item.path), sha256=item.sha256, spots=spots[item.id]) for item in data.items
    )


def texts(each: Made) -> list[Text]:
    """The prompts of a zoom with a backbone that reads them."""
    if not each.record.backbone.text_aware:
        return []
    return [
        Text(
            picture=each.case.picture,
            spot=each.case.spot,
            method=each.method.name,
            depth=depth,
            prompt=state.prompt or "",
            raw=state.prompt_raw or "",
            used=state.prompt_used,
            notes=state.fallbacks,
        )
        for depth, state in each.states().items()
    ]


def shown(made: Sequence[Made], out: Path) -> tuple[Shown, ...]:
    """Files for the page, relative to the report: states, and the truth where there is one."""

    def file(case: Case, method: str, depth: int, path: Path) -> Shown:
        relative = Path(os.path.relpath(path, out)).as_posix()
        return Shown(picture=case.picture, spot=case.spot, method=method, depth=depth, file=relative)

    found = [
        file(each.case, each.method.name, depth, each.run.folder / state.file)
        for each in made
        for depth, state in each.states().items()
    ]
    cases = {(each.case.picture, each.case.spot): each.case for each in made}.values()
    return (*found, *(file(case, "truth", depth, case.truth) for case in cases if case.truth for depth in case.boxes))
