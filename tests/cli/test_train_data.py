"""`coz train degrade` and `coz train captions` as a user meets them."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
from conftest import PHOTO, noise
from PIL import Image

from chain_of_zoom.cli.train_data import _details
from chain_of_zoom.distillation.captions import read_captions
from chain_of_zoom.distillation.data import open_training_set
from chain_of_zoom.distillation.degradation import sample_operations
from chain_of_zoom.distillation.operations import Operation
from chain_of_zoom.errors import UsageError
from chain_of_zoom.imaging.geometry import Size
from chain_of_zoom.imaging.images import load


@pytest.mark.slow
def test_a_sheet_with_a_row_for_each_seed(coz, tmp_path):
    done = coz("train", "degrade", PHOTO, "--seeds", 2, "--size", 64)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "astronaut_degraded.png  real-esrgan, rows: 2\n"
    two = load(tmp_path / "astronaut_degraded.png").size
    assert coz("train", "degrade", PHOTO, "--seeds", 1, "--size", 64, "-q", "-o", "one.png").stdout == ""
    one = load(tmp_path / "one.png").size
    assert one[1] < two[1] < 2.5 * one[1]
    assert one[0] > 9 * 384  # truth and at least eight operations side by side


@pytest.mark.slow
def test_what_was_drawn_is_printed_as_json(coz, tmp_path):
    done = coz("train", "degrade", PHOTO, "--seeds", 2, "--size", 64, "--json", "-o", "a.png")
    report = json.loads(done.stdout)
    assert report["sheet"] == "a.png"
    for seed, sample in enumerate(report["samples"]):
        operations = msgspec.convert(sample["operations"], tuple[Operation, ...])
        assert operations == sample_operations("real-esrgan", np.random.default_rng(seed), Size(64, 64))
    first = (tmp_path / "a.png").read_bytes()
    coz("train", "degrade", PHOTO, "--seeds", 2, "--size", 64, "-o", "a.png")
    assert (tmp_path / "a.png").read_bytes() == first


@pytest.mark.slow
def test_the_result_on_the_sheet_is_what_training_gets(coz, tmp_path, astronaut):
    coz("train", "degrade", PHOTO, "--stage", "bicubic", "--size", 384)
    crop = Image.fromarray(astronaut[64:448, 64:448])
    expected = np.asarray(crop.resize((96, 96), Image.Resampling.BICUBIC).resize((384, 384), Image.Resampling.BICUBIC))
    sheet = load(tmp_path / "astronaut_degraded.png").pixels
    top, left = next((y, x) for y, x in np.ndindex(120, 1200) if np.array_equal(sheet[y, x : x + 384], expected[0]))
    assert np.array_equal(sheet[top : top + 384, left : left + 384], expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ((PHOTO, "--size", 1024), 3, "512x512 pixels; accepted: at least 1024x1024"),
        ((PHOTO, "--size", 30), 2, "accepted: multiples of 4"),
        ((PHOTO, "--stage", "blur"), 2, "accepted: real-esrgan, bicubic"),
        ((PHOTO, "--stage", "bicubic", "--seeds", 2), 2, "--seeds means nothing to bicubic"),
        ((PHOTO, "--seeds", 0), 2, "greater than or equal to 1"),
        (("absent.jpg",), 3, "no such file"),
        ((PHOTO, "--size", 64, "-o", "absent/a.png"), 4, "cannot write"),
    ],
)
def test_mistakes(coz, arguments, code, says):
    done = coz("train", "degrade", *arguments)
    assert done.returncode == code
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    home = tmp_path / "set"
    home.mkdir()
    for number in range(3):
        Image.fromarray(noise(20, 30, number)).save(home / f"{number}.png")
    (home / "broken.png").write_bytes(b"no picture")
    return home


@pytest.mark.slow
def test_captions_are_written_kept_and_read_for_training(coz, folder, tmp_path):
    command = ("train", "captions", "--data", folder, "--prompter", "text", "--set", "prompter.text=grey, grey noise")
    done = coz(*command)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "captions.jsonl  3 captions written, 0 kept, 0 of all are empty"
    assert lines[1].startswith("skipped: broken.png: broken.png: not a picture")
    again = json.loads(coz(*command, "--json").stdout)
    assert (again["asked"], again["kept"], list(again["skipped"])) == (0, 3, ["broken.png"])
    data = open_training_set(folder, size=8, captions=tmp_path / "captions.jsonl")
    assert data.example(0, 0).caption == "grey noise"
    assert read_captions(tmp_path / "captions.jsonl").author.options == {"text": "grey, grey noise"}
    other = coz(*command[:-1], "prompter.text=something else")
    assert other.returncode == 4
    assert "name another file with -o" in other.stderr
    assert coz(*command, "-o", "other.jsonl", "-q").stdout == ""
    assert (tmp_path / "other.jsonl").read_bytes() == (tmp_path / "captions.jsonl").read_bytes()


@pytest.mark.slow
def test_crops_are_described_on_request(coz, folder):
    command = ("train", "captions", "--data", folder, "--prompter", "text", "--set", "prompter.text=noise")
    done = coz(*command, "--crops", 7, "--size", 12, "--seed", 3)
    assert (done.returncode, done.stdout.splitlines()[0]) == (
        0, "captions.jsonl  7 captions written, 0 kept, 0 of all are empty"
    )  # fmt: skip
    done = coz(*command, "--size", 12)
    assert (done.returncode, "beside --crops N" in done.stderr) == (2, True)


def test_details_of_the_prompter(tmp_path):
    config = tmp_path / "c.toml"
    config.write_text("[prompter]\nurl = 'http://one'\nmodel = 'a'\n")
    found = _details("remote", config, ["prompter.model=b"])
    assert found == {"multi_scale": False, "url": "http://one", "model": "b"}
    assert _details("remote", None, ["prompter.multi_scale=true"]) == {"multi_scale": True}
    assert _details("null", None, []) == {}
    for sets, says in ((["prompter.size=3"], "takes no option size"), (["photo.matte=black"], "details of photo")):
        with pytest.raises(UsageError, match=says):
            _details("remote", None, sets)


@pytest.mark.slow
def test_captions_need_pictures_and_a_prompter(coz, folder, tmp_path):
    (tmp_path / "empty").mkdir()
    done = coz("train", "captions", "--data", "empty", "--prompter", "null")
    assert done.returncode == 3
    assert "holds no picture" in done.stderr
    assert coz("train", "captions", "--data", folder, "--prompter", "nul").returncode == 2
    assert coz("train", "captions", "--data", folder).returncode == 2
