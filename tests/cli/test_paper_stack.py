"""The paper's own stack by command, on tiny weights in the published layouts."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from conftest import PARITY
from PIL import Image

pytest.importorskip("diffusers", reason="needs the extra [diffusion]")

from chain_of_zoom import OutputError, UsageError
from chain_of_zoom.chain.record import SCHEMA
from chain_of_zoom.cli.app import app
from chain_of_zoom.runtime import placement, plan

pytestmark = [pytest.mark.torch, pytest.mark.slow]


LEAF = str(PARITY / "cases" / "leaf.png")
SD3 = [
    "--backbone", "osediff-sd3", "--base", str(PARITY / "tiny_sd3"), "--lora", str(PARITY / "model_tiny.pkl"),
    "--vae-encoder", str(PARITY / "vae_encoder_tiny.pt"),
]  # fmt: skip
VLM = ["--prompter", "vlm", "--model", str(PARITY / "tiny_qwen")]
ADAPTER = ["--adapter", str(PARITY / "tiny_qwen_adapter")]
RAM = [
    "--prompter", "dape", "--ram", str(PARITY / "tiny_ram" / "ram_tiny.pth"),
    "--tags", str(PARITY / "tiny_ram" / "ram_tag_list.txt"),
    "--thresholds", str(PARITY / "tiny_ram" / "ram_tag_list_threshold.txt"),
]  # fmt: skip


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run `coz zoom leaf.png --protocol paper ...` in this process (torch loads once) and return the record."""
    monkeypatch.chdir(tmp_path)

    def call(*args: str) -> dict:
        app(["zoom", LEAF, "--protocol", "paper", "--no-animate", "-q", "-o", "out", *args], standalone_mode=False)
        return json.loads(next(Path("out").rglob("record.json")).read_bytes())

    return call


def share_within(path: str, case: str, levels: int) -> float:
    with Image.open(path) as ours, Image.open(PARITY / "cases" / case) as theirs:
        difference = np.abs(np.asarray(ours).astype(int) - np.asarray(theirs.convert("RGB")))
    return float((difference <= levels).mean())


@pytest.mark.slow
def test_the_command_of_the_issue(run):
    record = run("--zoom", "16", *SD3, "--prompt", "autumn leaf, moss")
    assert [s["prompt"] for s in record["states"]] == [None, "autumn leaf, moss", "autumn leaf, moss"]
    assert share_within("out/01_4x.png", "recursive/1.png", 2) >= 0.999
    assert share_within("out/02_16x.png", "recursive/2.png", 2) >= 0.995
    assert record["backbone"]["weights_sha256"]
    assert record["options"]["backbone"]["base"].endswith("tiny_sd3")
    assert {"torch", "diffusers", "transformers"} <= set(record["software"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "args"),
    [
        ("vlm", ADAPTER),
        ("vlm_base", []),
        ("vlm, one image (recursive)", [*ADAPTER, "--set", "prompter.multi_scale=false"]),
        ('vlm with the user\'s text "sharp photo"', [*ADAPTER, "--prompt", "sharp photo"]),
    ],
)
def test_vlm_texts(run, case, args):
    expected = json.loads((PARITY / "cases" / "vlm_prompts_step1.json").read_text())[case]
    record = run("--zoom", "4", *SD3, *VLM, *args)
    assert record["states"][1]["prompt"] == expected
    assert record["prompter_sha256"]
    if case == "vlm":
        assert share_within("out/01_4x.png", "vlm_state1.png", 2) >= 0.999


@pytest.mark.slow
@pytest.mark.parametrize("case", ["ram", "dape"])
def test_tags(run, case):
    expected = json.loads((PARITY / "cases" / "tags_step1.json").read_text())[case]
    adapters = ["--dape", str(PARITY / "tiny_ram" / "dape_tiny.pth")] if case == "dape" else []
    record = run("--zoom", "4", "--backbone", "bicubic", *RAM, *adapters)
    assert record["states"][1]["prompt"] == expected
    assert record["states"][1]["prompter"] == case


