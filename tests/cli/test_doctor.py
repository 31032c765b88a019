"""`coz doctor`: what it says of a machine, and the self-test on tiny weights laid out as the real ones."""

from __future__ import annotations

import getpass
import hashlib
import io
import json
import platform
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import PARITY, invoke
from PIL import Image

from chain_of_zoom.chain.record import Record
from chain_of_zoom.cli import doctor as cli
from chain_of_zoom.cli.selftest import selftest_picture
from chain_of_zoom.errors import MissingError, OutputError, UsageError
from chain_of_zoom.resources import available_cores
from chain_of_zoom.runtime import vulkan
from chain_of_zoom.weights.catalog import ITEMS
from chain_of_zoom.weights.presets import PRESETS


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty COZ_MODELS, and no hub."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COZ_MODELS", str(tmp_path / "weights"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "weights"


@pytest.fixture
def tiny(home: Path) -> Path:
    """The tiny weights of shared/parity, where the catalog looks for the real ones."""
    if not PARITY.is_dir():
        pytest.skip("shared/parity is not on this machine")
    pytest.importorskip("diffusers", reason="the extra [diffusion] is not installed")
    ram = PARITY / "tiny_ram"
    for name, source in {
        "sd3": PARITY / "tiny_sd3",
        "qwen": PARITY / "tiny_qwen",
        "vlm-adapter": PARITY / "tiny_qwen_adapter",
        "oracle/merged_transformer.safetensors": PARITY
        / "tiny_sd3"
        / "transformer"
        / "diffusion_pytorch_model.safetensors",
        "sr-lora/model_20001.pkl": PARITY / "model_tiny.pkl",
        "sr-vae/vae_encoder_20001.pt": PARITY / "vae_encoder_tiny.pt",
        "ram/ram_swin_large_14m.pth": ram / "ram_tiny.pth",
        "dape/DAPE.pth": ram / "dape_tiny.pth",
        "ram_tag_list.txt": ram / "ram_tag_list.txt",
        "ram_tag_list_threshold.txt": ram / "ram_tag_list_threshold.txt",
    }.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).symlink_to(source)
    return home


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with every package, 32 GB and no GPU."""
    monkeypatch.setattr(cli, "_version", lambda name: "1.0")
    monkeypatch.setattr(cli, "machine_facts", lambda: machine(32e9))


def machine(memory: float, *gpus: float) -> dict[str, object]:
    facts = {"python": "3.11.0", "platform": "Linux", "cores": 2, "torch": "2.13.0", "warnings": [], "vulkan": []}
    return {
        **facts,
        "mps": False,
        "memory": int(memory),
        "gpus": [{"name": "H100", "memory": int(gpu)} for gpu in gpus],
    }


def test_an_empty_machine_is_told_what_every_preset_lacks(plain):
    text = invoke("doctor")
    assert "python 3.11.0 on Linux, 2 cores, memory 32 GB\ntorch 2.13.0; GPU: none that torch can use\n" in text
    assert "extra [diffusion]: installed" in text
    assert all(f"weights {name}: missing" in text for name in ITEMS)
    assert "preset paper-null: lacks weights sd3, weights sr-lora, weights sr-vae" in text
    assert text.endswith("type: coz models\n")


@pytest.mark.slow
def test_with_the_tiny_weights_every_preset_can_run(plain, tiny):
    found = json.loads(invoke("doctor", "--json"))
    assert {name: verdict["runs"] for name, verdict in found["presets"].items()} == dict.fromkeys(PRESETS, True)
    assert all(verdict["note"] is None for verdict in found["presets"].values())
    assert found["weights"]["sr-lora"] == str(tiny / "sr-lora" / "model_20001.pkl")
    assert found["models_dir"] == str(tiny)
    (tiny / "vlm-adapter").unlink()
    found = json.loads(invoke("doctor", "--json"))
    assert found["presets"]["paper"] == {"runs": False, "lacks": ["weights vlm-adapter"], "note": None}
    assert found["presets"]["paper-vlm-base"]["runs"]


@pytest.mark.parametrize(
    ("facts", "note"),
    [
        (machine(24e9), "may not fit: weights of about 47 GB, and 24 GB of memory, without a GPU"),
        (machine(64e9), None),
        (machine(24e9, 16e9), "may not fit: weights of about 24 GB, and 16 GB of GPU memory"),
        (machine(24e9, 16e9, 80e9), None),
    ],
)
def test_weights_larger_than_the_memory_are_noted(plain, monkeypatch, facts, note):
    monkeypatch.setattr(cli, "machine_facts", lambda: facts)
    assert cli.examine()["presets"]["paper"]["note"] == note


@pytest.mark.slow
def test_missing_packages_are_named_with_the_command(plain, tiny, monkeypatch):
    monkeypatch.setattr(cli, "_version", lambda name: None if name in ("peft", "httpx") else "1.0")
    text = invoke("doctor")
    assert "extra [diffusion]: lacks peft; type: pip install 'chain-of-zoom[diffusion]'" in text
    assert "extra [remote]: lacks httpx; type: pip install 'chain-of-zoom[remote]'" in text
    assert "preset paper-null: lacks package peft" in text


def test_vulkan_devices_are_shown_with_the_names_that_device_takes(plain, monkeypatch):
    rows = [
        {"index": 0, "name": "Arc", "kind": "discrete", "memory": 8 * 10**9},
        {"index": 1, "name": "llvmpipe", "kind": "software", "memory": 10**9},
    ]
    monkeypatch.setattr(cli, "machine_facts", lambda: {**machine(32e9), "vulkan": rows})
    shown = "gpu:0 Arc (discrete, 8 GB free), gpu:1 llvmpipe (software, 1 GB free, used only when asked for)"
    assert f"Vulkan, for the embedded backbones: {shown}\n" in invoke("doctor")


@pytest.mark.slow
def test_the_real_machine_is_described(home):
    found = json.loads(invoke("doctor", "--json"))
    assert found["vulkan"] == vulkan.find_devices().as_json()
    assert found["python"] == platform.python_version()
    assert found["cores"] >= 1
    assert 1e8 < found["memory"] < 1e14
    assert found["packages"]["numpy"] == np.__version__
    assert found["packages"]["chain-of-zoom"]
    assert platform.node() not in found["platform"]


@pytest.mark.slow
def test_without_torch_it_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert "torch not installed; GPU: none that torch can use" in invoke("doctor")


@pytest.fixture
def torchvision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The module file of a torchvision that can be written."""
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)
    (tmp_path / "path" / "torchvision").mkdir(parents=True)
    monkeypatch.syspath_prepend(tmp_path / "path")
    yield tmp_path / "path" / "torchvision" / "__init__.py"
    sys.modules.pop("torchvision", None)


