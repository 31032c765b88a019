"""The embedded networks in torch: ncnn's weights, its results, and never unasked."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from conftest import PHOTO, noise

torch = pytest.importorskip("torch", reason="needs the extra [diffusion]")

from chain_of_zoom import load_backbone  # noqa: E402
from chain_of_zoom.errors import MissingError, UsageError  # noqa: E402
from chain_of_zoom.imaging.images import to_uint8  # noqa: E402
from chain_of_zoom.networks.rrdb.ncnn_weights import read_network  # noqa: E402
from chain_of_zoom.networks.rrdb.network import from_ncnn  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.slow]


# Parameters of the published networks: RRDB with 23 and 6 blocks, the compact one with 16 inner convolutions, and SPAN.
SIZES = {
    "realsr": 16_697_987,
    "realesrgan": 16_697_987,
    "realesrgan-anime": 4_467_779,
    "animevideo": 621_424,
    "span": 426_291,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SIZES)
def test_it_computes_what_ncnn_computes(astronaut, name):
    """0.01 of 255 grey levels before rounding, one level after; 0.0024 was seen (Winograd sums in another order)."""
    crops = [astronaut[96:128, 208:240], astronaut[300:320, 100:140], noise(16, 20)]
    crops = crops[:2] if name == "realesrgan" else crops  # the same layers as realsr's
    in_ncnn, in_torch = (load_backbone(name, device="cpu", runtime=runtime) for runtime in ("ncnn", "torch"))
    for expected, computed in zip(in_ncnn(crops), in_torch(crops), strict=True):
        assert np.abs(expected - computed).max() * 255 < 0.01
        assert np.abs(to_uint8(expected).astype(int) - to_uint8(computed)).max() <= 1
    assert (in_ncnn.runs_on(), in_torch.runs_on()) == ("cpu", "cpu (torch)")
    assert in_ncnn.weights_sha256() == in_torch.weights_sha256()


@pytest.mark.slow
@pytest.mark.parametrize("name", SIZES)
def test_every_stored_number_is_in_the_state_dict(name):
    files = load_backbone(name).find_files()
    network = from_ncnn(*files)
    state = network.state_dict()
    assert sum(value.numel() for value in state.values()) == SIZES[name]
    stored = [value for layer in read_network(*files) for value in layer.weights]
    for value, (key, loaded) in zip(stored, state.items(), strict=True):
        np.testing.assert_array_equal(value, loaded.numpy(), err_msg=key)
    names = {"conv_first.weight", "body.0.rdb1.conv1.weight", "body.5.rdb3.conv5.bias", "conv_up2.bias", "conv_hr.bias"}
    assert (
        names <= state.keys()
        or {"body.0.weight", "body.1.weight", "body.34.bias"} <= state.keys()
        or "block_6.c3_r.bias" in state
    )


def test_company_changes_no_bit(astronaut):
    backbone = load_backbone("animevideo", runtime="torch", device="cpu")
    a, b = noise(24, 40), astronaut[:33, :17]
    for alone, with_others in zip((backbone([a])[0], backbone([b])[0]), backbone([a, b]), strict=True):
        np.testing.assert_array_equal(alone, with_others)


@pytest.mark.slow
def test_a_run_says_so_and_is_not_mixed_with_ncnns(coz, tmp_path):
    args = ("zoom", PHOTO, "--backbone", "animevideo", "--size", "48x48", "--device", "cpu", "-o", "out")
    done = coz(*args, "--set", "backbone.runtime=torch")
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "out" / "record.json").read_bytes())
    assert record["device"] == "cpu (torch)"
    assert record["options"]["backbone"]["runtime"] == "torch"
    assert coz(*args).returncode == 4


def test_devices_and_runtimes_that_are_not_there(monkeypatch):
    assert not load_backbone("realsr").in_torch
    assert load_backbone("realsr", device="cuda:1").in_torch
    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match="device cuda is not there"):
            load_backbone("animevideo", device="cuda").load()
    with pytest.raises(UsageError, match="runtime 'onnx'; accepted: auto, ncnn, mnn, torch"):
        load_backbone("animevideo", runtime="onnx")
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else find(name))
    backbone = load_backbone("animevideo", runtime="torch")
    with pytest.raises(MissingError, match=r"pip install 'chain-of-zoom\[diffusion\]'"):
        backbone.load()


@pytest.mark.parametrize(("old", "new"), [("9=2", "9=1"), ("2.000000e-01,1", "3.000000e-01,1"), ("1=2.0 ", "1=3.0 ")])
def test_a_network_with_other_layers_is_refused(tmp_path, old, new):
    param, weights = load_backbone("realsr").find_files()
    changed = tmp_path / "changed.param"
    text = param.read_text()
    assert old in text
    changed.write_text(text.replace(old, new, 1))
    with pytest.raises(ValueError, match=r"activations|factors|repeating"):
        from_ncnn(changed, weights)


def test_damaged_weights_are_a_missing_package(tmp_path, monkeypatch):
    backbone = load_backbone("animevideo", runtime="torch", device="cpu")
    param, weights = backbone.find_files()
    cut = tmp_path / "cut.bin"
    cut.write_bytes(Path(weights).read_bytes()[:-10])
    monkeypatch.setattr(type(backbone), "find_files", lambda self: (param, cut))
    with pytest.raises(MissingError, match=r"cut.bin cannot be read; type: pip install --force-reinstall"):
        backbone.load()