@pytest.mark.slow
def test_an_edited_prompt_is_what_the_backbone_reads(run):
    """The text of the published run, typed into the record, gives the picture of the published run."""
    expected = json.loads((PARITY / "cases" / "vlm_prompts_step1.json").read_text())["vlm"]
    record = run("--zoom", "4", *SD3)
    assert share_within("out/01_4x.png", "vlm_state1.png", 2) < 0.99
    record["states"][1]["prompt"] = expected
    Path("out/record.json").write_text(json.dumps(record))
    edited = run("--zoom", "4", *SD3, "--resume-from", "1")["states"][1]
    assert (edited["prompter"], edited["prompt"], edited["prompt_used"]) == ("edited", expected, True)
    assert share_within("out/01_4x.png", "vlm_state1.png", 2) >= 0.999


@pytest.mark.slow
def test_candidates_follow_the_noise_of_the_posterior_and_without_it_the_ways_to_turn(run):
    sampled = run("--zoom", "4", *SD3, "--candidates", "2")["candidates"][0]["states"]
    assert [state["variant"]["seed"] for state in sampled] == [1, 1001]
    assert sampled[0]["sha256"] != sampled[1]["sha256"]
    shutil.rmtree("out")
    still = run("--zoom", "4", *SD3, "--set", "backbone.posterior=mode", "--candidates", "2")["candidates"][0]["states"]
    assert [state["variant"]["turn"] for state in still] == ["none", "flip-x"]


@pytest.mark.slow
def test_where_the_models_lie_is_recorded_and_how_little_memory_there_was_makes_no_other_run(run, monkeypatch):
    monkeypatch.setattr(placement, "measure_free_memory", lambda: {"cpu": 80 * 10**9})
    record = run("--zoom", "4", *SD3, *VLM)
    resident = {
        "memory": "resident",
        **dict.fromkeys(["vlm", "clip", "t5", "transformer", "vae"], "cpu float32"),
    }
    assert record["placement"] == resident
    jsonschema.validate(record, json.loads(SCHEMA.read_bytes()))
    (Path("out") / "01_4x.png").unlink()
    monkeypatch.setattr(plan._DeviceLoad, "choose_mode", lambda *_, **__: "staged")
    monkeypatch.setattr(plan._DeviceLoad, "choose_pinned", lambda *_, **__: set())
    again = run("--zoom", "4", *SD3, *VLM, "--memory", "auto")
    assert again["placement"] == {**resident, "memory": "staged"}
    assert again["states"][1]["sha256"] == record["states"][1]["sha256"]
    Path("out/record.json").write_text(json.dumps({**again, "placement": {**resident, "vlm": "cpu bfloat16"}}))
    with pytest.raises(OutputError, match=r"another run: other precision \(vlm bfloat16, now float32\)"):
        run("--zoom", "4", *SD3, *VLM)


@pytest.mark.slow
def test_memory_low_is_for_what_has_models_to_place(run):
    with pytest.raises(UsageError, match="memory 'none'; accepted: auto, low"):
        run("--zoom", "4", *SD3, "--memory", "none")
    with pytest.raises(UsageError, match="--memory means nothing to bicubic and null"):
        run("--zoom", "4", "--backbone", "bicubic", "--memory", "low")


