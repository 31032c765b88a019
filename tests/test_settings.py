"""`--set`, TOML and what is said about names that are not accepted."""

from __future__ import annotations

import msgspec
import pytest

from chain_of_zoom.errors import UsageError, suggest
from chain_of_zoom.settings import check_settings, format_toml, parse_toml, read_sets, split_labels


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    rank: int = 8


class Outer(msgspec.Struct, forbid_unknown_fields=True):
    steps: int = 1
    inner: Inner = msgspec.field(default_factory=Inner)
    text: str | None = None
    free: dict[str, str] = {}


@pytest.mark.parametrize("text", ["a=" + "[" * 5000 + "]" * 5000, "a=" + "9" * 5000, "a", "a=1979-99-99"])
def test_what_is_no_toml_is_one_kind_of_error(text):
    with pytest.raises(ValueError):  # noqa: PT011
        parse_toml(text)


def test_texts_of_set_become_tables_with_values_of_toml():
    assert read_sets(["steps=3", "a.b.c=true", "a.d=x y", "e=", "f=[1, 2]", "g=a=b"], "") == {
        "steps": 3, "a": {"b": {"c": True}, "d": "x y"}, "e": "", "f": [1, 2], "g": "a=b",
    }  # fmt: skip
    assert read_sets(["a.x=1"], "", ["a", "b"]) == {"a": {"x": 1}, "b": {}}


@pytest.mark.parametrize(
    ("texts", "tables"),
    [(["steps"], None), (["=1"], None), (["a.=1"], None), (["a=1", "a.b=2"], None), (["a=1", "a.b.c=2"], None),
     (["x=1"], ["a"]), (["b.x=1"], ["a"]), (["a.x.y=1"], ["a"])],
)  # fmt: skip
def test_texts_of_set_in_another_form_are_refused(texts, tables):
    with pytest.raises(UsageError, match=f"--set '{texts[-1]}'; accepted: key=value"):
        read_sets(texts, "key=value", tables)


def test_a_label_before_the_slash_chooses_whom_a_detail_is_for():
    assert split_labels(["a=1", "b/c=2", "path=x/y"], ["b", "d"], "method") == {
        None: ["a=1", "path=x/y"], "b": ["c=2"], "d": [],
    }  # fmt: skip
    with pytest.raises(UsageError, match="no method 'e'; accepted: b, d"):
        split_labels(["e/c=2"], ["b", "d"], "method")


def test_an_unknown_name_is_answered_with_the_nearest():
    assert suggest("real-esrgan", ["realsr", "realesrgan"], "") == "did you mean realesrgan?"
    assert suggest("x", ["realsr"], "for example realsr") == "for example realsr"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"step": 2}, r"unknown field `step`; did you mean steps\? see help"),
        ({"inner": {"rnak": 2}}, r"unknown field `rnak` - at `\$.inner`; did you mean rank\? see help"),
        ({"zzz": 2}, "unknown field `zzz`; see help"),
        ({"inner": 3}, r"Expected `object`, got `int` - at `\$.inner`; see help"),
        ({"free": {"a": 1}}, "Expected `str`, got `int` .*; see help"),
    ],
)
def test_settings_that_do_not_fit_name_the_field(values, message):
    with pytest.raises(UsageError, match=f"settings of x: .*{message}"):
        check_settings(values, Outer, "settings of x", "see help")


def test_what_is_written_as_toml_reads_back():
    settings = Outer(steps=7, text='ü 😀 \x7f "quoted" \\', free={"a b": "x", "ü": "y"})
    assert msgspec.convert(parse_toml(format_toml(settings).decode()), Outer) == settings
    assert b"text" not in format_toml(Outer())
