"""ST-LPIPS against the package's own network."""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from conftest import noise

from chain_of_zoom.errors import MissingError
from chain_of_zoom.evaluation.metrics.table import load_metric

torch = pytest.importorskip("torch")
pytest.importorskip("stlpips_pytorch")

from chain_of_zoom.networks import stlpips  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.slow]


@pytest.fixture
def published(monkeypatch):
    """Our metric, loaded, and the package's own; what the latter's modules import and do not use here is stubbed."""
    ours = load_metric("st-lpips")
    ours.load()
    spec = importlib.util.find_spec("stlpips_pytorch")
    assert spec
    home = Path(spec.submodule_search_locations[0])

    def stub(name, path=(), **values):
        module = types.ModuleType(name)
        module.__path__ = [str(p) for p in path]
        module.__dict__.update(values)
        monkeypatch.setitem(sys.modules, name, module)
        return module

    stub("torchvision", models=stub("torchvision.models"))
    stub("IPython", embed=None)
    stub("torchsummary", summary=None)
    stub("stlpips_pytorch", [home])
    stub("stlpips_pytorch.pretrained_networks")
    blurs = stub("stlpips_pytorch.models_lpf", [home / "models_lpf"])
    for name in ("models_lpf.downsample", "invariant_networks", "utils", "stlpips"):
        monkeypatch.delitem(sys.modules, f"stlpips_pytorch.{name}", raising=False)
    blurs.Downsample = importlib.import_module("stlpips_pytorch.models_lpf.downsample").Downsample
    # Without dropout its last layers keep random values: the names in the file are those with dropout.
    network = importlib.import_module("stlpips_pytorch.stlpips").LPIPS(
        net="alex", variant="shift_tolerant", verbose=False, use_dropout=True
    )

    def score(image, reference):
        pair = [torch.from_numpy(p.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1 for p in (image, reference)]
        with torch.inference_mode():
            return float(network(*pair))

    yield ours, score
    for name in [name for name in sys.modules if name.startswith("stlpips_pytorch")]:
        del sys.modules[name]


@pytest.mark.slow
def test_it_is_the_published_network(published, astronaut):
    truth = astronaut[150:250, 200:333]
    ours, theirs = published
    for image in (noise(100, 133), np.roll(truth, 1, axis=1), truth // 2, truth):
        image = np.ascontiguousarray(image)
        assert ours(image, truth) == pytest.approx(theirs(image, truth), rel=1e-5, abs=1e-7)


@pytest.mark.slow
def test_a_shift_counts_less_than_a_blur(astronaut):
    from scipy.ndimage import gaussian_filter

    truth = astronaut[100:228, 150:278]
    metric = load_metric("st-lpips")
    assert metric(astronaut[100:228, 151:279], truth) < metric(gaussian_filter(truth, (1.5, 1.5, 0)), truth) / 3


def test_a_package_without_its_weights_is_a_named_gap(monkeypatch):
    monkeypatch.setattr(stlpips, "WEIGHTS", "weights/none.pth")
    with pytest.raises(MissingError, match=r"has no weights/none.pth; type: pip install 'chain-of-zoom\[eval-torch\]'"):
        load_metric("st-lpips").load()
