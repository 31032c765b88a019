"""`coz models`, `coz models get` (the hub is faked: no network) and `coz models convert`."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
from collections import namedtuple
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import PARITY, invoke

from chain_of_zoom.errors import ChainOfZoomError, MissingError, OutputError, UsageError
from chain_of_zoom.weights.catalog import ITEMS
from chain_of_zoom.weights.hub import hub_cache, locate, models_dir

torch = pytest.importorskip("torch")
hub = pytest.importorskip("huggingface_hub")
hub_errors = pytest.importorskip("huggingface_hub.errors")
hub_constants = pytest.importorskip("huggingface_hub.constants")
safetensors = pytest.importorskip("safetensors.torch")

from chain_of_zoom.networks.sd.lora import merge_transformer  # noqa: E402
from chain_of_zoom.weights import convert as converter  # noqa: E402
from chain_of_zoom.weights.checkpoints import read_tensors  # noqa: E402
from chain_of_zoom.weights.files import file_sha256  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.slow]


@pytest.fixture(autouse=True)
def empty_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COZ_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(hub_constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10**12))


# list


@pytest.mark.slow
def test_the_list_says_what_is_there_and_how_to_get_the_rest():
    text = invoke("models")
    for name, item in ITEMS.items():
        assert f"\n{name}: {item.about}\n    about {item.size}; {item.licence}" in text
    assert "--preset paper-null: " in text
    assert "needs sd3, sr-lora, sr-vae; lacks all" in text
    assert "missing; type: coz models get qwen" in text
    assert text.count("NON-COMMERCIAL") == 4
    path = models_dir() / "sr-lora" / "model_20001.pkl"
    path.parent.mkdir(parents=True)
    path.write_text("x")
    text = invoke("models")
    assert f"present: {path}" in text
    assert "needs sd3, sr-lora, sr-vae; lacks sd3, sr-vae" in text


def test_the_list_as_json():
    (models_dir() / "dape").mkdir(parents=True)
    (models_dir() / "dape" / "DAPE.pth").write_text("x")
    found = json.loads(invoke("models", "--json"))
    items = {item["name"]: item for item in found["items"]}
    assert list(items) == list(ITEMS)
    assert items["dape"]["path"] == str(models_dir() / "dape" / "DAPE.pth")
    assert items["dape"]["command"] is None
    assert items["sd3"]["path"] is None
    assert items["sd3"]["command"] == "coz models get sd3"
    assert items["sd3"]["gated"]
    assert not items["qwen"]["commercial"]
    presets = {preset["name"]: preset for preset in found["presets"]}
    assert presets["paper-dape"]["missing"] == ["sd3", "sr-lora", "sr-vae", "ram", "ram-tags", "ram-thresholds"]
    assert found["models_dir"] == str(models_dir())


# get


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    """A hub that is online and counts what it is asked for; it brings nothing."""
    made: list[dict] = []
    monkeypatch.setattr(hub_constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "snapshot_download", lambda repo, **options: made.append({"repo": repo, **options}))
    return made


PUBLISHED = {
    "sd3": [
        ".gitattributes", "LICENSE", "README.md", "sd3demo.jpg", "model_index.json",
        "sd3_medium.safetensors", "sd3_medium_incl_clips_t5xxlfp16.safetensors", "scheduler/scheduler_config.json",
        "text_encoder/config.json", "text_encoder/model.safetensors", "text_encoder/model.fp16.safetensors",
        "text_encoder_3/model-00001-of-00002.safetensors", "text_encoder_3/model.safetensors.index.json",
        "text_encoder_3/model.fp16-00001-of-00002.safetensors", "text_encoder_3/model.safetensors.index.fp16.json",
        "tokenizer/vocab.json", "tokenizer/merges.txt", "tokenizer_3/spiece.model", "tokenizer_3/tokenizer.json",
        "transformer/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.safetensors",
    ],
    "qwen": [
        "README.md", "config.json", "chat_template.json", "merges.txt", "vocab.json", "tokenizer.json",
        "model-00001-of-00002.safetensors", "model.safetensors.index.json", "preprocessor_config.json",
    ],
    "ram": ["README.md", "ram_swin_large_14m.pth", "tag2text_swin_14m.pth"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "skipped"),
    [
        ("sd3", {".gitattributes", "LICENSE", "README.md", "sd3demo.jpg"}),
        ("qwen", {"README.md"}),
        ("ram", {"README.md", "tag2text_swin_14m.pth"}),
    ],
)
def test_get_asks_for_what_the_libraries_read_and_no_more(calls, name, skipped):
    with pytest.raises(MissingError, match=f"{name} came, but not whole"):
        invoke("models", "get", name)
    (call,) = calls
    assert call["repo"] == ITEMS[name].hub
    assert call["cache_dir"] == hub_cache()
    chosen = hub.utils.filter_repo_objects(
        PUBLISHED[name], allow_patterns=call["allow_patterns"], ignore_patterns=call["ignore_patterns"]
    )
    skipped = skipped | {file for file in PUBLISHED[name] if "fp16" in file or file.startswith("sd3_medium")}
    assert set(PUBLISHED[name]) - set(chosen) == skipped


@pytest.mark.slow
def test_get_says_the_licence_and_where_it_lies_and_is_content_the_second_time(calls, monkeypatch):
    file = hub_cache() / "models--xinyu1205--recognize_anything_model/snapshots/a/ram_swin_large_14m.pth"

    def download(repo: str, **options: object) -> None:
        calls.append({"repo": repo})
        file.parent.mkdir(parents=True)
        file.write_text("x")

    monkeypatch.setattr(hub, "snapshot_download", download)
    assert invoke("models", "get", "ram", "ram") == f"ram: about 5.6 GB; licence: Apache-2.0\nram: {file}\n"
    assert invoke("models", "get", "ram") == f"ram: already there: {file}\n"
    assert len(calls) == 1


def hub_error(kind: str, message: str = "no") -> Exception:
    response = SimpleNamespace(headers={}, request=None, status_code=403)
    return getattr(hub_errors, kind)(message, response=response)


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (hub_error("GatedRepoError"), MissingError, "sd3 is gated (Stability AI Non-Commercial"),
        (hub_error("GatedRepoError"), MissingError, "then type: hf auth login && coz models get sd3"),
        (hub_error("RepositoryNotFoundError"), MissingError, "no such model, or no access"),
        (hub_error("HfHubHTTPError", "503 Server Error"), MissingError, "(503 Server Error)"),
        (hub_errors.LocalEntryNotFoundError("no connection\nmore"), MissingError, "(no connection)"),
        (ConnectionError("refused"), MissingError, "(refused)"),
        (RuntimeError(), MissingError, "(RuntimeError)"),
        (OSError(errno.ENOSPC, "No space left on device"), OutputError, "No space left on device"),
    ],
)
def test_a_download_that_fails_is_one_clear_line(calls, monkeypatch, error, kind, says):
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(hub, "snapshot_download", fail)
    with pytest.raises(kind) as raised:
        invoke("models", "get", "sd3")
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


def test_offline_is_said_without_asking_the_hub(calls, monkeypatch):
    monkeypatch.setattr(hub_constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(MissingError, match="HF_HUB_OFFLINE is set.*unset HF_HUB_OFFLINE"):
        invoke("models", "get", "qwen")
    assert calls == []


@pytest.mark.slow
def test_a_full_disk_is_seen_before_downloading(calls, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=20e9))
    with pytest.raises(OutputError, match=r"20 GB free; accepted: about 24 GB for sd3, qwen.*HF_HOME"):
        invoke("models", "get", "sd3", "qwen")
    assert calls == []
    blobs = hub_cache() / "models--stabilityai--stable-diffusion-3-medium-diffusers" / "blobs"
    blobs.mkdir(parents=True)
    with (blobs / "x.incomplete").open("wb") as file:  # what an earlier try has left counts
        file.truncate(5_000_000_000)
    with pytest.raises(MissingError, match="not whole"):
        invoke("models", "get", "sd3", "qwen")
    assert len(calls) == 1


@pytest.mark.slow
def test_what_is_not_on_the_hub_is_refused_before_anything_is_downloaded(calls):
    with pytest.raises(MissingError) as error:
        invoke("models", "get", "sd3", "sr-lora", "ram-tags")
    assert "sr-lora, ram-tags: not on the Hugging Face hub; accepted here: sd3, qwen, oracle, ram, sd-x4," in str(
        error.value
    )
    assert "git clone https://github.com/bryanswkim/Chain-of-Zoom && coz models convert" in str(error.value)
    with pytest.raises(UsageError, match="did you mean qwen"):
        invoke("models", "get", "qwen2")
    assert calls == []


def test_get_without_huggingface_hub_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingError, match=r"pip install 'chain-of-zoom\[diffusion\]'"):
        invoke("models", "get", "qwen")


# convert


@pytest.fixture
def ckpt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder like that of the paper's repository, and a catalog that knows its SHA-256s."""
    generator = torch.Generator().manual_seed(0)
    shared = torch.randn(3, 2, generator=generator)
    home = tmp_path / "Chain-of-Zoom" / "ckpt"
    files = {
        "SR_LoRA/model_20001.pkl": [torch.randn(2, i + 1, generator=generator) for i in range(24)],
        "SR_VAE/vae_encoder_20001.pt": {"conv.weight": torch.randn(2, 3, generator=generator).half()},
        "RAM/ram_swin_large_14m.pth": {"model": {"a": shared, "tied": shared, "view": shared.T, "row": shared[1]}},
        "DAPE/DAPE.pth": {"lora_A": torch.zeros(2)},
    }
    for name, tensors in files.items():
        (home / name).parent.mkdir(parents=True)
        torch.save(tensors, home / name)
    for step in ("checkpoint-10000", "checkpoint-5000"):
        adapter = home / "VLM_LoRA" / step
        adapter.mkdir(parents=True)
        safetensors.save_file({"lora_A": torch.full((2,), float(len(step)))}, adapter / "adapter_model.safetensors")
        (adapter / "adapter_config.json").write_text('{"peft_type": "LORA"}')
        (adapter / "optimizer.pt").write_text("not wanted")
    (home / "ram_tag_list.txt").write_text("leaf\nmoss\n")
    for name, item in converter.PUBLISHED.items():
        if item.sha256:
            file = next(path for path in sorted(home.rglob(name)))  # of the adapters, checkpoint-10000
            monkeypatch.setitem(converter.PUBLISHED, name, replace(item, sha256=file_sha256(file)))
    return home


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.slow
def test_a_folder_is_searched_and_everything_lands_where_presets_look(ckpt):
    text = invoke("models", "convert", ckpt)
    assert text.count("SHA-256 as published") == 4
    assert text.count("unverified: no SHA-256 was published") == 2
    assert files_in(models_dir()) == [
        "dape/DAPE.safetensors",
        "ram-tags/ram_tag_list.txt",
        "ram/ram_swin_large_14m.safetensors",
        "sr-lora/model_20001.safetensors",
        "sr-vae/vae_encoder_20001.safetensors",
        "vlm-adapter/adapter_config.json",
        "vlm-adapter/adapter_model.safetensors",
    ]
    assert all(locate(ITEMS[name]) for name in ("sr-lora", "sr-vae", "vlm-adapter", "dape", "ram", "ram-tags"))
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        published = ckpt / "VLM_LoRA" / "checkpoint-10000" / name
        assert (models_dir() / "vlm-adapter" / name).read_bytes() == published.read_bytes()


