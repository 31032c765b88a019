"""The metrics of pyiqa and lpips, against stand-ins of those packages: both want torchvision, which is not here."""

from __future__ import annotations

import importlib.util
import sys
import textwrap

import numpy as np
import pytest
from conftest import noise

from chain_of_zoom.errors import MissingError
from chain_of_zoom.evaluation.metrics.table import METRICS, load_metric

RESEARCH = [name for name in METRICS if METRICS[name][2] == "eval-research"]
PYIQA = """
    import torch
    made = []
    class Network:
        def __call__(self, target, ref=None):
            assert target.shape[:2] == (1, 3) and 0 <= target.min() and target.max() <= 1
            made.append((self.name, ref is not None))
            return torch.tensor([[target[0, 0].mean() if ref is None else (target - ref).abs().max()]])
    def create_metric(name):
        network = Network()
        network.name = name
        return network
"""
LPIPS = """
    class LPIPS:
        def __init__(self, net, verbose):
            assert (net, verbose) == ("alex", False)
        def eval(self):
            pass
        def __call__(self, image, reference, normalize):
            assert normalize
            return (image - reference).abs().mean()
"""


@pytest.fixture
def packages(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    for name, code in {"pyiqa": PYIQA, "lpips": LPIPS, "torchvision": ""}.items():
        if importlib.util.find_spec(name):
            pytest.skip(f"{name} is installed here")
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(code))
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in ("pyiqa", "lpips", "torchvision"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("name", RESEARCH)
def test_each_is_called_with_planes_from_0_to_1(name, packages):
    metric = load_metric(name)
    assert metric.missing() is None
    image, truth = noise(9, 7), noise(9, 7, 1)
    red = image[..., 0].mean() / 255
    difference = np.abs(image.astype(float) - truth) / 255
    expected = {"lpips": difference.mean(), "dists": difference.max()}.get(name, red)
    assert metric(image, truth) == pytest.approx(expected, rel=1e-5)
    if name != "lpips":
        assert sys.modules["pyiqa"].made == [(name, metric.info.reference)]


def test_licences_are_said():
    assert all("NON-COMMERCIAL" in load_metric(name).info.licence for name in RESEARCH if name != "lpips")


@pytest.mark.slow
def test_without_the_packages_they_are_named_gaps():
    for name in RESEARCH:
        metric = load_metric(name)
        if metric.missing() is None:
            pytest.skip("the research packages are installed here")
        with pytest.raises(MissingError, match=r"lacks .*; type: pip install 'chain-of-zoom\[eval-research\]'"):
            metric(noise(8, 8), noise(8, 8))


def test_a_package_that_does_not_load_is_a_named_gap(packages):
    (packages / "pyiqa.py").write_text("raise RuntimeError('operator torchvision::nms\\ndoes not exist')")
    with pytest.raises(
        MissingError, match="metric musiq: pyiqa does not load .operator torchvision::nms does not exist"
    ):
        load_metric("musiq")(noise(8, 8))
