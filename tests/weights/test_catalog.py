"""Which weights there are, where they lie, and what a preset needs of them."""

from __future__ import annotations

import inspect
import json
import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import PARITY

from chain_of_zoom import plugins
from chain_of_zoom.errors import MissingError, UsageError
from chain_of_zoom.resources import human_size
from chain_of_zoom.weights import hub
from chain_of_zoom.weights.catalog import ITEMS, WeightItem, find_item
from chain_of_zoom.weights.hub import hub_cache, list_commands, locate, models_dir
from chain_of_zoom.weights.presets import PRESETS, find_preset, resolve

SD3_PARTS = {
    "scheduler": "FlowMatchEulerDiscreteScheduler",
    "text_encoder": "CLIPTextModelWithProjection",
    "text_encoder_3": "T5EncoderModel",
    "tokenizer": "CLIPTokenizer",
    "tokenizer_3": "T5TokenizerFast",
    "transformer": "SD3Transformer2DModel",
    "vae": "AutoencoderKL",
}


@pytest.fixture(autouse=True)
def empty_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HOME", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COZ_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def write(path: Path, data: bytes | str = "{}") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def tensors(size: int = 8) -> bytes:
    """A safetensors file with one tensor of `size` bytes."""
    header = json.dumps({"w": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(size)


def snapshot(tmp_path: Path, item: WeightItem, revision: str = "abc") -> Path:
    return tmp_path / "hub" / f"models--{item.hub.replace('/', '--')}" / "snapshots" / revision


def make_sd3(folder: Path) -> Path:
    index = {"_class_name": "StableDiffusion3Pipeline", "image_encoder": [None, None]}
    write(folder / "model_index.json", json.dumps(index | {part: ["x", kind] for part, kind in SD3_PARTS.items()}))
    write(folder / "scheduler" / "scheduler_config.json")
    write(folder / "tokenizer" / "tokenizer_config.json")
    write(folder / "tokenizer" / "vocab.json")
    write(folder / "tokenizer_3" / "tokenizer_config.json")
    write(folder / "tokenizer_3" / "spiece.model", "x")
    for part in ("text_encoder", "transformer", "vae", "text_encoder_3"):
        write(folder / part / "config.json")
    for part in ("text_encoder", "transformer", "vae"):
        write(folder / part / "model.safetensors", tensors())
    make_shards(folder / "text_encoder_3")
    return folder


def make_shards(folder: Path) -> None:
    names = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    write(folder / "model.safetensors.index.json", json.dumps({"weight_map": {"a": names[0], "b": names[1]}}))
    for name in names:
        write(folder / name, tensors())


def make_qwen(folder: Path) -> Path:
    for name in ("config", "generation_config", "preprocessor_config", "tokenizer_config", "vocab"):
        write(folder / f"{name}.json")
    make_shards(folder)
    return folder


@pytest.mark.slow
def test_it_is_a_leaf_that_imports_nothing_heavy():
    code = (
        "import sys, chain_of_zoom.weights.presets as p; p.find_preset('paper'); "
        "heavy = {'torch', 'numpy', 'huggingface_hub', 'transformers', 'typer', 'safetensors'} & set(sys.modules); "
        "ours = {m for m in sys.modules if m.startswith('chain_of_zoom.')}; print(sorted(heavy), sorted(ours))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    weights = ("", ".catalog", ".files", ".hub", ".presets")
    names = [f"chain_of_zoom.{name}" for name in ("errors", "resources", *(f"weights{part}" for part in weights))]
    assert done.stdout.strip() == f"[] {names}"


def test_folders_follow_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    assert models_dir() == tmp_path / "models"
    assert hub_cache() == tmp_path / "hub"
    monkeypatch.delenv("COZ_MODELS")
    monkeypatch.delenv("HF_HUB_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "linux")
    assert models_dir() == tmp_path / ".cache" / "chain-of-zoom" / "models"
    assert hub_cache() == tmp_path / ".cache" / "huggingface" / "hub"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert models_dir() == tmp_path / "Library" / "Caches" / "chain-of-zoom" / "models"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert models_dir() == tmp_path / "local" / "chain-of-zoom" / "models"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert models_dir() == tmp_path / "xdg" / "chain-of-zoom" / "models"
    assert hub_cache() == tmp_path / "xdg" / "huggingface" / "hub"
    monkeypatch.setenv("HF_HOME", "~/hf")
    assert hub_cache() == tmp_path / "hf" / "hub"


@pytest.mark.slow
def test_hub_cache_agrees_with_huggingface_hub(tmp_path: Path):
    code = (
        "from chain_of_zoom.weights.hub import hub_cache; from huggingface_hub import constants; "
        "print(str(hub_cache()) == constants.HF_HUB_CACHE)"
    )
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "XDG_"))}
    pytest.importorskip("huggingface_hub")
    for given in ({}, {"HF_HOME": "~/a"}, {"XDG_CACHE_HOME": str(tmp_path)}, {"HF_HUB_CACHE": "$HOME/b"}):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=clean | given)
        assert done.stdout.strip() == "True", (given, done.stderr)


