"""A whole benchmark, small: numbers, gaps, failures, resuming, prompts."""

from __future__ import annotations

import csv
import io
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
from conftest import PHOTO, noise
from PIL import Image

from chain_of_zoom.backbones.fake import Fake
from chain_of_zoom.datasets.manifest import read_data
from chain_of_zoom.errors import BackboneError, OutputError
from chain_of_zoom.evaluation import score
from chain_of_zoom.evaluation.evaluate import Benchmark, _Clock, evaluate
from chain_of_zoom.evaluation.methods import parse_method, parse_methods
from chain_of_zoom.evaluation.metrics.table import load_metric
from chain_of_zoom.evaluation.protocols import Paper
from chain_of_zoom.evaluation.results import MetricValue, Results, format_csv, read_results
from chain_of_zoom.evaluation.true_zoom import TrueZoom
from chain_of_zoom.imaging.images import load

CHEAP = ("detail", "psnr")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("set")
    for name, box in {"one": (0, 0, 300, 300), "two": (150, 100, 470, 420)}.items():
        with Image.open(PHOTO) as photo:
            photo.crop(box).save(home / f"{name}.png")
    return home


def run(folder: Path, out: Path, methods: str, protocol: object = None, **more: object) -> Results:
    force, limit = bool(more.pop("force", False)), more.pop("limit", None)
    settings = {"metrics": CHEAP, "jobs": 1, "protocol": protocol or TrueZoom([4], spots=1), **more}
    return evaluate(
        Benchmark(data=read_data(folder, limit), methods=parse_methods(methods), **settings), out, force=force
    )


def comparable(results: Results) -> dict[str, object]:
    """All but what time it took."""
    plain = msgspec.to_builtins(results)
    for method in plain["methods"]:
        del method["seconds"]
    return plain


@pytest.fixture(scope="module")
def small(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Results, Path]:
    out = tmp_path_factory.mktemp("out")
    return run(folder, out, "bicubic,nearest,fake,fake:direct"), out


@pytest.mark.slow
def test_every_number_is_the_metric_of_the_files_it_names(small):
    results, out = small
    files = {(s.picture, s.method): out / s.file for s in results.shown}
    assert len(results.values) == 2 * 4 * len(CHEAP)
    for v in results.values:
        image, truth = load(files[v.picture, v.method]).pixels, load(files[v.picture, "truth"]).pixels
        assert v.value == load_metric(v.metric)(image, truth)


def test_means_and_pairs_are_those_of_the_values(small):
    results, _ = small
    of = {
        name: [v.value for v in results.values if (v.method, v.metric) == (name, "psnr")]
        for name in ("bicubic", "nearest", "fake")
    }
    assert results.cell("nearest", 4, "psnr").interval.mean == pytest.approx(np.mean(of["nearest"]))
    assert [c.method for c in results.cells if c.metric == "psnr" and c.best] == ["bicubic"]
    pair = results.pair("bicubic", "fake", 4, "psnr")
    assert pair.difference.mean == pytest.approx(np.mean(np.subtract(of["fake"], of["bicubic"])))
    assert pair.wins == 0
    assert pair.difference.high < 0
    assert not pair.difference.is_clear, "two pictures cannot tell"


def test_results_come_back_from_their_files(small):
    results, out = small
    assert read_results(out) == results
    rows = (out / "results.csv").read_text().splitlines()
    assert rows[0] == "picture,spot,method,depth,metric,value"
    assert len(rows) == 1 + len(results.values)
    assert float(rows[1].rsplit(",", 1)[1]) == results.values[0].value


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@a", "\t=1"])
def test_names_are_no_formulas(name):
    value = MetricValue(picture=name, spot=1, method="bicubic", depth=4, metric="niqe", value=-1.5)
    (_, row) = csv.reader(io.StringIO(format_csv([value]).decode()))
    assert row == [f"'{name}", "1", "bicubic", "4", "niqe", "-1.5"]


@pytest.mark.slow
def test_a_second_run_computes_nothing_and_one_more_method_only_itself(folder, small, monkeypatch, tmp_path):
    results, out = small
    copy = tmp_path / "copy"
    shutil.copytree(out, copy)
    asked: list[str] = []

    def enlarged(self, windows, prompts, seeds):
        asked.append(self.info.name)
        return [np.zeros((w.shape[0] * 4, w.shape[1] * 4, 3), np.float32) + w.mean() / 255 for w in windows]

    monkeypatch.setattr(Fake, "_enlarge", enlarged)
    monkeypatch.setattr(score, "decode_png", lambda data: pytest.fail("a number is computed again"))
    again = run(folder, copy, "bicubic,nearest,fake,fake:direct")
    assert comparable(again) == comparable(results)
    assert asked == []
    monkeypatch.undo()
    more = run(folder, copy, "bicubic,nearest,fake,fake:direct,lanczos", metrics=(*CHEAP, "sharpness"))
    assert {v.method for v in more.values} == {"bicubic", "nearest", "fake", "fake:direct", "lanczos"}
    assert [v for v in more.values if v.metric in CHEAP and v.method != "lanczos"] == list(results.values)


@pytest.mark.slow
def test_damaged_states_and_numbers_are_made_again(folder, small, tmp_path):
    results, out = small
    copy = tmp_path / "copy"
    shutil.copytree(out, copy)
    states = sorted(copy.glob("states/one/spot1/fake/4x/*.png"))
    states[-1].write_bytes(states[-1].read_bytes()[:1000])
    for file in copy.glob("states/two/spot1/*/4x/scores.json"):
        file.write_text("{cut")
    assert comparable(run(folder, copy, "bicubic,nearest,fake,fake:direct")) == comparable(results)


