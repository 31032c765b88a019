"""Two benchmarks side by side: paired differences of what both measured, and what else is different."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from chain_of_zoom.errors import UsageError
from chain_of_zoom.evaluation.markdown import format_number
from chain_of_zoom.evaluation.results import MethodNote, Results, arranged, differences
from chain_of_zoom.evaluation.statistics import Bootstrap, Interval, share_of_wins


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A method's metric at a depth, after less before. wins: share of the pictures on which after is better."""

    method: str
    depth: int
    metric: str
    difference: Interval
    wins: float


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """What changed. differing: settings, versions, weights and pictures, in words."""

    changes: tuple[Change, ...]
    differing: tuple[str, ...]


def compare(before: Results, after: Results) -> Comparison:
    """Everything that both measured. Raises UsageError when that is nothing, or the questions differ."""
    if before.protocol != after.protocol:
        raise UsageError(
            f"{before.protocol} and {after.protocol} are two questions; accepted: two folders of one protocol; "
            "see the settings at the end of their pages"
        )
    directions = {metric.name: metric.direction for metric in before.metrics}
    old, new = arranged(before.values), arranged(after.values)
    bootstrap = Bootstrap()
    changes = []
    for (method, depth, metric), pictures in old.items():
        found = differences(pictures, new.get((method, depth, metric), {}))
        if found and metric in directions:
            interval = bootstrap.interval(found)
            wins = share_of_wins(found, directions[metric])
            changes.append(Change(method=method, depth=depth, metric=metric, difference=interval, wins=wins))
    if not changes:
        raise UsageError(
            "the two folders have no picture, method, depth and metric in common; accepted: the same method names and "
            "pictures; see coz eval --help"
        )
    return Comparison(changes=tuple(changes), differing=tuple(_differing(before, after)))


def plain(comparison: Comparison) -> str:
    """For a terminal."""
    lines = []
    for c in comparison.changes:
        low, high = c.difference.low, c.difference.high
        interval = "" if low is None or high is None else f" ({format_number(low)} to {format_number(high)})"
        verdict = "" if c.difference.is_clear else "  not clear" if c.difference.mean else "  no change"
        sign = "+" if c.difference.mean > 0 else ""
        lines.append(
            f"{c.method} at {c.depth}x, {c.metric}: {sign}{format_number(c.difference.mean)}"
            f"{interval}, better on {c.wins:.0%} of {c.difference.n}{verdict}"
        )
    lines += [f"differs: {what}" for what in comparison.differing] or ["nothing else differs"]
    return "\n".join(lines)


def _differing(before: Results, after: Results) -> list[str]:
    found = _items("", before.settings, after.settings)
    found += _only("method", [m.name for m in before.methods], [m.name for m in after.methods])
    found += _only("metric", [m.name for m in before.metrics], [m.name for m in after.metrics])
    found += _only("picture", [p.id for p in before.pictures], [p.id for p in after.pictures])
    hashes = {picture.id: picture.sha256 for picture in before.pictures}
    found += [
        f"picture {picture.id}: another file of that name"
        for picture in after.pictures
        if hashes.get(picture.id, picture.sha256) != picture.sha256
    ]
    methods = {method.name: method for method in before.methods}
    for method in after.methods:
        if method.name in methods:
            found += _items(f"{method.name}: ", _facts(methods[method.name]), _facts(method))
    return found


def _facts(method: MethodNote) -> dict[str, Any]:
    facts: dict[str, Any] = {name: getattr(method, name) for name in ("backbone", "mode", "writer", "weights_sha256")}
    options = {f"{kind}.{key}": value for kind, told in method.options.items() for key, value in told.items()}
    return {**facts, **options, **method.software}


def _items(of: str, before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    return [
        f"{of}{key} {before.get(key)}, then {after.get(key)}"
        for key in {**before, **after}
        if before.get(key) != after.get(key)
    ]


def _only(kind: str, before: Sequence[str], after: Sequence[str]) -> list[str]:
    return [f"{kind} {name} only in the first" for name in before if name not in after] + [
        f"{kind} {name} only in the second" for name in after if name not in before
    ]
