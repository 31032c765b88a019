"""`coz prompts score` as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from batch_files import save
from conftest import noise

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
    assert (asked.label, asked.prompter, asked.told) == (label, prompter, told)


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
    made = build_prompters(asked, ["prompter.text=common", "a/prompter.text=first"], None, None)
    said = {name: prompter([context])[0] for name, prompter in made.items()}
    assert said == {"null": "common", "a": "first", "b": "own"}


@pytest.mark.parametrize(
    ("sets", "device", "words"),
    [
        (["c/prompter.text=x"], None, "no prompter 'c'; accepted: a, null"),
        (["prompter.model=x"], None, "option model means nothing to a, null"),
        (["a/prompter.model=x"], None, "prompter a takes no option model; accepted: text"),
        (["backbone.factor=4"], None, r"accepted: \[LABEL/\]prompter.key=value"),
        ([], "cpu", "option device means nothing to a, null"),
    ],
)
def test_details_that_nobody_takes(sets, device, words):
    with pytest.raises(UsageError, match=words):
        build_prompters(parse_prompters(["a=text:x", "null"]), sets, device, None)