@pytest.mark.slow
def test_wavelet_and_the_published_layout(run):
    run("--zoom", "4", *SD3, "--color-fix", "wavelet", "--layout", "published")
    assert share_within("out/per-sample/leaf/1.png", "wavelet/1.png", 2) >= 0.999
    assert share_within("out/per-sample/leaf/1_input.png", "recursive/1_input.png", 0) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (["--backbone", "osediff-sd3", "--base", "nowhere"], 5, "base model nowhere"),
        ([*SD3, "--lora", "none.pkl"], 5, "none.pkl"),
        (["--backbone", "bicubic", "--lora", "x"], 2, "takes no option lora"),
        (["--backbone", "bicubic", "--device", "cpu"], 2, "--device means nothing"),
        (["--backbone", "bicubic", "--set", "backbone"], 2, "backbone.key=value"),
        (["--backbone", "bicubic", "--config", "none.toml"], 2, "none.toml"),
        (["--backbone", "bicubic", "--color-fix", "red"], 2, "wavelet"),
        (["--backbone", "bicubic", "--layout", "odd"], 2, "published"),
        (["--backbone", "bicubic", *VLM[:3], "nowhere"], 5, "nowhere"),
        (["--backbone", "bicubic", *VLM[:3], str(PARITY / "tiny_sd3" / "text_encoder")], 5, "accepted"),
        (["--preset", "papper"], 2, "did you mean"),
    ],
)
def test_bad_input_is_one_typed_error_and_leaves_nothing(run, tmp_path, args, code, says):
    with pytest.raises(Exception, match=says) as caught:
        run("--zoom", "4", *args)
    assert caught.value.exit_code == code
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_config_file_is_outweighed_by_flags(run):
    Path("c.toml").write_text('[backbone]\nposterior = "mode"\nbase = "nowhere"\n')
    record = run("--zoom", "4", *SD3, "--config", "c.toml")
    assert record["options"]["backbone"]["posterior"] == "mode"


def test_without_the_weights_a_preset_says_all_there_is_to_know(run, monkeypatch, tmp_path):
    monkeypatch.setenv("COZ_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    with pytest.raises(Exception, match="preset paper lacks 5") as caught:
        run("--preset", "paper")
    message = str(caught.value)
    assert caught.value.exit_code == 5
    assert "\n" not in message
    for part in ("GB", "NON-COMMERCIAL", "gated", "coz models get", "coz models convert"):
        assert part in message


@pytest.mark.slow
def test_upscale_and_eval_take_the_flags_of_loaders_that_zoom_takes(coz, tmp_path):
    with Image.open(LEAF) as leaf:
        leaf.crop((0, 0, 32, 32)).save(tmp_path / "a.png")
    done = coz("upscale", "a.png", *SD3, *VLM, *ADAPTER, "--device", "cpu", "-o", "b.png", "--json")
    assert done.returncode == 0, done.stderr
    options = json.loads(done.stdout)["options"]
    assert {key: Path(value).name for key, value in options["backbone"].items()} == {
        "base": "tiny_sd3", "lora": "model_tiny.pkl", "vae_encoder": "vae_encoder_tiny.pt", "device": "cpu",
    }  # fmt: skip
    assert {key: Path(value).name for key, value in options["prompter"].items()} == {
        "model": "tiny_qwen", "adapter": "tiny_qwen_adapter", "device": "cpu",
    }  # fmt: skip
    flags = [*SD3[2:], *VLM[2:], *ADAPTER, "--device", "cpu"]
    methods = ["--methods", "bicubic,osediff-sd3+vlm", "--protocol", "true-zoom", "--scales", "4", "--metrics", "psnr"]
    with Image.open(LEAF) as leaf:
        leaf.resize((160, 160)).save(tmp_path / "a.png")
    done = coz("eval", "--data", "a.png", *methods, *flags, "--jobs", "1", "-o", "out", "--json")
    assert done.returncode == 0, done.stderr
    assert [method["name"] for method in json.loads(done.stdout)["methods"]] == ["bicubic", "osediff-sd3+vlm"]


@pytest.mark.parametrize(
    "args",
    [
        ("upscale", LEAF, "--backbone", "bicubic", "--lora", "x"),
        ("eval", "--data", LEAF, "--methods", "bicubic", "--lora", "x"),
    ],
)
def test_a_flag_that_nobody_takes_is_refused(coz, args):
    done = coz(*args)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "lora" in done.stderr


@pytest.mark.slow
def test_libraries_say_nothing_on_the_terminal(tmp_path):
    args = ["zoom", LEAF, "--zoom", "4", "--size", "64x64", "-o", "out", *SD3, *VLM, *ADAPTER]
    command = [sys.executable, "-m", "chain_of_zoom", *args, "-q"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True)
    assert (done.stdout, done.stderr) == ("", "")
