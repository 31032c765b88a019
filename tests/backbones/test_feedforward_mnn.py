"""The embedded networks by MNN: ncnn's weights, its results within a fraction of a grey level, and nothing printed."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys

import numpy as np
import pytest
from conftest import PHOTO, noise

from chain_of_zoom import load_backbone
from chain_of_zoom.errors import BackboneError, MissingError, UsageError
from chain_of_zoom.imaging.images import to_uint8
from chain_of_zoom.networks.rrdb.ncnn_weights import read_network
from chain_of_zoom.networks.rrdb.onnx_file import format_onnx

has_mnn = pytest.mark.skipif(importlib.util.find_spec("MNN") is None, reason="needs the extra [fast]")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Make the user's cache folder an empty one."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "chain-of-zoom" / "mnn"


@has_mnn
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "most"), [("realsr", 0.3), ("realesrgan-anime", 0.05), ("animevideo", 0.01), ("span", 0.01)]
)
def test_it_computes_what_ncnn_computes(astronaut, name, most):
    """Levels of 255 before rounding, twice what was seen (Winograd sums in another order), and one level after it."""
    crops = [astronaut[96:128, 208:240], astronaut[300:320, 100:140], noise(16, 20), astronaut[96:128, 208:240]]
    crops = [crops[2]] * 4 if name == "realsr" else crops  # one is enough of the slowest
    in_ncnn, in_mnn = (load_backbone(name, device="cpu", runtime=runtime) for runtime in ("ncnn", "mnn"))
    results = in_mnn(crops)
    for expected, computed in zip(in_ncnn(crops), results, strict=True):
        assert np.abs(expected - computed).max() * 255 < most
        assert np.abs(to_uint8(expected).astype(int) - to_uint8(computed)).max() <= 1
    np.testing.assert_array_equal(results[0], results[3])  # whatever sizes came between
    assert in_mnn.runs_on().startswith("cpu (mnn 3.")
    assert in_ncnn.runs_on() == "cpu"


@has_mnn
def test_company_changes_no_bit(astronaut):
    backbone = load_backbone("span", runtime="mnn")
    a, b = noise(24, 40), astronaut[:33, :17]
    for alone, in_company in zip((backbone([a])[0], backbone([b])[0]), backbone([a, b]), strict=True):
        np.testing.assert_array_equal(alone, in_company)


@has_mnn
def test_a_damaged_conversion_is_made_again(cache, astronaut):
    crop = astronaut[:20, :20]
    expected = load_backbone("span", runtime="mnn")([crop])[0]
    (path,) = cache.iterdir()
    whole = path.read_bytes()
    for damaged in (b"", whole[:-1], whole[:1000] + b"\0" + whole[1001:]):
        path.write_bytes(damaged)
        np.testing.assert_array_equal(load_backbone("span", runtime="mnn")([crop])[0], expected)
        assert len(path.read_bytes()) == len(whole)
    assert list(cache.iterdir()) == [path]


@has_mnn
def test_auto_takes_the_faster_runtime_and_says_why_it_could_not(cache, astronaut):
    assert load_backbone("animevideo", device="cpu").runs_on() is None
    backbone, drawings = load_backbone("span", device="cpu"), load_backbone("animevideo", device="cpu")
    backbone.load()
    drawings.load()
    assert backbone.runs_on().startswith("cpu (mnn")
    assert drawings.runs_on() == "cpu"
    (path,) = cache.iterdir()
    path.unlink()
    cache.rmdir()
    cache.write_bytes(b"a file, where the folder would be")
    notes = []
    backbone = load_backbone("span", device="cpu")
    backbone([astronaut[:20, :20]], on_fallback=lambda index, note: notes.append(note))
    assert backbone.runs_on() == "cpu"
    assert len(notes) == 1
    assert notes[0].startswith("made by ncnn: cannot write")
    with pytest.raises(Exception, match="cannot write"):
        load_backbone("span", runtime="mnn").load()


@has_mnn
def test_a_converter_that_fails_is_an_error_that_names_the_other_runtime(cache, monkeypatch):
    monkeypatch.setattr("chain_of_zoom.networks.rrdb.mnn_network._CONVERT", "raise SystemExit(3)")
    with pytest.raises(BackboneError, match=r"exit code 3.*--set backbone.runtime=ncnn"):
        load_backbone("span", runtime="mnn").load()


@has_mnn
@pytest.mark.slow
def test_it_prints_nothing_into_the_json_and_connects_to_nothing(coz_process, tmp_path):
    code = (
        "import socket, sys\n"
        "def refuse(*_): raise AssertionError('a connection')\n"
        "socket.socket = refuse\n"
        "from chain_of_zoom import load_backbone\n"
        "load_backbone('span', runtime='mnn').load()\n"
        "assert not [name for name in sys.modules if name.startswith(('MNN.tools', 'aliyun'))]\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    done = coz_process("zoom", PHOTO, "--backbone", "span", "--size", "48x48", "--json", "-o", "out")
    assert json.loads(done.stdout)["states"]
    assert json.loads((tmp_path / "out" / "record.json").read_bytes())["device"].startswith("cpu (mnn 3.")


def test_what_is_not_there_names_the_extra(monkeypatch):
    with pytest.raises(UsageError, match="accepted with runtime mnn: cpu"):
        load_backbone("span", runtime="mnn", device="gpu")
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "MNN" else find(name))
    backbone = load_backbone("span", device="cpu")
    backbone.load()
    assert backbone.runs_on() == "cpu"
    with pytest.raises(MissingError, match=r"pip install 'chain-of-zoom\[fast\]'"):
        load_backbone("span", runtime="mnn").load()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["realesrgan-anime", "animevideo", "span"])
def test_the_onnx_written_by_hand_is_valid_and_exact(name, astronaut):
    onnx = pytest.importorskip("onnx", reason="needs the extra [bench]")
    runtime = pytest.importorskip("onnxruntime", reason="needs the extra [bench]")
    backbone = load_backbone(name, device="cpu", runtime="ncnn")
    data = format_onnx(read_network(*backbone.find_files()))
    onnx.checker.check_model(onnx.load_from_string(data))
    session = runtime.InferenceSession(data, providers=["CPUExecutionProvider"])
    crop = astronaut[96:128, 208:244]
    planes = crop.transpose(2, 0, 1)[None] / np.float32(255)
    enlarged = session.run(None, {"data": planes})[0][0].transpose(1, 2, 0).clip(0, 1)
    assert np.abs(enlarged - backbone([crop])[0]).max() * 255 < 0.01
