"""`coz` as a user meets it."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import PHOTO
from PIL import Image


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


FAST = ("--backbone", "fake", "--size", "64x48")


@pytest.mark.slow
def test_the_main_job_in_a_folder_with_a_difficult_name(coz_process, tmp_path):
    coz = coz_process
    photo = tmp_path / "été à la mer (1).png"
    shutil.copy(PHOTO, photo)
    done = coz("zoom", photo.name, "--at", "0.42,0.22", "--zoom", "32", *FAST)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "été à la mer (1)_32x"
    assert sorted(p.name for p in folder.iterdir()) == [
        "00_1x.png", "01_4x.png", "02_8x.png", "03_32x.png", "record.json", "sheet.png", "zoom.webp",
    ]  # fmt: skip
    assert "sheet.png" in done.stdout
    assert size_of(folder / "03_32x.png") == (64, 48)
    again = coz("zoom", photo.name, "--at", "0.42,0.22", "--zoom", "32", *FAST)
    assert again.stdout.count("kept from before") == 4


@pytest.mark.slow
def test_json_is_the_record_and_nothing_else(coz, tmp_path):
    done = coz("zoom", PHOTO, "--box", "200,90,240,120", *FAST[:2], "--no-animate", "--json", "-o", "out")
    assert json.loads(done.stdout) == json.loads((tmp_path / "out" / "record.json").read_bytes())
    assert done.stderr == ""
    last = json.loads(done.stdout)["states"][-1]
    assert last["window"] == pytest.approx([200, 90, 240, 120], abs=2)
    assert size_of(tmp_path / "out" / last["file"]) == (512, 384)


@pytest.mark.slow
def test_quiet_says_nothing(coz):
    done = coz("zoom", PHOTO, *FAST, "-q")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.slow
def test_what_is_ignored_and_what_is_beyond_evidence_is_said(coz):
    done = coz("zoom", PHOTO, "--zoom", "4096", "--size", "32x32", "--backbone", "animevideo", "--prompt", "skin")
    assert "animevideo ignores prompts" in done.stdout
    assert "beyond evidence" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (["zoom", "none.png"], 3, "no such file"),
        (["zoom", "empty.png"], 3, "empty"),
        (["zoom", "text.png"], 3, "not a picture"),
        (["zoom", "cut.png"], 3, "damaged"),
        (["zoom", "PHOTO", "--at", "1.5,0.5"], 2, "outside"),
        (["zoom", "PHOTO", "--at", "600px,5px"], 2, "outside"),
        (["zoom", "PHOTO", "--at", "here"], 2, "not 2 numbers"),
        *((["zoom", "PHOTO", "--zoom", bad], 2, "--zoom") for bad in ("0", "-3", "nan", "inf", "1e12", "big")),
        (["zoom", "PHOTO", "--backbone", "relsr"], 2, "did you mean realsr?"),
        (["zoom", "PHOTO", "--backbone", "zzz"], 2, "accepted: realsr"),
        (["zoom", "PHOTO", "--size", "0x0"], 2, "size 0x0"),
        (["zoom", "PHOTO", "--size", "many"], 2, "WIDTHxHEIGHT"),
        (["zoom", "PHOTO", "--seed", "x"], 2, "seed"),
        (["zoom", "PHOTO", "--mode", "x"], 2, "chain, direct"),
        (["zoom", "PHOTO", "--prompter", "text"], 2, "--prompt TEXT"),
        (["zoom", "PHOTO", "--protocol", "paper", "--at", "0.5,0.5"], 2, "paper"),
        (["zoom", "PHOTO", "--protocol", "paper", "--zoom", "100"], 2, "paper"),
        (["zoom", "PHOTO", "-o", "/dev/null/x"], 4, "cannot write"),
        (["zoom", "PHOTO", "-o", "text.png"], 4, "cannot write"),
        (["zoom"], 2, "photo"),
        (["zoom", "PHOTO", "--nonsense"], 2, "--nonsense"),
        (["zooom"], 2, "zooom"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(coz, tmp_path, args, code, says):
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "cut.png").write_bytes(PHOTO.read_bytes()[:30000])
    before = sorted(tmp_path.rglob("*"))
    if args[0] == "zoom" and "--backbone" not in args and len(args) > 1:
        args = [*args, "--backbone", "fake"]
    done = coz(*(str(PHOTO) if a == "PHOTO" else a for a in args))
    assert done.returncode == code, done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: ")
    assert says.lower() in done.stderr.lower()
    assert done.stdout == ""
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.slow
def test_debug_shows_the_traceback(coz):
    assert "Traceback" in coz("zoom", "none.png", "--debug").stderr
    assert "Traceback" not in coz("zoom", "none.png").stderr


@pytest.mark.slow
def test_backbones_are_listed(coz):
    rows = {row["name"]: row for row in json.loads(coz("backbones", "--json").stdout)}
    assert rows["zoom"]["default"]
    assert rows["realsr"]["install"] is None
    assert rows["fake"]["text_aware"]
    assert not rows["realsr"]["text_aware"]
    assert rows["realsr"]["bytes"] is None
    assert rows["z-image"]["bytes"] == 33_000_000_000
    text = coz("backbones").stdout
    assert all(name in text for name in rows)
    assert "licence weights: Apache-2.0; weights of 16 GB (coz models);" in text


def test_bare_coz_is_help(coz):
    done = coz()
    assert (done.returncode, done.stderr) == (0, "")
    assert "Commands:" in done.stdout


@pytest.mark.slow
def test_help_has_examples(coz):
    assert "coz zoom photo.jpg --at 0.62,0.4 --zoom 64" in coz("zoom", "--help").stdout
    assert coz("--version").stdout.startswith("coz ")


@pytest.mark.slow
@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_run_resumes_to_the_same_bytes(coz_process, tmp_path, kill):
    coz = coz_process
    args = ["zoom", str(PHOTO), "--zoom", "4096", "--backbone", "animevideo", "-q"]
    assert coz(*args, "-o", "whole").returncode == 0
    process = subprocess.Popen(
        [sys.executable, "-m", "chain_of_zoom", *args, "-o", "killed"], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    while not (tmp_path / "killed" / "01_4x.png").exists():
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(kill)
    _, error = process.communicate(timeout=60)
    if kill == signal.SIGINT:
        assert process.returncode == 130
        assert error == "error: interrupted; complete states are kept: run the same command again to go on\n"
    names = {p.name for p in (tmp_path / "killed").glob("*.png")}
    assert "06_4096x.png" not in names, "the kill came too late to show anything"
    for name in names:
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert coz(*args, "-o", "killed").returncode == 0
    for file in (tmp_path / "whole").glob("*.png"):
        assert (tmp_path / "killed" / file.name).read_bytes() == file.read_bytes()
    assert {p.name for p in (tmp_path / "killed").iterdir()} == {p.name for p in (tmp_path / "whole").iterdir()}
