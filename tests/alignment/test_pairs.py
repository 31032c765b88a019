"""Reading pairs: what is usable, what is skipped and why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from batch_files import save
from conftest import noise
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chain_of_zoom.alignment.pairs.read import METADATA, read_pairs
from chain_of_zoom.errors import BadInputError


def line(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "parent_file_name": f"{name}_a.png", "zoomed_file_name": f"{name}_b.png", **more}


def listed(home: Path, *rows: Any, name: str = METADATA) -> Path:
    file = home / name
    file.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows) + "\n")
    return file


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for number, name in enumerate(("one", "two", "three")):
        save(noise(8, 8, number), tmp_path / f"{name}_a.png")
        save(noise(8, 8, number + 9), tmp_path / f"{name}_b.png")
    return tmp_path


def test_any_file_of_that_shape_in_its_order(home):
    file = listed(home, line("two", split="held-out"), "", line("one", note={"of": "somebody"}), name="mine.jsonl")
    found = read_pairs(file)
    assert [(pair.name, pair.split) for pair in found.pairs] == [("two", "held-out"), ("one", "train")]
    assert found.pairs[0].parent == home / "two_a.png"
    assert [pair.name for pair in found.select("held-out")] == ["two"]
    assert found.skipped == ()


def test_a_name_can_be_left_out(home):
    rows = [{key: value for key, value in line(name).items() if key != "name"} for name in ("one", "two")]
    assert [pair.name for pair in read_pairs(listed(home, *rows).parent).pairs] == ["one_b", "two_b"]


def test_what_cannot_be_used_is_skipped_and_says_why(home):
    (home / "three_b.png").write_bytes((home / "three_b.png").read_bytes()[:90])
    rows = [
        line("one"),
        line("two"),
        line("three"),
        line("gone"),
        line("one"),
        line("odd", split="test"),
        "{not json",
        "[1, 2]",
        '{"name": "two"}',
        "\x00" * 9,
        "[" * 100_000,
        line("big", parent_file_name="x" * 300),
        line("nul", parent_file_name="a\0b"),
    ]
    found = read_pairs(listed(home, *rows))
    assert [pair.name for pair in found.pairs] == ["one", "two"]
    why = dict(found.skipped)
    assert len(found.skipped) == len(rows) - 2
    assert "damaged" in why["three"]
    assert "no such file" in why["gone"]
    assert "name of another pair" in why["one"]
    assert "split" in why["line 6"]
    assert "parent_file_name" in why["line 9"]


@pytest.mark.parametrize(
    "path", ["../out_a.png", "/etc/passwd", "x/../../out_a.png", "C:\\a.png", "..\\a.png", "", "."]
)
def test_no_file_outside_the_folder_is_read(home, tmp_path, path):
    inside = tmp_path / "in"
    save(noise(8, 8), tmp_path / "out_a.png")
    for name in ("one", "two"):
        save(noise(8, 8), inside / f"{name}_a.png")
        save(noise(8, 8), inside / f"{name}_b.png")
    found = read_pairs(listed(inside, line("one"), line("two"), line("evil", parent_file_name=path)))
    assert [pair.name for pair in found.pairs] == ["one", "two"]
    assert "outside the folder" in found.skipped[0][1]


def test_too_few_says_how_many_and_what_was_wrong_with_the_first(home):
    listed(home, line("one"), line("gone"))
    with pytest.raises(BadInputError, match=r"1 usable pairs of 2; .*gone.*accepted: 2 or more; type: coz align pairs"):
        read_pairs(home)
    assert len(read_pairs(home, needed=1).pairs) == 1


@pytest.mark.parametrize("what", ["nothing", "folder"])
def test_nothing_there_is_one_line(tmp_path, what):
    source = tmp_path if what == "folder" else tmp_path / "no.jsonl"
    with pytest.raises(BadInputError, match="cannot be read.*coz align pairs"):
        read_pairs(source)


@pytest.mark.slow
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=60), max_size=4))
def test_whatever_the_file_holds(tmp_path, lines):
    (tmp_path / "any.jsonl").write_bytes(b"\n".join(lines))
    with pytest.raises(BadInputError):
        read_pairs(tmp_path / "any.jsonl")
