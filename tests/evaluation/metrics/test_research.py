"""What the metrics of pyiqa and lpips say where these are missing or broken; tests/with_torchvision runs them."""

from __future__ import annotations

import sys

import pytest
from conftest import noise

from chain_of_zoom.errors import MissingError
from chain_of_zoom.evaluation.metrics.table import METRICS, load_metric

RESEARCH = [name for name in METRICS if METRICS[name][2] == "eval-research"]


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


def test_a_package_that_does_not_load_is_a_named_gap(tmp_path, monkeypatch):
    """One that is broken, as beside another torch: written here, since no whole environment has it."""
    pytest.importorskip("torch")
    for name, code in {
        "torchvision": "",
        "pyiqa": "raise RuntimeError('operator torchvision::nms\\ndoes not exist')",
    }.items():
        monkeypatch.delitem(sys.modules, name, raising=False)
        (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        MissingError, match="metric musiq: pyiqa does not load .operator torchvision::nms does not exist"
    ):
        load_metric("musiq")(noise(8, 8))
    sys.modules.pop("torchvision", None)
