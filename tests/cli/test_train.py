"""`coz train` by command: a run, its use in a zoom, and what it says."""

from __future__ import annotations

import json
import tomllib

import numpy as np
import pytest
from conftest import PARITY, PHOTO, invoke
from PIL import Image

pytest.importorskip("tensorboard", reason="needs the extra [train]")
pytest.importorskip("diffusers", reason="needs the extra [train]")

from chain_of_zoom import MissingError, UsageError

pytestmark = [pytest.mark.torch, pytest.mark.slow]


TINY = PARITY / "tiny_sd3"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of two steps, and what the command printed."""
    home = tmp_path_factory.mktemp("train")
    Image.open(PHOTO).crop((100, 0, 300, 200)).save(home / "a.png")
    (home / "list.txt").write_text("a.png\n")
    (home / "train.toml").write_text("[optimizer]\nlr = 0.5\nbatch = 1\n[losses]\nmatching = 0.5\n")
    args = [
        "train", "--data", home / "list.txt", "--base", TINY, "-o", home / "out", "--stage", "bicubic",
        "--perceptual", "stlpips", "--steps", 2, "--size", 64, "--batch", 1, "--accumulate", 1, "--lr", "1e-3",
        "--seed", 7, "--save", 1, "--sheet", 2, "--workers", 0, "--no-checkpointing", "--device", "cpu",
        "--dtype", "float32", "--validation", home / "list.txt", "--published-layout",
        "--config", home / "train.toml", "--set", "optimizer.weight_decay=0", "--set", "model.t5=false",
    ]  # fmt: skip
    return home / "out", invoke(*args), args


@pytest.mark.slow
def test_a_run_says_what_it_does_and_keeps_its_settings(trained):
    folder, said, _ = trained
    assert "1 pictures, 1 a step, 2 steps" in said
    assert "every picture is trained with the empty text" in said
    assert "weights trained: generator 4,480" in said
    assert f"steps 1 to 2; use it: coz zoom PHOTO --backbone osediff-sd3 --base {TINY} --lora {folder}" in said
    kept = tomllib.loads((folder / "settings.toml").read_text())
    assert kept["optimizer"] == {"lr": 1e-3, "weight_decay": 0.0, "clip": 1.0, "batch": 1, "accumulate": 1}
    assert kept["losses"] == {"l2": 1.0, "perceptual": 2.0, "matching": 0.5, "network": "stlpips"}
    assert kept["model"]["t5"] is False
    assert (folder / "SR_LoRA" / "model_2.pkl").is_file()
    with Image.open(folder / "sheets" / "step_000002.png") as sheet:
        assert sheet.width > 3 * 384


@pytest.mark.slow
def test_the_same_command_goes_on(trained):
    args = trained[2]
    ended = json.loads(invoke(*args, "--json"))
    assert (ended["steps"], ended["losses"], ended["skipped"]) == (2, {}, [])
    assert "all 2 steps were done before" in invoke(*args)
    assert invoke(*args, "--quiet") == ""
    fresh = json.loads(invoke(*args, "--force", "--json"))
    assert set(fresh["losses"]) == {"l2", "perceptual", "matching", "generator", "regulariser"}


@pytest.mark.slow
def test_a_photo_is_zoomed_with_what_was_trained(trained, tmp_path):
    common = ["zoom", PHOTO, "--zoom", 16, "--size", "64x64", "--backbone", "osediff-sd3", "--base", TINY, "-q"]
    common += ["--device", "cpu", "--no-animate"]
    folder = trained[0]
    invoke(*common, "--lora", folder, "-o", tmp_path / "with")
    invoke(*common, "-o", tmp_path / "without", "--set", "backbone.t5=false", "--set", "backbone.shift_in=true")
    one, other = (
        np.asarray(Image.open(next((tmp_path / name).glob("*_16x.png")))).astype(int) for name in ("with", "without")
    )
    assert np.abs(one - other).max() > 2
    record = json.loads((tmp_path / "with" / "record.json").read_bytes())
    assert record["options"]["backbone"]["lora"] == str(folder)


@pytest.mark.slow
def test_a_preset_leaves_the_encoder_to_the_folder(trained, tmp_path):
    invoke(
        "zoom", PHOTO, "--preset", "paper-null", "--zoom", 4, "--base", TINY, "--lora", trained[0], "--device", "cpu",
        "--no-animate", "-q", "-o", tmp_path / "out",
    )  # fmt: skip
    record = json.loads((tmp_path / "out" / "record.json").read_bytes())
    assert set(record["options"]["backbone"]) == {"base", "lora", "device"}


@pytest.mark.slow
def test_memory_by_count():
    rows = {row["what"]: row for row in json.loads(invoke("train", "--estimate", "--json"))}
    found = {what.partition(":")[0].partition(",")[0]: row for what, row in rows.items()}
    transformer = found["transformer"]
    assert transformer["parameters"] == 2_028_328_000  # as Stability AI states: 2 B
    assert transformer["published"] == 3 * transformer["bytes"]
    assert found["adapters"]["parameters"] == 2 * 2_021_376 + 369_388  # from the published files' shapes
    assert found["their gradients and AdamW's moments"]["bytes"] == 3 * found["adapters"]["bytes"]
    activations = next(row for what, row in rows.items() if what.startswith("activations"))
    assert activations["bytes"] < activations["published"] / 2
    total = next(row for what, row in rows.items() if what == "on the device")
    assert total["bytes"] < total["published"] / 3
    assert any(what.startswith("VGG16") for what in rows)


@pytest.mark.slow
def test_memory_of_another_base_and_other_settings():
    text = invoke("train", "--estimate", "--base", TINY, "--no-checkpointing", "--perceptual", "none")
    assert "122,176" in text
    assert "without checkpointing" in text
    assert "VGG16" not in text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("args", "error", "told"),
    [
        ([], UsageError, "--data FOLDER"),
        (["--data", "x"], UsageError, "-o is missing"),
        (["--data", "x", "-o", "y", "--set", "lr=1"], UsageError, "TABLE.KEY=VALUE"),
        (["--data", "x", "-o", "y", "--stage", "jpeg"], UsageError, "stage"),
        (["--data", "x", "-o", "y", "--perceptual", "dists"], UsageError, "network"),
        (["--data", "x", "-o", "y", "--batch", "0"], UsageError, "batch"),
        (["--data", PHOTO.parent, "-o", "y", "--base", "nowhere", "--perceptual", "none"], MissingError, "coz models"),
    ],
)
def test_mistakes_are_one_typed_error(args, error, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=told):
        invoke("train", *args)


def test_without_the_extra_it_says_what_to_type(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "chain_of_zoom.distillation.trainer", None)
    with pytest.raises(MissingError, match=r"pip install 'chain-of-zoom\[train\]'"):
        invoke("train", "--data", PHOTO.parent, "-o", "y")
