"""With torchvision, which users have and this project's own tests do not: the packages themselves, no stand-ins.

`bash benchmarks/with_torchvision.sh` makes an environment with them and runs this. Weights that these packages would
download are random here, in the layouts that they expect.
"""

from __future__ import annotations

import inspect
import json
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import PARITY, PHOTO, invoke, noise

torch = pytest.importorskip("torch")
torchvision = pytest.importorskip("torchvision", reason="bash benchmarks/with_torchvision.sh brings it")

from backbones import spandrel_double  # noqa: E402
from PIL import Image  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

from chain_of_zoom import UsageError, load_backbone, load_prompter  # noqa: E402
from chain_of_zoom.networks.vlm import loading  # noqa: E402
from chain_of_zoom.prompters.base import PromptContext  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.slow]
QWEN = {"model": PARITY / "tiny_qwen", "adapter": PARITY / "tiny_qwen_adapter", "device": "cpu"}


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    with Image.open(PHOTO) as picture:
        return np.asarray(picture.convert("RGB"))[100:212, 180:292]


@pytest.fixture
def random_weights(monkeypatch):
    """In place of what torchvision would download, a network of the same layout."""
    made: dict[str, dict] = {}

    def load(url: str, *_: object, **__: object) -> dict:
        name = url.rpartition("/")[2].partition("-")[0]
        if name not in made:
            torch.manual_seed(0)
            made[name] = getattr(torchvision.models, name)(weights=None).state_dict()
        return made[name]

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", load)
    return made


def test_the_stock_processor_of_qwen_gives_the_same_texts_as_ours_without_torchvision(photo, monkeypatch):
    contexts = [PromptContext([photo], photo[::-1].copy(), 4.0), PromptContext([photo[:, ::-1].copy()], photo, 4.0)]
    stock = load_prompter("vlm", **QWEN)
    texts = stock(contexts)
    assert type(stock._loaded().processor).__module__.startswith("transformers")
    assert stock._loaded().processor.tokenizer.padding_side == "left"
    monkeypatch.setattr(loading, "_has_torchvision", lambda: False)
    ours = load_prompter("vlm", **QWEN)
    assert ours(contexts) == texts
    assert type(ours._loaded().processor).__module__.startswith("chain_of_zoom")
    assert all(texts)


def make_esrgan() -> torch.nn.Module:
    from spandrel.architectures.ESRGAN.__arch.RRDB import RRDBNet

    return RRDBNet(num_filters=8, num_blocks=1, scale=4)


def make_compact(upscale: int = 2, channels: int = 3) -> torch.nn.Module:
    from spandrel.architectures.Compact.__arch.SRVGG import SRVGGNetCompact

    return SRVGGNetCompact(num_in_ch=channels, num_out_ch=channels, num_feat=8, num_conv=2, upscale=upscale)


@pytest.mark.parametrize(("make", "factor"), [(make_esrgan, 4), (make_compact, 2)])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_spandrel_reads_real_checkpoints_and_enlarges_as_the_network_itself(tmp_path, make, factor, suffix):
    torch.manual_seed(0)
    network = make().eval()
    path: Path = tmp_path / f"net{suffix}"
    state = network.state_dict()
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    window = noise(24, 30)
    backbone = load_backbone(str(path), device="cpu")
    assert backbone.info.factor == factor
    (result,) = backbone([window])
    with torch.inference_mode():
        planes = torch.from_numpy(window).permute(2, 0, 1)[None].float() / 255
        expected = network(planes)[0].permute(1, 2, 0).numpy().clip(0, 1)
    np.testing.assert_allclose(result, expected, atol=1e-5)


def test_a_file_zooms_from_the_command_line(coz, tmp_path):
    torch.manual_seed(0)
    save_file(make_compact().state_dict(), tmp_path / "mine.safetensors")
    done = coz(
        "zoom", PHOTO, "--backbone", tmp_path / "mine.safetensors", "--size", "64x64", "--zoom", "32", "--device",
        "cpu", "-o", "out",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "out" / "record.json").read_bytes())
    assert (record["backbone"]["name"], record["backbone"]["factor"]) == ("mine", 2)
    assert [state["origin"] for state in record["states"]].count("generated") == 2


@pytest.mark.parametrize(
    ("state", "says"),
    [
        (lambda: {"other": torch.zeros(2)}, "of no architecture that spandrel knows"),
        (lambda: make_compact(upscale=1).state_dict(), "does not enlarge pictures"),
        (lambda: make_compact(channels=1).state_dict(), "takes 1 channels and makes 1; accepted: 3 and 3"),
    ],
)
def test_a_file_that_will_not_do_is_refused(tmp_path, state: Callable[[], dict], says):
    torch.save(state(), tmp_path / "net.pth")
    with pytest.raises(UsageError, match=says):
        load_backbone(str(tmp_path / "net.pth"))


