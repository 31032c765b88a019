"""Compare two benchmarks: paired differences of what both measured, and what else is different."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from chain_of_zoom.errors import UsageError
from chain_of_zoom.evaluation.markdown import format_number
from chain_of_zoom.evaluation.results import Interval, MethodNote, Results
from chain_of_zoom.evaluation.statistics import Bootstrap, group_values, share_of_wins, subtract_pictures


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """How a metric of a method at a depth changed."""

    method: str
    """The name of the method."""
    depth: int
    """How far the states are zoomed in."""
    metric: str
    """The name of the metric."""
    difference: Interval
    """After minus before."""
    wins: float
    """The share of the pictures on which after is better, ties counting half."""


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """What changed between two benchmarks."""

    changes: tuple[Change, ...]
    """Every number that both measured."""
    differing: tuple[str, ...]
    """Settings, versions, weights and pictures that differ, in words."""


def compare_results(before: Results, after: Results) -> Comparison:
    """Compare everything that both measured. Raises UsageError when that is nothing, or the protocols differ."""
    if before.protocol != after.protocol:
        raise UsageError(
            f"{before.protocol} and {after.protocol} are two questions; accepted: two folders of one protocol; "
            "see the settings at the end of their pages"
        )
    directions = {metric.name: metric.direction for metric in before.metrics}
    old_values, new_values = group_values(before.values), group_values(after.values)
    bootstrap = Bootstrap()
    changes = []
    for (method, depth, metric), pictures in old_values.items():
        differences = subtract_pictures(pictures, new_values.get((method, depth, metric), {}))
        if differences and metric in directions:
            interval = bootstrap.interval(differences)
            wins = share_of_wins(differences, directions[metric])
            changes.append(Change(method=method, depth=depth, metric=metric, difference=interval, wins=wins))
    if not changes:
        raise UsageError(
            "the two folders have no picture, method, depth and metric in common; accepted: the same method names and "
            "pictures; see coz eval --help"
        )
    return Comparison(changes=tuple(changes), differing=tuple(_list_differences(before, after)))


def format_comparison(comparison: Comparison) -> str:
    """Write the comparison as lines for a terminal."""
    lines = []
    for change in comparison.changes:
        mean, low, high = change.difference.mean, change.difference.low, change.difference.high
        text = f"{change.method} at {change.depth}x, {change.metric}: {'+' if mean > 0 else ''}{format_number(mean)}"
        if low is not None and high is not None:
            text += f" ({format_number(low)} to {format_number(high)})"
        text += f", better on {change.wins:.0%} of {change.difference.n}"
        if not change.difference.is_clear:
            text += "  not clear" if mean else "  no change"
        lines.append(text)
    lines += [f"differs: {difference}" for difference in comparison.differing] or ["nothing else differs"]
    return "\n".join(lines)


def _list_differences(before: Results, after: Results) -> list[str]:
    lines = _list_changed("", before.settings, after.settings)
    old_methods = {method.name: method for method in before.methods}
    new_methods = {method.name: method for method in after.methods}
    old_metrics = {metric.name: metric for metric in before.metrics}
    new_metrics = {metric.name: metric for metric in after.metrics}
    old_pictures = {picture.id: picture for picture in before.pictures}
    new_pictures = {picture.id: picture for picture in after.pictures}
    lines += _list_unshared("method", old_methods, new_methods)
    lines += _list_unshared("metric", old_metrics, new_metrics)
    lines += _list_unshared("picture", old_pictures, new_pictures)
    for id in old_pictures:
        if id in new_pictures and old_pictures[id].sha256 != new_pictures[id].sha256:
            lines.append(f"picture {id}: another file of that name")
    for name, method in new_methods.items():
        if name in old_methods:
            lines += _list_changed(f"{name}: ", _flatten(old_methods[name]), _flatten(method))
    return lines


def _flatten(method: MethodNote) -> dict[str, Any]:
    """Return everything that can change what a method makes, by name."""
    properties = {name: getattr(method, name) for name in ("backbone", "mode", "writer", "weights_sha256")}
    for kind, options in method.options.items():
        properties.update({f"{kind}.{key}": value for key, value in options.items()})
    return {**properties, **method.software}


def _list_changed(prefix: str, before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    return [
        f"{prefix}{key} {before.get(key)}, then {after.get(key)}"
        for key in {**before, **after}
        if before.get(key) != after.get(key)
    ]


def _list_unshared(kind: str, before: Mapping[str, object], after: Mapping[str, object]) -> list[str]:
    lines = [f"{kind} {name} only in the first" for name in before if name not in after]
    return lines + [f"{kind} {name} only in the second" for name in after if name not in before]
