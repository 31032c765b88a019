"""A judge behind a server: what it is shown, how its answers become numbers, and what becomes of bad ones."""

from __future__ import annotations

import base64
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from conftest import PHOTO
from fake_openai_server import Handler, Server, State
from PIL import Image

from chain_of_zoom.datasets.manifest import read_data
from chain_of_zoom.errors import DownError
from chain_of_zoom.evaluation.evaluate import Benchmark, evaluate
from chain_of_zoom.evaluation.judge import ANSWERS, INVENTION, PREFERENCE, parse_yes_or_no
from chain_of_zoom.evaluation.markdown import format_markdown, format_plain
from chain_of_zoom.evaluation.methods import parse_methods
from chain_of_zoom.evaluation.page import render_page
from chain_of_zoom.evaluation.protocols import Paper
from chain_of_zoom.evaluation.results import Results, format_csv, read_results
from chain_of_zoom.evaluation.statistics import estimate_share
from chain_of_zoom.evaluation.true_zoom import TrueZoom
from chain_of_zoom.imaging.geometry import Size, pixel_box
from chain_of_zoom.imaging.images import RGB8, decode_png, load, resize
from chain_of_zoom.prompters import critic as critics
from chain_of_zoom.prompters.critic import make_critic

NOTICED = 8.0
"""Levels of mean difference from which this judge sees a contradiction."""


def differ(one: RGB8, other: RGB8) -> float:
    return float(np.abs(one.astype(float) - other).mean())


def compare(pictures: list[RGB8]) -> str:
    """An upright judge: sees pixels."""
    distances = [differ(*pictures[i : i + 2]) for i in range(0, len(pictures), 2)]
    if len(distances) == 1:
        return "yes" if distances[0] > NOTICED else "no"
    return "AB"[int(np.argmin(distances))] if distances[0] != distances[1] else "T"


class Judge(Handler):
    say: Callable[[list[RGB8]], str] = staticmethod(compare)
    shown: ClassVar[list[list[RGB8]]] = []

    def look(self, body: dict[str, Any]) -> str:
        *pictures, words = body["messages"][-1]["content"]
        assert words["type"] == "text"
        urls = [part["image_url"]["url"] for part in pictures]
        decoded = [decode_png(base64.b64decode(url.partition(",")[2])) for url in urls]
        Judge.shown.append(decoded)
        return Judge.say(decoded)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Judge, "say", staticmethod(compare))
    Handler.state = State()
    Judge.shown = []
    with Server(("127.0.0.1", 0), Judge) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}/v1"
        running.shutdown()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("set")
    with Image.open(PHOTO) as photo:
        for name, corner in {"one": (0, 0), "two": (150, 100), "three": (100, 0)}.items():
            photo.crop((*corner, corner[0] + 260, corner[1] + 260)).save(home / f"{name}.png")
    return home


def run(folder: Path, out: Path, methods: str, url: str, protocol: Any = None, limit: int | None = None) -> Results:
    judge = make_critic(url, role="judge", model="tiny", patience=0, concurrency=2)
    benchmark = Benchmark(
        data=read_data(folder, limit),
        methods=parse_methods(methods),
        protocol=protocol or TrueZoom([4]),
        metrics=(),
        jobs=1,
        judge=judge,
    )
    return evaluate(benchmark, out)


@pytest.mark.parametrize(
    ("text", "is_yes"),
    [("yes", True), ("No", False), (" **No**\n", False), ("Answer: yes.", True), ('"YES"', True)]
    + [("No, the edge is where it was.", False), ("Yes: a letter", True), ("no\n\nBoth show grass.", False)]
    + [("Yes, there is no such letter in image 1", True)],
)
def test_one_word_is_an_answer(text, is_yes):
    assert parse_yes_or_no(text) is is_yes


@pytest.mark.parametrize(
    "text",
    ["", "yes and no", "Yes, or no?", "No. Yes.", "not sure", "No object is new", "maybe", "nothing"]
    + ["yesterday", "I say no"],
)
def test_anything_else_is_not_guessed(text):
    assert parse_yes_or_no(text) is None


