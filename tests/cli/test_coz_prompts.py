"""`coz prompts score` as it is typed."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from batch_files import save
from conftest import PARITY, Coz, noise
from fake_openai_server import answer

from chain_of_zoom.cli.prompts import build_prompters, parse_prompters
from chain_of_zoom.errors import UsageError
from chain_of_zoom.prompters.base import PromptContext


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    rows = []
    for i in range(3):
        save(noise(64, 64, i), tmp_path / "pairs" / f"{i}a.png")
        save(noise(64, 64, i + 9), tmp_path / "pairs" / f"{i}b.png")
        split = "held-out" if i else "train"
        files = {"parent_file_name": f"{i}a.png", "zoomed_file_name": f"{i}b.png"}
        rows.append(json.dumps({"name": f"p{i}", "photo": f"photo {i}", "split": split, **files}))
    (tmp_path / "pairs" / "metadata.jsonl").write_text("\n".join(rows))
    return tmp_path / "pairs"


@pytest.mark.parametrize(
    ("text", "label", "prompter", "told"),
    [
        ("vlm", "vlm", "vlm", {}),
        ("vlm@single", "vlm@single", "vlm", {"multi_scale": False}),
        ("mine=vlm@multi", "mine", "vlm", {"multi_scale": True}),
        ("text:moss, a=b @ 3:1", "text:moss, a=b @ 3:1", "text", {"text": "moss, a=b @ 3:1"}),
        ("moss=text:moss", "moss", "text", {"text": "moss"}),
        ("text:", "text:", "text", {"text": ""}),
        ("a=vlm-adapter", "a", "vlm-adapter", {}),
    ],
)
def test_names_of_prompters(text, label, prompter, told):
    [asked] = parse_prompters([text])
    assert (asked.label, asked.prompter, asked.options) == (label, prompter, told)


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["vlm", "vlm"], "'vlm' is there 2 times; accepted: labels that differ"),
        (["=vlm"], "empty label"),
        (["vlm:moss"], "vlm takes no words; accepted: text:WORDS"),
        (["vlm@both"], "view 'both'; accepted: @multi, @single"),
    ],
)
def test_names_that_make_no_sense(texts, words):
    with pytest.raises(UsageError, match=words):
        parse_prompters(texts)


def test_details_go_to_one_or_to_all_that_take_them():
    asked = parse_prompters(["null", "a=text", "b=text:own"])
    context = PromptContext([noise(4, 4)], noise(4, 4), 4.0)
    made = build_prompters(asked, ["prompter.text=common", "a/prompter.text=first"], {})
    said = {name: prompter([context])[0] for name, prompter in made.items()}
    assert said == {"null": "common", "a": "first", "b": "own"}


@pytest.mark.parametrize(
    ("sets", "device", "words"),
    [
        (["c/prompter.text=x"], None, "no prompter 'c'; accepted: a, null"),
        (["prompter.model=x"], None, "option model means nothing to a, null"),
        (["a/prompter.model=x"], None, "prompter a takes no option model; accepted: text"),
        (["backbone.factor=4"], None, "accepted: prompter.key=value"),
        ([], "cpu", "option device means nothing to a, null"),
    ],
)
def test_details_that_nobody_takes(sets, device, words):
    with pytest.raises(UsageError, match=words):
        build_prompters(parse_prompters(["a=text:x", "null"]), sets, {"device": device} if device else {})


@pytest.mark.slow
def test_a_table_a_page_and_the_named_gap(coz: Coz, pairs, tmp_path):
    done = coz(
        "prompts", "score", "--prompter", "null", "--prompter", "a=text:green moss, stone", "--data", "pairs", "-o", "x"
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "2 held-out pairs of 2 photos; critic: none"
    assert lines[2].split()[:4] == ["prompter", "phrase", "repetition", "validity"]
    assert lines[4].split()[:5] == ["a", "1.000", "0.000", "1.000", "3.0"]
    assert "not measured: reward of the critic, the total, and duels" in done.stdout
    assert (tmp_path / "x" / "index.html").is_file()
    stored = json.loads((tmp_path / "x" / "scores.json").read_text())
    assert stored["pairs"] == ["p1", "p2"]  # p0 is not held out


@pytest.mark.slow
def test_a_page_of_something_else_stays(coz: Coz, pairs, tmp_path):
    (tmp_path / "zooms").mkdir()
    (tmp_path / "zooms" / "index.html").write_text("zooms")
    done = coz("prompts", "score", "--prompter", "null", "--data", "pairs", "-o", "zooms")
    assert (done.returncode, (tmp_path / "zooms" / "index.html").read_text()) == (4, "zooms")
    for _ in range(2):  # its own page is made anew
        assert coz("prompts", "score", "--prompter", "null", "--data", "pairs", "-o", "x").returncode == 0


@pytest.mark.slow
def test_json_limit_and_quiet(coz: Coz, pairs, tmp_path):
    done = coz("prompts", "score", "--prompter", "null", "--data", "pairs/metadata.jsonl", "--limit", 1, "--json")
    assert json.loads(done.stdout)["pairs"] == ["p1"]
    done = coz("prompts", "score", "--prompter", "null", "--data", "pairs", "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert [file.name for file in tmp_path.iterdir()] == ["pairs"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--prompter", "nul"), 2, "unknown prompter 'nul'"),
        (("--prompter", "null", "--set", "critic.timeout=5"), 2, "--set critic.timeout; accepted: --critic NAME"),
        (("--prompter", "null", "--critic", "nowhere", "--set", "critic.cache=x"), 2, "--set critic.cache; accepted"),
        (("--prompter", "null", "--critic", "not here"), 5, "model folder not here is not there"),
        (("--prompter", "null", "--critic", "http://127.0.0.1:1/v1"), 5, "no usable connection"),
        (("--prompter", "vlm"), 5, "preset paper-vlm-base lacks"),
        (("--prompter", "null", "--data", "x"), 3, "x cannot be read"),
    ],
)
def test_mistakes_are_one_line(coz: Coz, pairs, monkeypatch, tmp_path, arguments, code, words):
    pytest.importorskip("torch", reason="a critic needs the extra [diffusion]")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("COZ_MODELS", str(tmp_path / "models"))
    done = coz("prompts", "score", "--data", "pairs", *arguments)
    assert (done.returncode, done.stderr.count("\n")) == (code, 1)
    assert words in done.stderr


@pytest.mark.slow
def test_pairs_that_are_all_learned_from(coz: Coz, pairs):
    file = pairs / "metadata.jsonl"
    file.write_text(file.read_text().replace("held-out", "train"))
    done = coz("prompts", "score", "--prompter", "null", "--data", "pairs")
    assert done.returncode == 3
    assert "has 3 pairs and none is held out" in done.stderr


@pytest.mark.slow
def test_a_pair_that_cannot_be_read_is_said(coz: Coz, pairs):
    (pairs / "1b.png").unlink()
    done = coz("prompts", "score", "--prompter", "null", "--data", "pairs")
    assert "skipped: p1: " in done.stdout


@pytest.mark.slow
def test_a_real_model_as_prompter_and_critic(coz: Coz, pairs):
    """Random weights: its ratings are none, its answers neither A nor B, and nothing is guessed from them."""
    pytest.importorskip("transformers", reason="needs the extra [diffusion]")
    torch = pytest.importorskip("torch")
    qwen, threads = PARITY / "tiny_qwen", torch.get_num_threads()
    torch.set_num_threads(1)
    done = coz(
        *("prompts", "score", "--prompter", "base=vlm@single", "--prompter", "aligned=vlm-adapter", "--data", "pairs"),
        *("--set", f"prompter.model={qwen}", "--set", f"aligned/prompter.adapter={PARITY / 'tiny_qwen_adapter'}"),
        *("--critic", qwen, "--set", "critic.max_new_tokens=4", "--device", "cpu", "--json"),
    )
    torch.set_num_threads(threads)
    assert done.returncode == 0, done.stderr
    scores = json.loads(done.stdout)
    assert scores["critic"] == str(qwen)
    base, aligned = scores["prompters"]
    assert base["texts"][0]["text"] != aligned["texts"][0]["text"]
    assert base["weights_sha256"].keys() < aligned["weights_sha256"].keys()
    assert base["rewards"].keys() == {"phrase", "repetition", "validity", "critic", "total"}
    assert (base["unrated"], base["rewards"]["critic"]) == (2, None)
    assert scores["outcomes"][0]["duel"]["unanswered"] == 2
    assert scores["gaps"] == []


@pytest.mark.slow
def test_a_critic_behind_a_server(coz: Coz, pairs, monkeypatch):
    """It rates both texts of both pairs, then prefers one text in both orders, then the first place twice."""
    pytest.importorskip("httpx", reason="needs the extra [remote]")
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    said = ["80", "Rating: 60", "40", "no idea", "A", "B", "A", "A"]
    server = Path(__file__).parents[1] / "fake_openai_server.py"
    with subprocess.Popen(
        [sys.executable, server], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdin
        assert running.stdout
        url = f"http://127.0.0.1:{int(running.stdout.readline())}"
        script = json.dumps([{"body": answer(text)} for text in said]).encode()
        urllib.request.urlopen(urllib.request.Request(url + "/script", script), timeout=10).close()
        done = coz(
            *("prompts", "score", "--prompter", "a=text:green moss", "--prompter", "b=text:stone", "--data", "pairs"),
            *("--critic", url + "/v1", "--set", "critic.model=tiny", "--set", "critic.concurrency=1", "--json"),
        )
        with urllib.request.urlopen(url + "/log", timeout=10) as log:
            asked = [each["body"]["messages"][0]["content"][-1]["text"] for each in json.load(log)["requests"]]
        running.stdin.close()
    assert done.returncode == 0, done.stderr
    scores = json.loads(done.stdout)
    assert scores["critic"] == f"tiny at {url}/v1"
    a, b = scores["prompters"]
    assert a["rewards"]["critic"] == pytest.approx(0.7)
    assert a["rewards"]["total"] == pytest.approx(1.2)
    assert (b["rewards"]["critic"], b["unrated"]) == (0.4, 1)
    duel = scores["outcomes"][0]["duel"]
    assert (duel["wins"], duel["losses"], duel["ties"], duel["contradictory"], duel["rate"]) == (1, 0, 1, 1, 0.75)
    assert len(asked) == len(said)
    assert "Description: green moss\nRating" in asked[0]
    assert "Description A: green moss\nDescription B: stone" in asked[4]
    assert "Description A: stone\nDescription B: green moss" in asked[5]