@pytest.mark.slow
def test_a_torchvision_that_does_not_fit_is_a_warning(torchvision):
    pytest.importorskip("torch")
    torchvision.write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    text = invoke("doctor")
    assert "warning: torchvision does not fit torch" in text
    assert "RuntimeError" in text
    assert "pip uninstall torchvision" in text
    torchvision.write_text("fits = True  # this time")
    assert "warning" not in invoke("doctor")


def test_the_extras_are_those_of_the_project():
    extras = cli.extras()
    assert {"diffusion", "eval", "train", "video"} <= extras.keys()
    assert not {"dev", "bench"} & extras.keys()
    assert "torch" in extras["diffusion"]
    assert extras["video"] == ["imageio-ffmpeg"]


# self-test


def test_the_picture_is_always_the_same():
    picture = selftest_picture()
    assert (picture.shape, picture.dtype) == ((512, 512, 3), np.uint8)
    assert np.array_equal(picture, selftest_picture())
    digest = hashlib.sha256(picture.tobytes()).hexdigest()
    assert digest == "24f5cff6f6076f2d075acb581d670c342558d5a5020d76b1bfb22876e39fceab"
    assert all(picture[..., channel].std() > 40 for channel in range(3))


@pytest.mark.slow
def test_selftest_writes_one_small_zip_that_names_nobody_and_remembers_its_speed(tiny, tmp_path, monkeypatch):
    summary = json.loads(invoke("doctor", "--selftest", "paper-null", "-o", tmp_path / "sent.zip", "--json"))
    data = (tmp_path / "sent.zip").read_bytes()
    assert len(data) < 4_000_000
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
        assert {info.date_time[0] for info in archive.infolist()} == {1980}
    states = ["00_1x.png", "01_4x.png", "02_16x.png"]
    assert list(files) == [*states, "record.json", "versions.json", "timings.json"]
    record = Record.from_json(files["record.json"])
    assert record.complete
    assert [state.file for state in record.states] == states
    assert [state.sha256 for state in record.states] == [hashlib.sha256(files[name]).hexdigest() for name in states]
    with Image.open(io.BytesIO(files["00_1x.png"])) as first:
        assert np.array_equal(np.asarray(first), selftest_picture())
    assert record.options == {"backbone": {"base": "sd3", "lora": "sr-lora", "vae_encoder": "sr-vae"}, "prompter": {}}
    assert record.input.path == "selftest.png"
    assert (record.settings.protocol, record.settings.zoom) == ("paper", 16)
    assert record.backbone.weights_sha256
    timings = json.loads(files["timings.json"])
    assert [state["file"] for state in timings["states"]] == states
    assert timings["total"] >= timings["load"] + sum(state["seconds"] for state in timings["states"]) - 0.01
    assert summary["total"] == timings["total"]
    assert json.loads(files["versions.json"])["packages"]["diffusers"]
    names = [name for name in (platform.node(), getpass.getuser()) if len(name) > 4]  # shorter ones occur by chance
    private = [tmp_path.name, str(PARITY), str(Path.home()), *names]
    memory = tmp_path / "cache" / "chain-of-zoom" / "step-times.json"
    files["memory"] = memory.read_bytes()
    for name, content in files.items():
        assert [word for word in private if word.encode() in content] == [], name
    monkeypatch.setattr("chain_of_zoom.cli.estimate.lack_of_memory", lambda _: None)
    last = json.loads(invoke("doctor", "--estimate", "paper-null", "--json"))["measured"]
    assert (last["steps"], last["size"], last["pictures"]) == (1, [512, 512], 1), "the first counts as warming up"
    assert last["seconds"] == pytest.approx(timings["states"][2]["seconds"], abs=2e-3)
    assert last["devices"] == [f"CPU, {available_cores()} cores"]
    assert f"last run here: {last['seconds']:.2g} s a picture" in invoke("doctor", "--estimate", "paper-null")
    assert "not run here yet" in invoke("doctor", "--estimate", "paper")
    for damage in (b'[{"preset"', b"\xff", b"{}"):
        memory.write_bytes(damage)
        text = invoke("doctor", "--estimate", "paper-null")
        assert "not run here yet" in text
        assert "note: step-times.json in the cache folder cannot be read" in text


def test_selftest_without_weights_says_everything_at_once(tmp_path):
    with pytest.raises(
        MissingError, match="preset paper lacks 5 of its weights: sd3 .* qwen .*coz models get sd3 qwen"
    ):
        invoke("doctor", "--selftest", "paper", "-o", tmp_path / "sent.zip")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_wrong_options_are_refused_before_anything_runs(tiny, tmp_path):
    with pytest.raises(UsageError, match="did you mean --preset paper-null"):
        invoke("doctor", "--selftest", "paper-nul")
    with pytest.raises(UsageError, match="add --selftest"):
        invoke("doctor", "-o", "x.zip")
    for out in (tmp_path, tmp_path / "absent" / "x.zip"):
        with pytest.raises(OutputError, match="-o"):
            invoke("doctor", "--selftest", "paper-null", "-o", out)
