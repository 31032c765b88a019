"""`coz eval` as a user meets it."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from conftest import PHOTO, ROOT
from PIL import Image

from chain_of_zoom.cli.eval import _options
from chain_of_zoom.cli.progress import format_duration
from chain_of_zoom.errors import UsageError
from chain_of_zoom.evaluation.methods import parse_methods
from chain_of_zoom.evaluation.results import Interval, read_results


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    home = tmp_path / "photos"
    home.mkdir()
    with Image.open(PHOTO) as photo:
        photo.crop((0, 0, 300, 300)).save(home / "a.png")
        photo.crop((150, 100, 450, 400)).save(home / "b.png")
    return home


TRUE = ("--protocol", "true-zoom", "--scales", "4", "--metrics", "detail,psnr", "--jobs", "1")


@pytest.mark.slow
def test_the_main_job(coz, photos, tmp_path):
    done = coz("eval", "--data", photos, *TRUE, "--methods", "bicubic,fake", "-o", "out", "--markdown", "table.md")
    assert done.returncode == 0, done.stderr
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"index.html", "results.csv", "results.json", "states"}
    assert "at 4x" in done.stdout
    assert f"{Path('out', 'index.html')}  everything" in done.stdout
    assert (tmp_path / "table.md").read_text().startswith("| at 4x | detail ↑ | psnr ↑ |")
    settings = read_results(tmp_path / "out")
    assert settings.command.startswith("coz eval --data")
    assert settings.settings["reduction"] == "area"
    again = coz("eval", "--data", photos, *TRUE, "--methods", "bicubic,fake,nearest", "-o", "other", "--json")
    assert (
        coz("eval", "--data", photos, *TRUE[:4], "--metrics", "consistency.psnr", "--methods", "fake", "-q").returncode
        == 0
    )
    assert [m["name"] for m in json.loads(again.stdout)["methods"]] == ["bicubic", "fake", "nearest"]
    assert again.stderr == ""
    compared = coz("eval", "compare", "out", "other")
    assert "bicubic at 4x, psnr: 0.000" in compared.stdout
    assert "differs: method nearest only in the second" in compared.stdout
    assert json.loads(coz("eval", "compare", "out", "other", "--json").stdout)["changes"][0]["method"] == "bicubic"


@pytest.mark.slow
def test_manifests_are_written_and_read(coz, photos, tmp_path):
    done = coz("eval", "data", photos, "-o", "set.json", "--spots", "2")
    assert done.stdout == "set.json  2 pictures, 2 spots\n"
    assert coz("eval", "--data", "set.json", *TRUE, "--methods", "nearest", "-q").stdout == ""
    assert (tmp_path / "photos_true-zoom").is_dir() or (tmp_path / "set_true-zoom").is_dir()
    shutil.copy(photos / "a.png", photos / "b.png")
    done = coz("eval", "--data", "set.json", *TRUE, "--methods", "nearest")
    assert (done.returncode, done.stderr.count("\n")) == (3, 1)
    assert "is not the file that the manifest pins" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        ([], 2, "--data is missing"),
        (["--data", "photos"], 2, "--methods is missing"),
        (["--data", "photos", "--methods", "relsr"], 2, "did you mean realsr?"),
        (["--data", "none", "--methods", "fake"], 3, "no such folder or manifest"),
        (["--data", "DIV2K_train_HR", "--methods", "fake"], 3, "data.vision.ee.ethz.ch"),
        (["--data", "photos", "--methods", "fake", "--protocol", "x"], 2, "paper, true-zoom"),
        (["--data", "photos", "--methods", "fake", "--scales", "4,8"], 2, "4,16,64,256"),
        (["--data", "photos", "--methods", "fake", "--scales", "four"], 2, "4,16,64,256"),
        (["--data", "photos", "--methods", "fake", "--spots", "2"], 2, "true-zoom"),
        (["--data", "photos", "--methods", "fake", "--metrics", "nique"], 2, "did you mean niqe?"),
        (["--data", "photos", "--methods", "fake", "--metrics", "consistency.psn"], 2, "mean consistency.psnr?"),
        (["--data", "photos", "--methods", "fake", *TRUE, "--spots", "0"], 2, "from 1, or centre"),
        (["--data", "photos", "--methods", "fake", *TRUE, "--reduce", "x"], 2, "area, bicubic"),
        (["--data", "photos", "--methods", "fake", "--set", "backbone.threads=1"], 2, "means nothing to fake"),
        (["--data", "photos", "--methods", "fake", "--set", "real/backbone.x=1"], 2, "no method 'real'"),
        (["--data", "photos", "--methods", "fake", "-o", "/dev/null/x"], 4, "cannot write"),
        (["--data", "photos", "--methods", "osediff-sd3+null"], 5, "coz models get sd3"),
        (["compare", "photos", "photos"], 3, "results.json"),
        (["data", "none"], 3, "neither a folder nor a set"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(coz, photos, tmp_path, monkeypatch, args, code, says):
    monkeypatch.setenv("COZ_MODELS", str(tmp_path))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    before = sorted(tmp_path.rglob("*"))
    done = coz("eval", *args)
    assert done.returncode == code, done.stderr
    assert done.stderr.count("\n") == 1
    assert says in done.stderr
    assert done.stdout == ""
    assert sorted(tmp_path.rglob("*")) == before


def test_loader_details_reach_those_that_take_them(tmp_path):
    methods = parse_methods("realsr,animevideo,one=realsr,fake+null")
    config = tmp_path / "c.toml"
    config.write_text('[backbone]\nthreads = 2\n["one".backbone]\nthreads = 4\n')
    found = _options(methods, config, ["animevideo/backbone.threads=3"])
    assert {name: told["backbone"] for name, told in found.items()} == {
        "realsr": {"threads": 2},
        "animevideo": {"threads": 3},
        "one": {"threads": 4},
        "fake+null": {},
    }
    assert _options(methods, config, ["backbone.threads=5"])["realsr"]["backbone"] == {"threads": 5}
    config.write_text("[other]\na = 1\n")
    with pytest.raises(UsageError, match="other"):
        _options(methods, config, [])
    with pytest.raises(UsageError, match="takes no option thread"):
        _options(methods, None, ["one/backbone.thread=1"])


@pytest.mark.slow
def test_metrics_are_listed_with_what_they_lack(coz):
    rows = {row["name"]: row for row in json.loads(coz("eval", "metrics", "--json").stdout)}
    assert rows["psnr"]["missing"] is None
    assert rows["niqe"]["direction"] == "lower"
    assert "consistency.psnr" in rows
    text = coz("eval", "metrics").stdout
    assert all(name in text for name in rows)


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_results(coz_process, photos, tmp_path):
    for name in "cdef":  # more to do after the kill than a slow machine could finish before it
        shutil.copy(photos / "a.png", photos / f"{name}.png")
    args = ["eval", "--data", str(photos), *TRUE, "--methods", "fake,bicubic", "-q"]
    assert coz_process(*args, "-o", "whole").returncode == 0
    process = subprocess.Popen([sys.executable, "-m", "chain_of_zoom", *args, "-o", "killed"], cwd=tmp_path)
    made = tmp_path / "killed" / "states" / "a" / "spot1" / "fake" / "4x"
    first = made / "00_1x.png"
    while len(list(made.glob("0*.png"))) < 2:  # so that the record lists the first
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed" / "results.csv").exists(), "the kill came too late to show anything"
    kept = first.stat().st_mtime_ns
    assert coz_process(*args, "-o", "killed").returncode == 0
    assert first.stat().st_mtime_ns == kept, "a finished state was made again"
    whole, killed = (tmp_path / name for name in ("whole", "killed"))
    assert (killed / "results.csv").read_bytes() == (whole / "results.csv").read_bytes()
    one, other = (json.loads((folder / "results.json").read_bytes()) for folder in (whole, killed))
    for results in (one, other):
        del results["command"]
        for method in results["methods"]:
            del method["seconds"]
    assert one == other
    for file in whole.rglob("*.png"):
        assert (killed / file.relative_to(whole)).read_bytes() == file.read_bytes()


def test_nothing_is_zoomed_where_nothing_can_be_measured(coz, photos, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None)
    done = coz("eval", "--data", photos, "--metrics", "niqe,consistency.psnr", "--methods", "bicubic", "-o", "out")
    assert done.returncode == 5
    assert "no metric can run here: niqe lacks" in done.stderr
    assert "pip install 'chain-of-zoom[eval]'" in done.stderr
    assert not (tmp_path / "out").exists()


def test_durations_are_in_words():
    assert [format_duration(s) for s in (5, 300, 9000)] == ["5 s", "5 min", "2 h 30 min"]


@pytest.mark.slow
def test_the_benchmark_document_says_what_the_numbers_say(coz, photos, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    from make_benchmark import clearly, document, evidence, looks

    with Image.open(PHOTO) as photo:
        for x in (50, 100, 200, 210):
            photo.crop((x, 0, x + 300, 300)).save(photos / f"at{x}.png")
    methods = ["bicubic", "nearest"]
    both = ("--methods", ",".join(methods), "-q")
    coz("eval", "--data", photos, "--limit", "2", "--scales", "4", "--metrics", "niqe", *both, "-o", "p")
    coz("eval", "--data", photos, *TRUE, *both, "-o", "t")
    paper, true_zoom = read_results(tmp_path / "p"), read_results(tmp_path / "t")
    text = document(paper, true_zoom, true_zoom, "python docs/make_benchmark.py", ["coz eval data photos"])
    assert "| at 4x | niqe ↓ |" in text
    assert "numpy" in text
    one, other = (clearly(true_zoom, *names, 4, "psnr", "is truer") for names in (methods, methods[::-1]))
    assert (one.verdict, other.verdict) == ("Confirmed", "Refuted")
    gain = true_zoom.cell("bicubic", 4, "psnr").interval.mean - true_zoom.cell("nearest", 4, "psnr").interval.mean
    assert f"Difference {gain:.2f} (" in one.numbers
    assert "better on 100% of 6" in one.numbers
    assert "better on 0% of 6" in other.numbers
    assert clearly(paper, *methods, 4, "niqe", "looks better").verdict == "Not told", "two pictures cannot tell"
    assert clearly(true_zoom, "realsr", "bicubic", 4, "psnr", "is truer").verdict == "Not told"

    def verdict(niqe: float) -> str:
        cell = msgspec.structs.replace(paper.cells[0], method="realsr", interval=Interval(n=12, mean=niqe))
        return looks(msgspec.structs.replace(paper, cells=(cell,)))[0].verdict

    assert [verdict(niqe) for niqe in (4.4, 7.1, 9.0)] == ["Confirmed", "Confirmed", "Refuted"]
    assert looks(paper)[0].verdict == "Not told"

    def evident(*wins: float) -> str:
        pair = true_zoom.pair("bicubic", "nearest", 4, "psnr")
        pairs = [msgspec.structs.replace(pair, other="realsr", metric="detail", wins=share) for share in wins]
        return evidence(*(msgspec.structs.replace(true_zoom, pairs=(each,)) for each in pairs))[0].verdict

    assert [evident(5 / 12, 4 / 12), evident(5 / 12, 3 / 12)] == ["Confirmed", "Refuted"]
    assert evidence(paper, paper)[0].verdict == "Not told"
