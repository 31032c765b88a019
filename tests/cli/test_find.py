"""`coz zoom --find` with a model behind an OpenAI-compatible server."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from batch_files import save
from fake_openai_server import Handler, Server, State, answer

from chain_of_zoom.chain import sheet
from chain_of_zoom.cli.finding import name_words
from chain_of_zoom.imaging.images import load

WORDS = "the clock on the tower"
FULL = {"places": [{"box": [600, 100, 700, 200]}]}
CLOSE = {"places": [{"box": [336, 336, 672, 672]}]}  # the same in a close-up of 300 px, shown at 1008
NOWHERE = {"places": []}


@pytest.fixture
def server() -> Iterator[str]:
    with Server(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}/v1"
        running.shutdown()


@pytest.fixture
def find(coz, server, tmp_path, monkeypatch):
    save(np.full((504, 1008, 3), 90, np.uint8), tmp_path / "photo.png")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    def run(*options, answers, prompter=("--prompter", "remote", "--url", server, "--model", "tiny")):
        Handler.state = State([{"body": answer(json.dumps(place))} for place in answers])
        done = coz(
            "zoom", "photo.png", "--find", WORDS, *prompter, "--backbone", "bicubic", "--no-animate",
            "--set", "prompter.retries=0", *options,
        )  # fmt: skip
        return done, sum(WORDS in json.dumps(entry["body"]) for entry in Handler.state.log)  # others are for prompts

    return run


def record(tmp_path):
    return json.loads((tmp_path / "photo_the-clock-on-the-tower" / "record.json").read_bytes())


@pytest.mark.slow
def test_words_become_a_place_that_is_shown_and_not_asked_for_again(find, tmp_path):
    done, questions = find(answers=[FULL, CLOSE])
    assert (done.returncode, done.stderr, questions) == (0, "", 2)
    assert f"found at --box 600,100,700,200: {WORDS}" in done.stdout
    first = record(tmp_path)
    assert first["settings"]["find"] == WORDS
    assert first["place"] == {
        "box": [600, 100, 700, 200], "model": "remote tiny", "confirmed": True, "chosen": False,
    }  # fmt: skip
    assert first["states"][-1]["window"] == pytest.approx([587.5, 87.5, 712.5, 212.5], abs=0.5)
    pixels = load(tmp_path / "photo_the-clock-on-the-tower" / "sheet.png").pixels
    assert (pixels == sheet.FOUND).all(-1).sum() > 100
    again, questions = find(answers=[NOWHERE])
    assert (again.returncode, questions, record(tmp_path)) == (0, 0, first)
    assert "kept from before" in again.stdout


@pytest.mark.slow
def test_a_magnification_is_that_of_the_middle(find, tmp_path):
    find("--zoom", "8", "--size", "32x32", "-q", answers=[FULL, CLOSE])
    last = record(tmp_path)["states"][-1]
    assert last["magnification"] == 8
    assert (last["window"][0] + last["window"][2]) / 2 == pytest.approx(650, abs=1)


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        ([NOWHERE], "sees no such thing"),
        ([FULL, NOWHERE], "did not confirm; accepted: one; look, and type --box 600,100,700,200"),
        ([{"places": [*FULL["places"], {"box": [100, 100, 200, 200]}]}, CLOSE, CLOSE], "several places"),
        (["over there"], "gave no usable place"),
    ],
)
def test_an_unsure_model_is_not_believed(find, tmp_path, answers, says):
    done, _ = find("-q", answers=answers)
    assert done.returncode in (2, 3)
    assert says in done.stderr
    assert list(tmp_path.glob("photo_*")) == []


@pytest.mark.slow
def test_at_a_terminal_the_user_chooses(find, tmp_path, monkeypatch):
    two = {"places": [*FULL["places"], {"box": [100, 100, 200, 200]}]}
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr("typer.prompt", lambda *_, **__: 2)
    done, _ = find("--size", "32x32", answers=[two, CLOSE, NOWHERE, NOWHERE])
    assert (done.returncode, record(tmp_path)["place"]["box"]) == (0, [600, 100, 700, 200])  # the confirmed one
    done, _ = find("--size", "32x32", "--force", answers=[two, CLOSE, {"places": [{"box": [336, 336, 672, 672]}]}])
    assert "  2  --box 100,100,200,200" in done.stdout
    place = record(tmp_path)["place"]
    assert (place["box"], place["chosen"]) == ([100, 100, 200, 200], True)


def test_without_a_model_it_says_what_to_type(find):
    done, _ = find("-q", answers=[], prompter=("--prompter", "words"))
    assert done.returncode == 2
    done, _ = find("--at", "0.5,0.5", answers=[])
    assert "leave out the others" in done.stderr


@pytest.mark.slow
def test_a_batch_finds_in_every_photo(find, tmp_path):
    save(np.full((504, 1008, 3), 60, np.uint8), tmp_path / "second.png")
    options = ("second.png", "--size", "32x32", "-o", "zooms", "--json")
    done, questions = find(*options, answers=[FULL, CLOSE, FULL, CLOSE])
    assert (done.returncode, questions) == (0, 4)
    records = [json.loads(file.read_bytes()) for file in tmp_path.glob("zooms/*/record.json")]
    assert [entry["place"]["box"] for entry in records] == [[600, 100, 700, 200]] * 2
    assert find(*options, answers=[NOWHERE])[1] == 0


def test_folders_are_named_after_the_words():
    assert name_words("The Clock, on the tower!") == "the-clock-on-the-tower"
    assert name_words("塔の時計/../x") == "塔の時計-x"
    assert name_words("../..") == "found"


@pytest.mark.parametrize("words", ["", "  "])
def test_words_that_name_nothing_are_no_zoom_elsewhere(coz, tmp_path, words):
    save(np.zeros((8, 8, 3), np.uint8), tmp_path / "photo.png")
    done = coz("zoom", "photo.png", "--find", words)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--find names nothing" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]