def test_single_files_are_found_converted_before_published():
    item = ITEMS["sr-lora"]
    assert locate(item) is None
    loose = write(models_dir() / "model_20001.pkl", "x")
    assert locate(item) == loose
    tidy = write(models_dir() / "sr-lora" / "model_20001.pkl", "x")
    assert locate(item) == tidy
    converted = write(models_dir() / "model_20001.safetensors", tensors())
    assert locate(item) == converted


@pytest.mark.parametrize(
    "bad", [b"", tensors()[:-1], tensors() + b"x", b"\0" * 4, struct.pack("<Q", 2) + b"[]", b"<html>"]
)
def test_a_file_cut_short_counts_as_missing(bad: bytes):
    write(models_dir() / "sr-vae" / "vae_encoder_20001.safetensors", bad)
    assert locate(ITEMS["sr-vae"]) is None


def test_the_adapter_needs_both_files():
    folder = models_dir() / "vlm-adapter"
    write(folder / "adapter_model.safetensors", tensors())
    assert locate(ITEMS["vlm-adapter"]) is None
    write(folder / "adapter_config.json")
    assert locate(ITEMS["vlm-adapter"]) == folder


@pytest.mark.parametrize(("name", "make"), [("sd3", make_sd3), ("qwen", make_qwen)])
def test_a_snapshot_counts_only_when_every_file_is_there(tmp_path: Path, name: str, make):
    item = ITEMS[name]
    folder = make(snapshot(tmp_path, item))
    assert locate(item) == folder
    for file in [path for path in folder.rglob("*") if path.is_file()]:
        data = file.read_bytes()
        file.unlink()
        assert locate(item) is None, file
        file.symlink_to(tmp_path / "blobs" / "absent.incomplete")
        assert locate(item) is None, file
        file.unlink()
        file.write_bytes(data[: len(data) // 2] if file.suffix == ".safetensors" else data)
        assert (locate(item) is None) == (file.suffix == ".safetensors"), file
        file.write_bytes(data)
    assert locate(item) == folder


def test_fp16_copies_are_neither_needed_nor_enough(tmp_path: Path):
    folder = make_sd3(snapshot(tmp_path, ITEMS["sd3"]))
    write(folder / "text_encoder_3" / "model.safetensors.index.fp16.json", json.dumps({"weight_map": {"a": "absent"}}))
    assert locate(ITEMS["sd3"]) == folder


@pytest.mark.parametrize("index", ["", "[]", "{}", "not json"])
def test_a_pipeline_without_parts_is_none(index: str):
    write(models_dir() / "sd3" / "model_index.json", index)
    assert locate(ITEMS["sd3"]) is None


def test_the_newest_whole_snapshot_is_taken_and_models_dir_comes_first(tmp_path: Path):
    item = ITEMS["qwen"]
    old, new, partial = (make_qwen(snapshot(tmp_path, item, name)) for name in ("b", "a", "c"))
    (partial / "model-00002-of-00002.safetensors").unlink()
    for age, folder in ((30, old), (20, new), (10, partial)):
        os.utime(folder, (1e9 - age, 1e9 - age))
    assert locate(item) == new
    os.utime(old, (1e9, 1e9))
    assert locate(item) == old
    assert locate(item) != make_qwen(models_dir() / "qwen") == locate(item)


def test_a_single_file_of_the_hub_is_found_in_its_cache(tmp_path: Path):
    file = snapshot(tmp_path, ITEMS["ram"]) / "ram_swin_large_14m.pth"
    file.parent.mkdir(parents=True)
    file.symlink_to(tmp_path / "blob")
    assert locate(ITEMS["ram"]) is None
    (tmp_path / "blob").write_text("x")
    assert locate(ITEMS["ram"]) == file


@pytest.mark.parametrize(
    ("name", "tiny"), [("sd3", "tiny_sd3"), ("qwen", "tiny_qwen"), ("vlm-adapter", "tiny_qwen_adapter")]
)
def test_folders_that_the_libraries_wrote_count_as_whole(name: str, tiny: str):
    models_dir().mkdir()
    (models_dir() / name).symlink_to(PARITY / tiny)
    assert locate(ITEMS[name]) == models_dir() / name


def test_what_to_type_names_every_item_once():
    typed = list_commands(ITEMS.values())
    assert typed[0] == "coz models get sd3 qwen oracle ram sd-x4 flux2-klein z-image"
    assert typed.count("git clone https://github.com/bryanswkim/Chain-of-Zoom") == 1
    assert typed.index("coz models convert Chain-of-Zoom/ckpt") == 2
    assert typed[3:] == [
        "git clone https://github.com/xinyu1205/recognize-anything",
        "coz models convert recognize-anything/ram",
    ]
    assert list_commands([]) == []


def test_sizes_in_words():
    sizes = {
        0: "0 bytes",
        999: "999 bytes",
        25_000: "25 kB",
        7.5e9: "7.5 GB",
        16e9: "16 GB",
        999.6e6: "1 GB",
        4e15: "4000 TB",
    }
    assert {size: human_size(size) for size in sizes} == sizes


def test_every_item_says_what_a_user_must_know():
    for name, item in ITEMS.items():
        assert item.name == name
        assert item.about
        assert item.licence
        assert item.bytes > 0
        assert (item.hub is None) == item.source.startswith("https://github.com/")
        assert item.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", item.sha256)
    assert {name for name, item in ITEMS.items() if item.sha256} == {"sr-lora", "sr-vae", "vlm-adapter", "dape"}
    assert {name for name, item in ITEMS.items() if not item.commercial} == {"sd3", "qwen", "oracle", "vlm-adapter"}
    assert {name for name, item in ITEMS.items() if item.gated} == {"sd3"}
    with pytest.raises(UsageError, match="did you mean sr-lora"):
        find_item("sr_lora")


# presets


@pytest.mark.slow
def test_presets_give_options_that_backbones_and_prompters_take():
    pytest.importorskip("peft", reason="the extra [diffusion] is not installed")
    for name, preset in PRESETS.items():
        given = {"backbone": {*preset.backbone_items}, "prompter": {*preset.prompter_items, *preset.prompter_options}}
        tables = {"backbone": plugins.BACKBONES, "prompter": plugins.PROMPTERS}
        for kind, table in tables.items():
            factory, _ = plugins.factory(kind, table, getattr(preset, kind))
            assert given[kind] <= set(inspect.signature(factory).parameters), (name, kind)
        assert preset.settings["protocol"] == "paper"
        assert preset.settings["zoom"] == 256
        assert preset.settings["mode"] == ("direct" if name == "paper-direct" else "chain")


def test_what_each_preset_needs():
    base = ["sd3", "sr-lora", "sr-vae"]
    tags = ["ram", "dape", "ram-tags", "ram-thresholds"]
    assert {name: [item.name for item in find_preset(name).items] for name in PRESETS} == {
        "paper": [*base, "qwen", "vlm-adapter"],
        "paper-vlm-base": [*base, "qwen"],
        "paper-null": base,
        "oracle": [*base, "oracle", "qwen", "vlm-adapter"],
        "paper-dape": [*base, *tags],
        "paper-direct": [*base, *tags],
    }


def test_an_unknown_preset_is_a_usage_error():
    with pytest.raises(UsageError, match="did you mean --preset paper-null"):
        find_preset("paper-nul")
    with pytest.raises(UsageError, match="accepted: paper, "):
        resolve("zzz")


def test_all_that_is_missing_is_said_in_one_line():
    with pytest.raises(MissingError) as error:
        resolve("paper")
    said = str(error.value)
    assert "\n" not in said
    for item in find_preset("paper").items:
        assert f"{item.name} (about {item.size}, {item.licence}" in said
    assert said.count("NON-COMMERCIAL") == 3
    assert "gated: accept the licence at https://huggingface.co/stabilityai/" in said
    assert "hf auth login" in said
    assert str(models_dir()) in said
    assert said.endswith(
        "type: coz models get sd3 qwen && git clone https://github.com/bryanswkim/Chain-of-Zoom "
        "&& coz models convert Chain-of-Zoom/ckpt"
    )


def test_resolve_gives_paths_and_leaves_out_what_the_user_gave():
    lora = write(models_dir() / "sr-lora" / "model_20001.pkl", "x")
    vae = write(models_dir() / "sr-vae" / "vae_encoder_20001.pt", "x")
    with pytest.raises(MissingError, match="lacks 1 of its weights: sd3"):
        resolve("paper-null")
    assert resolve("paper-null", {"base"}) == ({"lora": lora, "vae_encoder": vae}, {})
    sd3, qwen = make_sd3(models_dir() / "sd3"), make_qwen(models_dir() / "qwen")
    assert resolve("paper-null") == ({"base": sd3, "lora": lora, "vae_encoder": vae}, {})
    assert resolve("paper-vlm-base", {"lora"}) == (
        {"base": sd3, "vae_encoder": vae},
        {"model": qwen, "multi_scale": True},
    )
    assert resolve("paper", {"adapter", "model", "multi_scale"})[1] == {}
    assert hub.list_missing(find_preset("paper").items) == [ITEMS["vlm-adapter"]]
