"""Animations as a user asks for them."""

from __future__ import annotations

import json

import pytest
from conftest import PHOTO
from PIL import Image

FAST = ("--at", "0.42,0.22", "--zoom", "20", "--backbone", "fake", "--size", "64x48", "-o", "out")


@pytest.mark.slow
def test_a_run_has_an_animation_unless_told_otherwise(coz, tmp_path):
    said = coz("zoom", PHOTO, *FAST).stdout
    assert "zoom.webp  all of them as one smooth zoom" in said
    whole = (tmp_path / "out" / "zoom.webp").read_bytes()
    assert coz("zoom", PHOTO, *FAST[:-1], "none", "--no-animate", "--json").stdout.count('"animation": null') == 1
    assert not (tmp_path / "none" / "zoom.webp").exists()
    (tmp_path / "out" / "zoom.webp").unlink()
    coz("zoom", PHOTO, *FAST)
    assert (tmp_path / "out" / "zoom.webp").read_bytes() == whole
    assert json.loads((tmp_path / "out" / "record.json").read_bytes())["animation"] == "zoom.webp"


@pytest.mark.slow
def test_long_work_is_left_for_another_command(coz, tmp_path, monkeypatch):
    from chain_of_zoom.movie import animation

    monkeypatch.setattr(animation, "QUICK", 0.1)
    assert "type: coz animate out" in coz("zoom", PHOTO, *FAST).stdout
    assert not (tmp_path / "out" / "zoom.webp").exists()
    coz("zoom", PHOTO, *FAST, "--animate")
    assert (tmp_path / "out" / "zoom.webp").exists()


@pytest.mark.slow
def test_a_folder_is_animated_without_computing_a_state(coz, tmp_path, monkeypatch):
    coz("zoom", PHOTO, *FAST, "--no-animate")
    states = {p.name: p.read_bytes() for p in (tmp_path / "out").glob("0*.png")}
    monkeypatch.setattr("chain_of_zoom.backbones.fake.Fake._enlarge", None)
    done = coz("animate", "out", "--seconds", "0.5")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("out/zoom.webp  (0.")
    assert json.loads((tmp_path / "out" / "record.json").read_bytes())["animation"] == "zoom.webp"
    elsewhere = json.loads(coz("animate", "out", "-o", "mine.webp", "--seconds", "0.5", "--json").stdout)
    assert elsewhere == {"animation": "mine.webp"}
    assert (tmp_path / "mine.webp").read_bytes() == (tmp_path / "out" / "zoom.webp").read_bytes()
    assert json.loads((tmp_path / "out" / "record.json").read_bytes())["animation"] == "zoom.webp"
    assert {p.name: p.read_bytes() for p in (tmp_path / "out").glob("0*.png")} == states
    assert coz("animate", "out", "-q", "--seconds", "0.2").stdout == ""


@pytest.mark.slow
def test_a_batch_is_animated_on_demand(coz, tmp_path):
    spots = ("--at", "0.2,0.2", *FAST[:-1], "many")
    coz("zoom", PHOTO, *spots)
    assert not list((tmp_path / "many").rglob("zoom.webp"))
    assert coz("zoom", PHOTO, *spots, "--animate").returncode == 0
    assert len(list((tmp_path / "many").rglob("zoom.webp"))) == 2


@pytest.mark.slow
def test_the_published_layout_has_one_on_demand(coz, tmp_path):
    args = ("zoom", PHOTO, *FAST, "--layout", "published")
    coz(*args)
    assert not list((tmp_path / "out").rglob("zoom.webp"))
    coz(*args, "--animate")
    with Image.open(tmp_path / "out" / "per-sample" / "astronaut" / "zoom.webp") as image:
        assert image.n_frames > 50


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (["animate", "none"], 3, "no such folder"),
        (["animate", "."], 3, "no record.json"),
        (["animate", ".", "-o", "a.gif"], 2, ".webp or .mp4"),
        (["zoom", "PHOTO", "--zoom", "1", "--animate", "--backbone", "fake"], 2, "larger --zoom"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(coz, tmp_path, args, code, says):
    done = coz(*(PHOTO if arg == "PHOTO" else arg for arg in args))
    assert done.returncode == code, done.stderr
    assert done.stderr.count("\n") == 1
    assert says in done.stderr
    assert not any(tmp_path.iterdir())
