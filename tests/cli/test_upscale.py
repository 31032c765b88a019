"""`coz upscale` as a user calls it."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys

import pytest
from conftest import PHOTO
from PIL import Image


@pytest.mark.slow
def test_the_default_is_a_png_in_this_folder(coz, tmp_path):
    Image.open(PHOTO).crop((0, 0, 40, 30)).save(tmp_path / "photo.png")
    done = coz("upscale", "photo.png", "--backbone", "fake")
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "photo_4x.png") as image:
        assert image.size == (160, 120)
    assert "photo_4x.png  generated, beyond evidence  (160x120 px" in done.stdout
    assert "photo_4x.png.prompts.json  the prompts" in done.stdout
    record = json.loads((tmp_path / "photo_4x.png.json").read_bytes())
    assert record["complete"]
    assert record["input"]["path"] == "photo.png"


@pytest.fixture
def photo(tmp_path):
    Image.open(PHOTO).crop((100, 100, 160, 150)).save(tmp_path / "photo.png")
    return "photo.png"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "note"),
    [
        (("--prompter", "words"), "bicubic ignores prompts; the prompter words was not asked"),
        (("--prompt", "moss"), "bicubic ignores prompts; the text is recorded and was not used"),
        ((), ""),
    ],
)
def test_words_for_a_backbone_that_reads_none_are_said_to_be_ignored(coz, tmp_path, photo, words, note):
    done = coz("upscale", photo, "--backbone", "bicubic", *words, "-o", "a.png")
    assert [line for line in done.stdout.splitlines() if "ignores" in line] == [f"note: {note}"] * bool(note)


@pytest.mark.slow
def test_json_and_quiet(coz, tmp_path, photo):
    done = coz("upscale", photo, "--backbone", "bicubic", "--scale", "2.5x", "-o", "out/a.jpg", "--json")
    record = json.loads(done.stdout)
    assert record["output"]["size"] == [150, 125]
    assert record["settings"]["scale"] == 2.5
    assert done.stderr == ""
    assert coz("upscale", photo, "--backbone", "bicubic", "-o", "b.png", "-q").stdout == ""


@pytest.mark.slow
def test_an_estimate(coz, tmp_path, photo):
    done = coz("upscale", photo, "--backbone", "bicubic", "--estimate", "-o", "a.dzi")
    assert done.returncode == 0, done.stderr
    for line in ("output  a.dzi: 240x200 px", "tiles   1 in 1 step", "time    about", "memory", "disk    up to"):
        assert line in done.stdout
    found = json.loads(coz("upscale", photo, "--backbone", "bicubic", "--estimate", "--json").stdout)
    assert found["tiles"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("photo.png", "--scale", "1"), 2, "--scale 1; accepted: above 1"),
        (("photo.png", "--scale", "much"), 2, "--scale much; accepted: a number above 1"),
        (("photo.png", "-o", "a.bmp"), 2, "a.bmp: the name says no format to write"),
        (("photo.png", "--tile", "5"), 2, "--tile 5; accepted with span: from 56"),
        (("none.png",), 3, "none.png: no such file"),
        (("photo.png", "--scale", "400", "-o", "a.webp", "--backbone", "bicubic"), 4, "do not fit in WebP"),
        (("photo.png", "-o", "photo.png"), 4, "photo.png is the photo itself"),
        (("photo.png", "--prompter", "text"), 2, "--prompter text needs a text"),
        (("photo.png", "--set", "backbone.size=3"), 2, "takes no option size"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(coz, tmp_path, photo, arguments, code, says):
    done = coz("upscale", *arguments)
    assert done.returncode == code
    assert done.stderr.startswith("error: ")
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]


@pytest.mark.slow
def test_on_a_terminal_a_bar_says_how_far_it_is(tmp_path, photo):
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "chain_of_zoom", "upscale", photo, "--backbone", "bicubic", "-o", "a.png"]
    done = subprocess.run(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=follower, env={**os.environ, "TERM": "xterm"}, timeout=120
    )
    os.close(follower)
    told = os.read(leader, 65536).decode()
    os.close(leader)
    assert done.returncode == 0
    assert b"a.png  interpolated  (240x200 px" in done.stdout
    assert "tiles with bicubic" in told
    assert "200/200" in told  # rows, while it is written


@pytest.mark.slow
def test_torch_stays_out(tmp_path, photo):
    code = (
        "import sys; from chain_of_zoom import upscale; upscale('photo.png', 2, backbone='bicubic'); "
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "False", done.stderr