def test_tensors_survive_and_a_list_keeps_its_order(ckpt):
    invoke("models", "convert", ckpt)
    for name, file in (("sr-vae", "SR_VAE/vae_encoder_20001.pt"), ("ram", "RAM/ram_swin_large_14m.pth")):
        before = read_tensors(ckpt / file)
        before = before.get("model", before)
        after = read_tensors(locate(ITEMS[name]))
        assert after.keys() == before.keys()
        assert all(torch.equal(after[key], before[key]) and after[key].dtype == before[key].dtype for key in before)
    published = read_tensors(ckpt / "SR_LoRA" / "model_20001.pkl")
    converted = read_tensors(locate(ITEMS["sr-lora"]))
    assert sorted(converted)[:3] == ["0000.up", "0001.down", "0002.up"]
    assert len(converted) == len(published)
    assert all(torch.equal(converted[key], was) for key, was in zip(sorted(converted), published, strict=True))


@pytest.mark.slow
def test_converting_again_changes_nothing_and_a_new_source_replaces(ckpt):
    invoke("models", "convert", ckpt)
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in models_dir().rglob("*") if path.is_file()}
    assert invoke("models", "convert", ckpt).count("already there") == 6
    assert {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in models_dir().rglob("*") if p.is_file()} == before
    target = models_dir() / "sr-vae" / "vae_encoder_20001.safetensors"
    target.write_bytes(target.read_bytes()[:-1])  # damaged since
    assert "already" not in invoke("models", "convert", ckpt / "SR_VAE" / "vae_encoder_20001.pt")
    assert target.read_bytes() == before[target][0]