def test_a_share_has_wilsons_interval():
    """As OracleZoom's page has for its judge's preferences; it rounds up."""
    for wins, n, low, high in ((29, 58, 0.38, 0.63), (60, 113, 0.44, 0.62), (91, 116, 0.70, 0.85)):
        share = estimate_share([1.0] * wins + [0.0] * (n - wins))
        assert (share.low, share.high) == (pytest.approx(low, abs=0.006), pytest.approx(high, abs=0.006))
    none = estimate_share([0.0] * 12)
    assert (none.mean, none.low) == (0, 0)
    assert 0.2 < none.high < 0.3, "twelve of twelve do not prove that it never happens"
    assert estimate_share([1.0]).low is None


@pytest.mark.slow
def test_true_zooms_are_shown_beside_the_truth_and_counted(folder, server, tmp_path):
    results = run(folder, tmp_path, "bicubic,nearest,fake", server)
    files = {(s.picture, s.method): load(tmp_path / s.file).pixels for s in results.shown}
    assert Handler.state.log, "nobody was asked"
    assert len(Judge.shown) == 3 * 3 + 2 * 2 * 3
    pairs = [(pictures[0].tobytes(), pictures[1].tobytes()) for pictures in Judge.shown if len(pictures) == 2]
    expected = [(files[p, "truth"].tobytes(), pixels.tobytes()) for (p, m), pixels in files.items() if m != "truth"]
    assert sorted(pairs) == sorted(expected)

    off = {(p, m): differ(pixels, files[p, "truth"]) for (p, m), pixels in files.items()}
    values = {(v.picture, v.method, v.metric): v.value for v in results.values}
    for method in ("bicubic", "nearest", "fake"):
        invented = [float(off[p, method] > NOTICED) for p in ("one", "two", "three")]
        assert [values[p, method, INVENTION] for p in ("one", "two", "three")] == invented
        assert results.cell(method, 4, INVENTION).interval == estimate_share(invented)
    assert 0 < np.mean([v for (_, _, metric), v in values.items() if metric == INVENTION]) < 1, "all alike show nothing"
    for method, duel in zip(("nearest", "fake"), results.duels, strict=True):
        better = [off[p, method] < off[p, "bicubic"] for p in ("one", "two", "three")]
        assert (duel.a, duel.b, duel.depth) == (method, "bicubic", 4)
        assert (duel.wins, duel.losses) == (sum(better), 3 - sum(better))
        assert (duel.first, duel.contradictory, duel.unanswered) == (0.5, 0, 0)
        assert [values[p, method, PREFERENCE] for p in ("one", "two", "three")] == [float(b) for b in better]
    assert ("one", "bicubic", PREFERENCE) not in values
    assert results.settings["judge"] == f"tiny at {server}"
    assert read_results(tmp_path) == results
    assert f"fake,4,{INVENTION}," in format_csv(results.values).decode()
    for text in (format_markdown(results), format_plain(results), render_page(results)):
        assert INVENTION in text
        assert "preferred at 4x: fake against bicubic" in text


@pytest.mark.slow
def test_nothing_is_asked_twice_and_one_more_method_asks_for_itself(folder, server, tmp_path):
    first = run(folder, tmp_path, "bicubic,nearest", server)
    Judge.shown = []
    again = run(folder, tmp_path, "bicubic,nearest", server)
    assert (Judge.shown, again.values, again.duels) == ([], first.values, first.duels)
    run(folder, tmp_path, "bicubic,nearest,fake", server)
    assert [len(pictures) for pictures in Judge.shown].count(2) == 3
    assert len(Judge.shown) == 3 + 2 * 3


@pytest.mark.slow
def test_without_a_truth_a_state_is_shown_beside_what_it_was_made_from(folder, server, tmp_path):
    results = run(folder, tmp_path, "fake,fake:direct", server, Paper([4, 16]), limit=1)
    pairs = {pictures[1].tobytes(): pictures[0] for pictures in Judge.shown if len(pictures) == 2}
    files = {(s.picture, s.method, s.depth): tmp_path / s.file for s in results.shown}
    [picture] = {key[0] for key in files}
    frame = load(files[picture, "fake", 4].with_name("00_1x.png")).pixels
    state = {key: load(file).pixels for key, file in files.items()}
    for key, parent, box in (
        ((picture, "fake", 4), frame, (192, 192, 320, 320)),
        ((picture, "fake", 16), state[picture, "fake", 4], (192, 192, 320, 320)),
        ((picture, "fake:direct", 16), frame, (240, 240, 272, 272)),
    ):
        known = resize(parent, Size(512, 512), "bicubic", pixel_box(*box))
        assert np.array_equal(pairs[state[key].tobytes()], known)
    asked = " ".join(entry["body"]["messages"][0]["content"][-1]["text"] for entry in Handler.state.log)
    assert "photograph" not in asked
    assert "what was known" in asked


