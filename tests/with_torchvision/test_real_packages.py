"""With torchvision, which users have and this project's own tests do not: the packages themselves, no stand-ins.

`bash benchmarks/with_torchvision.sh` makes an environment with them and runs this. Weights that these packages would
download are random here, in the layouts that they expect.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import PARITY, PHOTO, noise

torch = pytest.importorskip("torch")
torchvision = pytest.importorskip("torchvision", reason="bash benchmarks/with_torchvision.sh brings it")

from PIL import Image  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

from chain_of_zoom import load_backbone, load_prompter  # noqa: E402
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
    monkeypatch.setattr(loading, "_has_torchvision", lambda: False)
    ours = load_prompter("vlm", **QWEN)
    assert ours(contexts) == texts
    assert type(ours._loaded().processor).__module__.startswith("chain_of_zoom")
    assert all(texts)


def make_esrgan() -> torch.nn.Module:
    from spandrel.architectures.ESRGAN.__arch.RRDB import RRDBNet

    return RRDBNet(num_filters=8, num_blocks=1, scale=4)


def make_compact() -> torch.nn.Module:
    from spandrel.architectures.Compact.__arch.SRVGG import SRVGGNetCompact

    return SRVGGNetCompact(num_feat=8, num_conv=2, upscale=2)


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


def test_training_with_lpips_has_a_gradient(random_weights):
    from chain_of_zoom.distillation.losses import load_perceptual

    distance = load_perceptual("lpips", torch.device("cpu"))
    truth = torch.rand(1, 3, 64, 64) * 2 - 1
    restored = truth.clone().add_(0.1).requires_grad_()
    loss = distance(restored, truth)
    loss.backward()
    assert float(loss.detach()) > 0
    assert float(restored.grad.abs().sum()) > 0


def test_diffusers_and_transformers_load_beside_torchvision():
    backbone = load_backbone(
        "osediff-sd3", base=PARITY / "tiny_sd3", lora=PARITY / "model_tiny.pkl", device="cpu", t5_tokens=16
    )
    assert backbone([noise(16, 16)], ["moss"], [1])[0].shape == (64, 64, 3)