@pytest.mark.slow
def test_another_file_under_the_published_name_is_refused_unless_trusted(ckpt, tmp_path):
    file = ckpt / "SR_LoRA" / "model_20001.pkl"
    torch.save([torch.ones(1), torch.ones(1)], file)
    with pytest.raises(MissingError, match=r"not the published sr-lora.*--as sr-lora") as error:
        invoke("models", "convert", ckpt)
    assert converter.PUBLISHED["model_20001.pkl"].sha256 in str(error.value)
    assert not models_dir().exists()
    text = invoke("models", "convert", file, "--as", "sr-lora", "-o", tmp_path / "elsewhere")
    assert text == f"sr-lora: {tmp_path}/elsewhere/sr-lora/model_20001.safetensors (unverified)\n"
    with safetensors.safe_open(tmp_path / "elsewhere/sr-lora/model_20001.safetensors", "pt") as found:
        assert found.metadata() == {"source_sha256": file_sha256(file)}


@pytest.mark.slow
def test_a_file_under_another_name_needs_as(ckpt, tmp_path):
    odd = tmp_path / "mine.safetensors"
    safetensors.save_file({"lora_A": torch.ones(2)}, odd)
    with pytest.raises(UsageError, match=r"none of the published files.*--as ITEM"):
        invoke("models", "convert", odd)
    invoke("models", "convert", odd, "--as", "dape")
    (tmp_path / "adapter_config.json").write_text("{}")
    invoke("models", "convert", odd, "--as", "vlm-adapter")
    assert (models_dir() / "vlm-adapter" / "adapter_model.safetensors").read_bytes() == odd.read_bytes()
    assert locate(ITEMS["vlm-adapter"]) == models_dir() / "vlm-adapter"
    invoke("models", "convert", ckpt / "VLM_LoRA" / "checkpoint-5000", "--as", "vlm-adapter")
    assert (models_dir() / "vlm-adapter" / "adapter_model.safetensors").read_bytes() != odd.read_bytes()
    for args, says in (
        ((odd, "--as", "sd3"), "coz models get sd3"),
        ((odd, odd, "--as", "dape"), "accepted: one file"),
    ):
        with pytest.raises(UsageError, match=says):
            invoke("models", "convert", *args)


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("executed",)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("model_20001.pkl", [Evil()], "holds more than tensors"),
        ("DAPE.pth", {"a": 1.0}, "no list and no state dict"),
        ("DAPE.pth", {1: torch.ones(1)}, "no list and no state dict"),
        ("DAPE.pth", torch.ones(1), "no list and no state dict"),
        ("DAPE.pth", b"nonsense", ""),
        ("DAPE.pth", b"", ""),
        ("adapter_model.safetensors", b"nonsense", "damaged"),
        ("DAPE.pth", b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
    ],
)
def test_bad_files_execute_nothing_and_leave_nothing(tmp_path, monkeypatch, name, content, says):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / name
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        torch.save(content, file)
    (tmp_path / "adapter_config.json").write_text("{}")
    item = converter.PUBLISHED[name].name
    for args in ((file,), (file, "--as", item)):
        with pytest.raises(MissingError) as error:
            invoke("models", "convert", *args)
        assert "\n" not in str(error.value)
    assert says in str(error.value)
    assert not (tmp_path / "executed").exists()
    assert not models_dir().exists()