@pytest.mark.slow
def test_bad_answers_and_a_favoured_place_decide_nothing(folder, server, tmp_path, monkeypatch):
    first = iter(["It depends."])

    def say(pictures: list[RGB8]) -> str:
        return "A" if len(pictures) == 4 else next(first, "no")

    monkeypatch.setattr(Judge, "say", staticmethod(say))
    results = run(folder, tmp_path, "bicubic,nearest", server)
    [failure] = results.failures
    assert failure.metric == INVENTION
    assert "neither yes nor no: 'It depends.'" in failure.error
    assert sorted(cell.interval.n for cell in results.cells) == [2, 3]
    [duel] = results.duels
    assert (duel.wins, duel.ties, duel.contradictory, duel.rate, duel.first) == (0, 3, 3, 0.5, 1.0)
    monkeypatch.setattr(Judge, "say", staticmethod(lambda pictures: "no, A is"))
    [duel] = run(folder, tmp_path / "b", "bicubic,nearest", server).duels
    assert (duel.unanswered, duel.rate) == (3, None)


@pytest.mark.slow
def test_a_server_that_dies_keeps_what_it_answered(folder, server, tmp_path, monkeypatch):
    monkeypatch.setattr(critics, "AT_ONCE", 2)
    Handler.state = State([{}] * 5 + [{"status": 503}])
    judge = make_critic(server, role="judge", model="tiny", patience=0, concurrency=1)
    judge.model.retries = 0
    methods = parse_methods("bicubic,nearest")
    benchmark = Benchmark(data=read_data(folder), methods=methods, protocol=TrueZoom([4]), metrics=(), judge=judge)
    with pytest.raises(DownError, match="answered 503.*type the same command to go on, or leave out --judge"):
        evaluate(benchmark, tmp_path)
    assert (tmp_path / ANSWERS).is_file()
    assert not (tmp_path / "results.json").exists()
    Handler.state, Judge.shown = State(), []
    results = evaluate(benchmark, tmp_path)
    assert len(Judge.shown) == 12 - 4
    assert results.cells == run(folder, tmp_path / "whole", "bicubic,nearest", server).cells


@pytest.mark.slow
def test_on_the_command_line(coz, folder, server, tmp_path):
    shutil.copytree(folder, tmp_path / "photos")
    args = ("eval", "--data", "photos", "--protocol", "true-zoom", "--scales", "4", "--metrics", "psnr")
    args += ("--methods", "bicubic,nearest", "--judge", server, "-o", "out")
    Handler.state = State([{"body": {"data": [{"id": "only"}]}}, {}])
    done = coz(*args, "--set", "judge.concurrency=2", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    results = json.loads(done.stdout)
    assert results["settings"]["judge"] == f"only at {server}"
    assert [metric["name"] for metric in results["metrics"]] == ["psnr", INVENTION]
    assert results["duels"][0]["a"] == "nearest"
    assert Handler.state.most <= 2
    assert {entry["body"]["model"] for entry in Handler.state.log if entry["body"]} == {"only"}
    done = coz(*args, "--set", "judge.model=only")
    assert "preferred at 4x: nearest against bicubic" in done.stdout
    assert len(Handler.state.log) == 1 + 12
    assert '<h2 id="judge">Judge</h2>' in (tmp_path / "out" / "index.html").read_text()

    Handler.state = State()
    for more, code, says in (
        ((), 2, "serves 2 models (tiny, other); type: --set judge.model=NAME"),
        (("--set", "judge.models=a"), 2, "--set judge.models; accepted: --judge NAME, and of it model"),
        (("--judge", "http://127.0.0.1:9/v1", "--set", "judge.model=x"), 5, "curl http://127.0.0.1:9/v1/models"),
    ):
        done = coz(*args, *more)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1)
        assert says in done.stderr
    done = coz(*args[:-4], "--set", "judge.model=a")
    assert (done.returncode, "accepted: --judge NAME" in done.stderr) == (2, True)
