"""What is printed steers no terminal, whatever is in names and texts."""

from __future__ import annotations

import json
import os
import shutil

import pytest
from conftest import PHOTO
from PIL import Image

from chain_of_zoom.cli.terminal import visible

FAST = ("--size", "16x16", "--zoom", "2", "--backbone", "bicubic", "--no-animate")
STEERING = ["\x1b]0;PWN\x07", "\x1b[31m", "\r", "\n", "\x7f", "\x9b31m", "\u202e", "\u2066", "\u2028"]


@pytest.mark.parametrize("text", [*STEERING, "\udcff"])
def test_it_is_made_visible(text):
    assert visible(f"a{text}b").isprintable()
    assert visible(f"a{text}b") != visible("ab")


@pytest.mark.parametrize("text", ["Köln 北京", "family \U0001f468\u200d\U0001f469", "می\u200cخواهم", "[red]", "a\\b"])
def test_anything_else_stays(text):
    assert visible(text) == text


@pytest.fixture
def photo(tmp_path):
    """A name with all of them."""
    name = f"t{''.join(STEERING)}[link=x]y.png"
    Image.open(PHOTO).crop((0, 0, 40, 30)).save(tmp_path / "p.png")
    shutil.copy(tmp_path / "p.png", tmp_path / name)
    return name


def check(text: str, lines: int | None = None) -> None:
    rows = text.splitlines(keepends=True)
    assert all(row.endswith("\n") and row[:-1].isprintable() for row in rows), text
    assert lines is None or len(rows) == lines


@pytest.mark.slow
def test_names_in_lines(coz, tmp_path, photo):
    done = coz("zoom", photo, *FAST)
    assert done.returncode == 0, done.stderr
    check(done.stdout)
    assert "[link=x]" in done.stdout
    check(coz("upscale", photo, "--backbone", "bicubic", "-o", f"{photo}.png").stdout, 1)
    folder = next(path for path in tmp_path.iterdir() if path.is_dir())
    check(coz("animate", folder.name).stdout, 1)


@pytest.mark.slow
@pytest.mark.parametrize("debug", [[], ["--debug"]])
def test_names_in_errors(coz, tmp_path, photo, debug):
    check(coz("zoom", f"no{photo}", *FAST, *debug).stderr, None if debug else 1)
    (tmp_path / f"broken{photo}").write_bytes(b"no picture")
    done = coz("zoom", ".", *FAST, "-o", "out", *debug)
    assert done.returncode == 3
    check(done.stdout)
    check(done.stderr, None if debug else 1)
    check(coz(f"--{photo}").stderr, 1)


@pytest.mark.slow
def test_json_stays_what_it_is(coz, tmp_path, photo):
    done = coz("zoom", photo, *FAST, "-o", "out", "--json")
    check(done.stdout)
    assert json.loads(done.stdout) == json.loads((tmp_path / "out" / "record.json").read_bytes())
    assert json.loads(done.stdout)["input"]["path"] == f"../{photo}"


def test_a_name_that_is_no_text(coz, tmp_path):
    shutil.copy(PHOTO, os.fsencode(tmp_path) + b"/\xff.png")
    done = coz("upscale", os.fsdecode(b"\xff.png"), "--backbone", "bicubic", "-o", "a.png", "-q")
    assert (done.returncode, done.stderr) == (0, "") or (done.returncode == 3 and "not UTF-8" in done.stderr)


@pytest.mark.slow
def test_a_folder_that_is_gone(coz, tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    for command in (["zoom", PHOTO, *FAST], ["upscale", PHOTO, "--backbone", "bicubic"]):
        done = coz(*command)
        assert (done.returncode, done.stdout) == (4, "")
        check(done.stderr, 1)
        assert "unexpected" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("command", [["zoom"], ["animate"], ["eval", "--methods", "bicubic", "--data"], ["upscale"]])
def test_names_that_are_too_long(coz, command):
    done = coz(*command, "x" * 300)
    assert done.returncode in (3, 4)
    check(done.stderr, 1)
    assert "unexpected" not in done.stderr