@pytest.mark.slow
def test_wrong_paths_are_one_line_each(tmp_path, ckpt):
    (tmp_path / "empty").mkdir()
    wrong: list[tuple[object, type[ChainOfZoomError], str]] = [
        (tmp_path / "absent", MissingError, "is not there"),
        (tmp_path / "empty", MissingError, "holds none of the published files; accepted: model_20001.pkl"),
    ]
    for path, kind, says in wrong:
        with pytest.raises(kind, match=says):
            invoke("models", "convert", path)
    (ckpt / "DAPE" / "ram_tag_list.txt").write_text("another")
    with pytest.raises(UsageError, match="2 different ram_tag_list.txt"):
        invoke("models", "convert", ckpt)
    (ckpt / "VLM_LoRA" / "checkpoint-10000" / "adapter_config.json").unlink()
    with pytest.raises(MissingError, match=r"adapter_config\.json cannot be read"):
        invoke("models", "convert", ckpt / "VLM_LoRA")
    assert not (models_dir() / "vlm-adapter").exists()


def test_where_nothing_can_be_written_nothing_is_left(ckpt, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot write"):
        invoke("models", "convert", ckpt / "DAPE", "-o", tmp_path / "file")
    assert (tmp_path / "file").read_text() == "x"


def test_an_interrupted_write_keeps_the_earlier_file(ckpt, monkeypatch):
    source = ckpt / "DAPE" / "DAPE.pth"
    invoke("models", "convert", source)
    target = models_dir() / "dape" / "DAPE.safetensors"
    before = target.read_bytes()
    torch.save({"lora_A": torch.ones(3)}, source)

    def half(_: object, path: Path, **__: object) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(converter, "save_file", half)
    with pytest.raises(KeyboardInterrupt):
        converter.convert(converter.find([source], ITEMS["dape"])[0], models_dir())
    assert files_in(models_dir()) == ["dape/DAPE.safetensors"]
    assert target.read_bytes() == before


def test_the_loader_takes_the_converted_list_as_the_published_one(tmp_path):
    invoke("models", "convert", PARITY / "model_tiny.pkl", "--as", "sr-lora")
    converted, published = read_tensors(locate(ITEMS["sr-lora"])), read_tensors(PARITY / "model_tiny.pkl")
    Linear = namedtuple("Linear", "up down")
    pairs = [Linear(*pair) for pair in zip(published[::2], published[1::2], strict=True)]

    class AdaLayerNormZero(torch.nn.Module):
        def __init__(self, pair: Linear) -> None:
            super().__init__()
            self.linear = torch.nn.Linear(pair.down.shape[1], pair.up.shape[0])
            torch.nn.init.zeros_(self.linear.weight)

    networks = [torch.nn.ModuleList(AdaLayerNormZero(pair) for pair in pairs) for _ in range(2)]
    for network, tensors in zip(networks, (converted, published), strict=True):
        merge_transformer(network, tensors)
    for one, other, pair in zip(*networks, pairs, strict=True):
        assert torch.equal(one.linear.weight, other.linear.weight)
        assert torch.equal(one.linear.weight, pair.up.float() @ pair.down.float())
