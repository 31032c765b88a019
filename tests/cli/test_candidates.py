"""Candidates and edited prompts as a user meets them."""

from __future__ import annotations

import json
import shlex

import pytest
from conftest import PHOTO

RUN = ("zoom", PHOTO, "--at", "0.42,0.22", "--zoom", "100", "--backbone", "fake", "--size", "64x48", "--no-animate")


@pytest.mark.slow
def test_the_line_that_is_printed_goes_on_with_a_candidate(coz, tmp_path):
    said = coz(*RUN, "--candidates=3", "-o", "my run").stdout.splitlines()
    assert [line.split("  ")[0] for line in said[3:-1]] == [
        "my run/candidate_03_1.png", "my run/candidate_03_2.png", "my run/candidate_03_3.png",
        "my run/candidates_03.png",
    ]  # fmt: skip
    command = shlex.split(said[-1])
    assert command[0] == "coz"
    assert command[-4:] == ["--resume-from", "3", "--candidate", "3"]
    done = coz(*command[1:])
    assert done.returncode == 0, done.stderr
    assert "candidate 3: seed 2003" in done.stdout
    taken = json.loads((tmp_path / "my run" / "record.json").read_bytes())["states"][3]
    assert taken["variant"] == {"candidate": 3, "seed": 2003, "turn": "none"}
    further = coz(*command[1:-2], "--candidates", "2").stdout.splitlines()[-1]
    assert further.endswith("'my run' --resume-from 3 --candidate 2"), "nothing is named twice"


@pytest.mark.slow
def test_json_lists_the_candidates(coz):
    record = json.loads(coz(*RUN, "--candidates", "2", "--json").stdout)
    assert [entry["variant"]["candidate"] for entry in record["candidates"][0]["states"]] == [1, 2]
    assert not record["complete"]


@pytest.mark.slow
def test_equal_candidates_are_said_and_not_offered(coz, monkeypatch):
    from chain_of_zoom.backbones.fake import Fake

    monkeypatch.setattr(
        Fake, "_add_stripes", lambda self, window, prompt, seed, plain=Fake._add_stripes: plain(self, window, "", 0)
    )
    said = coz(*RUN, "--candidates", "3").stdout
    assert "left out: 2, 3" in said
    assert said.count("candidate_03_") == 1


@pytest.mark.slow
def test_an_edited_prompt_is_said(coz, tmp_path):
    coz(*RUN, "-o", "out")
    path = tmp_path / "out" / "record.json"
    record = json.loads(path.read_bytes())
    record["states"][3]["prompt"] = "freckles"
    path.write_text(json.dumps(record))
    refused = coz(*RUN, "-o", "out")
    assert refused.returncode == 2
    assert "type: --resume-from 3" in refused.stderr
    assert "generated, beyond evidence, edited prompt" in coz(*RUN, "-o", "out", "--resume-from", "3").stdout


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--candidates", "2", "--force"], "leave one out"),
        (["--candidates", "2", "--layout", "published"], "leave --layout out"),
        (["--candidates", "2", "--at", "0.5,0.5"], "one photo and one spot"),
        (["--candidates", "2", "--skip-done"], "one photo and one spot"),
        (["--candidate", "2"], "--resume-from STEP"),
        (["--candidates", "1"], "2 to 16"),
    ],
)
def test_what_does_not_go_together_is_one_line_and_leaves_nothing(coz, tmp_path, more, says):
    done = coz(*RUN, *more)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert says in done.stderr
    assert not any(tmp_path.iterdir())
