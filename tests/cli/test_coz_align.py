"""`coz align`: the example from beginning to end, options, and what is refused."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from conftest import Coz

pytest.importorskip("trl", reason="needs the extra [train]")
import torch
from conftest import ROOT

from chain_of_zoom.alignment.training import align as aligning
from chain_of_zoom.alignment.training.align import AlignmentResult, silence_libraries
from chain_of_zoom.alignment.training.config import AlignConfig
from chain_of_zoom.alignment.training.trainer import LoggedStep

pytestmark = [pytest.mark.torch, pytest.mark.slow]


CRITIC = "http://127.0.0.1:9/v1"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[AlignConfig, Path, bool]]:
    """What the command asks of the library, which says it is done."""
    seen: list[tuple[AlignConfig, Path, bool]] = []

    def align(config, out, *, force, progress, say):
        seen.append((config, out, force))
        for step in (1, 2):
            progress(
                LoggedStep(step, 2, {"reward": 0.25 * step, "rewards/critic/mean": 0.5, "rewards/critic/std": 0.1})
            )
        say("the critic is down")
        return AlignmentResult(
            folder=out,
            steps=2,
            resumed=1,
            first={"reward": 0.25},
            last={"reward": 0.5},
            unscored=3,
            skipped=tuple((f"view{i}", "broken") for i in range(7)),
            report=out / "report.html",
        )

    monkeypatch.setattr(aligning, "align", align)
    return seen


def test_flags_go_over_set_over_the_file_over_the_preset(coz: Coz, asked, tmp_path):
    (tmp_path / "a.toml").write_text('preset = "paper"\nsteps = 7\nkl = 0.2\n[lora]\nr = 3\nalpha = 5\n')
    done = coz(
        *("align", "--config", "a.toml", "--data", "pairs", "--model", "vlm", "--critic", CRITIC, "--steps", 9),
        *("--set", "lora.r=4", "--set", "critic.patience=3", "--set", "weights.validity=0.5", "-o", "out", "--force"),
    )
    assert done.returncode == 0, done.stderr
    [(config, out, force)] = asked
    assert (config.preset, config.steps, config.kl, config.group) == ("paper", 9, 0.2, 2)
    assert (config.lora.r, config.lora.alpha) == (4, 5)
    assert (config.critic.name, config.critic.patience) == (CRITIC, 3)
    assert config.weights["validity"] == 0.5
    assert (out, force) == (Path("out"), True)


def test_what_is_printed(coz: Coz, asked):
    arguments = ("align", "--data", "pairs", "--model", "vlm", "--critic", CRITIC)
    lines = coz(*arguments).stdout.splitlines()
    assert lines[0] == "step 1 of 2: reward 0.250 (critic 0.500)"
    assert lines[2] == "the critic is down"
    assert "skipped: view0: broken" in lines
    assert "skipped: 2 more, listed in the report" in lines
    assert "without a score: 3 texts, listed in the report" in lines
    assert "went on after step 1" in lines
    assert "reward 0.250 -> 0.500 in 2 steps" in lines
    assert lines[-2].endswith("for --prompter vlm --adapter aligned")
    assert coz(*arguments, "--quiet").stdout == ""
    said = json.loads(coz(*arguments, "--json").stdout)
    assert (said["folder"], said["last"]["reward"], len(said["skipped"])) == ("aligned", 0.5, 7)


def test_without_a_preset_it_is_the_safe_one(coz: Coz, asked):
    coz("align", "--data", "pairs", "--model", "vlm", "--critic", CRITIC)
    coz("align", "--data", "pairs", "--model", "vlm", "--critic", CRITIC, "--preset", "paper")
    assert [config.preset for config, _, _ in asked] == ["safe", "paper"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--data is missing"),
        (("--data", "p"), "--model is missing"),
        (("--data", "p", "--model", "m"), "--critic is missing"),
        (("--preset", "fast", "--data", "p", "--model", "m"), "--preset 'fast'; accepted: paper, safe"),
        (("--set", "steps"), "--set 'steps'; accepted: key=value or table.key=value"),
        (("--set", "lora.=3"), "accepted: key=value"),
        (("--set", "lora=3", "--set", "lora.r=3"), "accepted: key=value"),
        (("--data", "p", "--model", "m", "--set", "stepz=3"), "unknown field `stepz`"),
        (("--data", "p", "--set", "data=q"), "--data and --set data are both given"),
        (("--config", "nowhere.toml"), "--config nowhere.toml cannot be read"),
    ],
)
def test_mistakes(coz: Coz, arguments, message):
    done = coz("align", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_example_from_beginning_to_end(tmp_path, capsys, monkeypatch):
    import importlib.util

    spec = importlib.util.spec_from_file_location("align_tiny", ROOT / "examples" / "align_tiny.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setattr(module.sys, "argv", ["align_tiny.py"])
    try:
        with silence_libraries():
            module.run(tmp_path, steps=2)
            module.run(tmp_path, steps=2)  # on another port: found done
    finally:
        torch.set_num_threads(threads)
    printed = capsys.readouterr().out
    assert printed.count("step 2 of 2: reward") == 1
    assert "went on after step 2" in printed
    out = tmp_path / "aligned"
    assert tomllib.loads((out / "config.toml").read_text())["critic"]["name"].startswith("http://127.0.0.1")
    assert "Held-out pairs, before and after" in (out / "report.html").read_text()
    assert (out / "adapter_model.safetensors").exists()
