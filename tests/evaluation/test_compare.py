"""Two benchmarks side by side."""

from __future__ import annotations

import msgspec
import pytest

from chain_of_zoom.errors import UsageError
from chain_of_zoom.evaluation.compare import compare_results, format_comparison
from chain_of_zoom.evaluation.results import MethodNote, MetricNote, MetricValue, PictureNote, Results


def results(values: dict[str, float], method: str = "m", **changed: object) -> Results:
    note = MethodNote(
        name=method,
        backbone="fake",
        mode="chain",
        writer=None,
        licence="",
        text_aware=True,
        weights_sha256="aa",
        options={"backbone": {}},
        software={"numpy": "2.0"},
        seconds={},
    )
    made = Results(
        protocol="paper",
        about="",
        data="set",
        known=None,
        command="",
        settings={"seed": 0},
        depths=(4,),
        pictures=tuple(PictureNote(id=name, path=name, sha256=name, spots=1) for name in values),
        methods=(note,),
        metrics=(MetricNote(name="niqe", direction="lower", reference=False, source="", licence="", note=""),),
        gaps=(),
        failures=(),
        cells=(),
        pairs=(),
        prompts=(),
        shown=(),
        values=tuple(
            MetricValue(picture=name, spot=1, method=method, depth=4, metric="niqe", value=value)
            for name, value in values.items()
        ),
    )
    return msgspec.structs.replace(made, **changed)


def test_differences_are_of_the_pictures_that_both_have():
    found = compare_results(results({"a": 5, "b": 6, "only": 99}), results({"a": 4, "b": 4, "c": 1}))
    (change,) = found.changes
    assert (change.difference.n, change.difference.mean, change.wins) == (2, -1.5, 1.0)
    assert set(found.differing) == {"picture only only in the first", "picture c only in the second"}
    assert "m at 4x, niqe: -1.50 (-2.00 to -1.00), better on 100% of 2  not clear" in format_comparison(found)


def test_six_pictures_can_tell():
    names = "abcdef"
    found = compare_results(
        results(dict.fromkeys(names, 5)), results({name: 4 + i / 10 for i, name in enumerate(names)})
    )
    assert found.changes[0].difference.is_clear
    assert "clear" not in format_comparison(found)


def test_what_else_is_different_is_said():
    before = results({"a": 5, "b": 5})
    changed = msgspec.structs.replace(before.methods[0], software={"numpy": "2.1"}, options={"backbone": {"t5": "no"}})
    other = msgspec.structs.replace(before.pictures[0], sha256="zz")
    after = results({"a": 5, "b": 5}, methods=(changed,), settings={"seed": 1}, pictures=(other, before.pictures[1]))
    found = compare_results(before, after)
    assert "no change" in format_comparison(found)
    assert set(found.differing) == {
        "seed 0, then 1",
        "m: numpy 2.0, then 2.1",
        "m: backbone.t5 None, then no",
        "picture a: another file of that name",
    }


def test_nothing_in_common_is_an_error():
    with pytest.raises(UsageError, match="in common"):
        compare_results(results({"a": 1}), results({"a": 1}, method="other"))
    with pytest.raises(UsageError, match="two questions"):
        compare_results(results({"a": 1}), results({"a": 1}, protocol="true-zoom"))