def test_the_double_of_spandrel_has_the_names_and_types_of_the_package():
    import spandrel

    double = spandrel_double.ModelLoader().load_from_state_dict({"up.weight": torch.zeros(12, 3, 1, 1)})
    real = spandrel.ModelLoader().load_from_state_dict(make_compact().state_dict())
    for name in (
        *("scale", "input_channels", "output_channels", "supports_half", "supports_bfloat16", "device", "dtype"),
        *("architecture.name", "size_requirements.minimum", "size_requirements.multiple_of"),
    ):
        ours, theirs = double, real
        for part in name.split("."):
            ours, theirs = getattr(ours, part), getattr(theirs, part)
        assert type(ours) is type(theirs), name
    assert {way.name for way in spandrel.ModelTiling} == {way.name for way in spandrel_double.ModelTiling}
    assert real.to(torch.device("cpu"), torch.float64).eval().dtype == torch.float64
    assert issubclass(spandrel.UnsupportedModelError, Exception)


def test_lpips_and_dists_tell_equal_pictures_from_noise(photo, random_weights, monkeypatch):
    from chain_of_zoom.evaluation.metrics.research import ResearchMetric

    def keep_random(network: torch.nn.Module, *_: object, **__: object) -> None:
        network.alpha.data.fill_(0.1)
        network.beta.data.fill_(0.1)

    monkeypatch.setattr("pyiqa.archs.dists_arch.load_pretrained_network", keep_random)
    for name in ("lpips", "dists"):
        metric = ResearchMetric(name)
        assert metric.missing() is None
        assert metric(photo, photo) == pytest.approx(0, abs=1e-4)
        noisy = np.clip(photo + np.random.default_rng(0).normal(0, 20, photo.shape), 0, 255).astype(np.uint8)
        assert metric(noisy, photo) > 0.005
    assert {"alexnet", "vgg16"} <= set(random_weights)


@pytest.mark.parametrize("name", ["musiq", "maniqa-pipal", "clipiqa"])
def test_networks_of_pyiqa_are_given_planes_from_0_to_1(photo, name, monkeypatch):
    """Their real weights are on hubs; these are the networks themselves, with random ones."""
    import timm
    from pyiqa import default_model_configs
    from pyiqa.archs import clip_model

    from chain_of_zoom.evaluation.metrics.research import ResearchMetric

    torch.manual_seed(0)
    for module in ("musiq_arch", "maniqa_arch"):
        monkeypatch.setattr(f"pyiqa.archs.{module}.load_pretrained_network", lambda *_, **__: None)
    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda kind, pretrained: create(kind, depth=10))
    monkeypatch.setitem(default_model_configs.DEFAULT_CONFIGS["maniqa-pipal"]["metric_opts"], "test_sample", 1)
    monkeypatch.setattr(
        "pyiqa.archs.clipiqa_arch.load",
        lambda *_: clip_model.CLIP(64, 224, (1, 1, 1, 1), 16, None, 77, 49408, 64, 2, 2).eval(),
    )
    picture = photo.repeat(2, 0).repeat(2, 1)
    metric = ResearchMetric(name)
    assert metric.missing() is None
    score = metric(picture)
    assert np.isfinite(score)
    planes = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
    assert score == pytest.approx(float(metric._score(planes)), rel=1e-5)
    assert score != metric(picture // 4)


def test_training_by_the_command_with_lpips(random_weights, tmp_path):
    with Image.open(PHOTO) as photo:
        photo.crop((100, 0, 300, 200)).save(tmp_path / "a.png")
    (tmp_path / "list.txt").write_text("a.png\n")
    invoke(
        "train", "--data", tmp_path / "list.txt", "--base", PARITY / "tiny_sd3", "-o", tmp_path / "out", "--stage",
        "bicubic", "--perceptual", "lpips", "--steps", 1, "--size", 64, "--batch", 1, "--accumulate", 1, "--workers", 0,
        "--no-checkpointing", "--device", "cpu", "--dtype", "float32", "--set", "model.t5=false",
    )  # fmt: skip
    settings = tomllib.loads((tmp_path / "out" / "settings.toml").read_text())
    assert settings["losses"]["network"] == "lpips"
    assert set(random_weights) == {"vgg16"}


def test_training_with_lpips_has_a_gradient(random_weights):
    from chain_of_zoom.distillation.losses import load_perceptual

    distance = load_perceptual("lpips", torch.device("cpu"))
    truth = torch.rand(1, 3, 64, 64) * 2 - 1
    restored = truth.clone().add_(0.1).requires_grad_()
    loss = distance(restored, truth)
    loss.backward()
    assert float(loss.detach()) > 0
    assert float(restored.grad.abs().sum()) > 0
    network = inspect.getclosurevars(distance).nonlocals["network"]
    assert not any(weight.requires_grad for weight in network.parameters())
    assert not network.training
    assert set(random_weights) == {"vgg16"}


def test_diffusers_and_transformers_load_beside_torchvision():
    backbone = load_backbone(
        "osediff-sd3", base=PARITY / "tiny_sd3", lora=PARITY / "model_tiny.pkl", device="cpu", t5_tokens=16
    )
    assert backbone([noise(16, 16)], ["moss"], [1])[0].shape == (64, 64, 3)