@pytest.mark.slow
def test_states_made_in_another_way_are_refused_unless_forced(folder, small, tmp_path):
    _, out = small
    copy = tmp_path / "copy"
    shutil.copytree(out, copy)
    with pytest.raises(OutputError, match="another run"):
        run(folder, copy, "fake", seed=1)
    assert run(folder, copy, "fake", seed=1, force=True).values


@pytest.mark.slow
def test_processes_change_nothing(folder, small, tmp_path, monkeypatch):
    monkeypatch.setattr(score, "ENOUGH_ZOOMS", 2)
    results, out = small
    copy = tmp_path / "copy"
    shutil.copytree(out, copy)
    for file in copy.rglob("scores.json"):
        file.unlink()
    assert comparable(run(folder, copy, "bicubic,nearest,fake,fake:direct", jobs=2)) == comparable(results)


@pytest.mark.slow
def test_a_failure_is_reported_and_left_out_pairwise(folder, tmp_path, monkeypatch):
    real = Fake._enlarge
    method = parse_method("fake+wrong")
    assert method.user_text("one") != method.user_text("two")

    def picky(self, windows, prompts, seeds):
        if method.user_text("one") in prompts:
            raise BackboneError("fake does not like this one")
        return real(self, windows, prompts, seeds)

    monkeypatch.setattr(Fake, "_enlarge", picky)
    shutil.copytree(folder, tmp_path / "set")
    Image.fromarray(noise(20, 30)).save(tmp_path / "set" / "tiny.png")
    (tmp_path / "set" / "zero.png").write_bytes(b"no picture")
    results = run(tmp_path / "set", tmp_path / "out", "bicubic,fake+wrong")
    failed = {(f.picture, f.method): f.error for f in results.failures}
    assert set(failed) == {("tiny", None), ("zero", None), ("one", "fake+wrong")}
    assert "does not like" in failed["one", "fake+wrong"]
    assert results.cell("bicubic", 4, "psnr").interval.n == 2
    assert results.cell("fake+wrong", 4, "psnr").interval.n == 1
    assert not results.cell("fake+wrong", 4, "psnr").best, "best of fewer pictures is no best"
    pair = results.pair("bicubic", "fake+wrong", 4, "psnr")
    value = {(v.picture, v.method): v.value for v in results.values if v.metric == "psnr"}
    assert pair.difference.n == 1
    assert pair.difference.mean == pytest.approx(value["two", "fake+wrong"] - value["two", "bicubic"])


@pytest.mark.slow
def test_what_cannot_be_measured_is_a_gap_and_never_a_number(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None)
    results = run(folder, tmp_path, "bicubic", Paper([4]), metrics=("psnr", "musiq", "consistency.psnr"))
    gaps = {gap.what: gap.why for gap in results.gaps}
    assert "--protocol true-zoom" in gaps["psnr"]
    assert "pip install 'chain-of-zoom[eval-research]'" in gaps["musiq"]
    assert "pip install 'chain-of-zoom[eval]'" in gaps["consistency.psnr"]
    assert results.values == ()
    assert "no truth at 64x" in run(folder, tmp_path / "b", "bicubic", TrueZoom([4, 64])).gaps[0].why


@pytest.mark.slow
def test_consistency_knows_what_each_state_was_made_from(folder, tmp_path):
    pytest.importorskip("scipy")
    names = ("consistency.psnr", "consistency.1x-psnr")
    results = run(folder, tmp_path, "nearest,fake,fake:direct", Paper([4, 16]), metrics=names, limit=1)
    value = {(v.method, v.depth, v.metric): v.value for v in results.values if v.picture == "one"}
    # Nearest repeats x0's pixels; reduced again they are x0's to the bit: the cap of 100 dB.
    assert value["nearest", 16, names[0]] == value["nearest", 16, names[1]] == 100
    assert value["fake:direct", 16, names[0]] == value["fake:direct", 16, names[1]]
    assert value["fake", 16, names[0]] != value["fake", 16, names[1]]


@pytest.mark.slow
def test_prompts_are_listed_with_what_they_change(folder, tmp_path):
    pytest.importorskip("scipy")
    results = run(folder, tmp_path, "fake,fake+wrong,bicubic", Paper([4]), metrics=("piqe",), limit=1)
    assert {(t.method, bool(t.prompt), t.used) for t in results.prompts} == {
        ("fake", False, False),
        ("fake+wrong", True, True),
    }
    changes = [v for v in results.values if v.metric == "prompt.change"]
    assert {v.method for v in changes} == {"fake+wrong"}
    shown = {(s.picture, s.method): load(tmp_path / s.file).pixels.astype(float) for s in results.shown}
    for v in changes:  # the same parent and seed, with and without the words
        difference = shown[v.picture, "fake+wrong"] - shown[v.picture, "fake"]
        assert v.value == pytest.approx(np.sqrt(np.square(difference).mean()))
    assert not any(cell.metric.startswith("prompt.") for cell in results.cells)


def test_the_time_left_follows_each_methods_own_pace():
    clock = _Clock({"slow": 3, "fast": 4})
    assert clock.remaining() is None
    clock.tick("slow", 10)
    assert clock.remaining() == pytest.approx(2 * 10 + 4 * 10)
    clock.tick("fast", 1)
    assert clock.remaining() == pytest.approx(2 * 10 + 3 * 1)
    assert (clock.done, clock.total) == (2, 7)
