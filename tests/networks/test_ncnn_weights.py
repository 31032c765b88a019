"""Reading ncnn's files: what is written is what is read, and nothing damaged passes."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain_of_zoom.networks.rrdb.ncnn_weights import FP16_TAG, MAGIC, read_network

CONVOLUTION = "Convolution conv 1 1 data out 0={out} 1=3 4=1 5=1 6={count}"


def written(folder, lines, data):
    param, weights = folder / "net.param", folder / "net.bin"
    param.write_text("\n".join([MAGIC, f"{len(lines)} {len(lines)}", *lines]))
    weights.write_bytes(data)
    return param, weights


@settings(max_examples=20)
@given(st.integers(1, 5), st.integers(1, 4), st.booleans())
def test_kernels_of_either_width_are_read_exactly(tmp_path_factory, out, channels, half):
    """Odd numbers of fp16 values are filled up to 4 bytes; what follows is found all the same."""
    rng = np.random.default_rng(out * 10 + channels)
    kernels = rng.standard_normal((out, channels, 3, 3)).astype(np.float16)
    bias, slopes = rng.standard_normal(out).astype(np.float32), rng.standard_normal(out).astype(np.float32)
    stored = kernels.tobytes() if half else kernels.astype(np.float32).tobytes()
    data = struct.pack("<I", FP16_TAG if half else 0) + stored + bytes(-len(stored) % 4)
    lines = [
        "Input in 0 1 data",
        CONVOLUTION.format(out=out, count=kernels.size) + " 9=2 -23310=1,2.000000e-01",
        f"PReLU slope 1 1 out end 0={out}",
    ]
    folder = tmp_path_factory.mktemp("net")
    layers = read_network(*written(folder, lines, data + bias.tobytes() + slopes.tobytes()))
    assert [layer.kind for layer in layers] == ["Input", "Convolution", "PReLU"]
    assert (layers[1].inputs, layers[1].outputs) == (("data",), ("out",))
    assert layers[1].number(9) == 2
    assert layers[1].params[10] == (0.2,)
    np.testing.assert_array_equal(layers[1].weights[0], kernels.astype(np.float32))
    np.testing.assert_array_equal(layers[1].weights[1], bias)
    np.testing.assert_array_equal(layers[2].weights[0], slopes)


@pytest.mark.parametrize(
    ("lines", "data", "says"),
    [
        (["PReLU p 1 1 a b 0=2"], bytes(12), "4 bytes of net.bin were not consumed"),
        (["PReLU p 1 1 a b 0=2"], bytes(4), "buffer is smaller"),
        (["LSTM l 1 1 a b 0=2"], b"", "layer LSTM is not supported"),
        ([CONVOLUTION.format(out=1, count=9)], struct.pack("<I", 7), "weights tagged 0x7"),
        ([CONVOLUTION.format(out=1, count=9) + " 3=2"], b"", "has no bias, a stride or holes"),
    ],
)
def test_damage_and_unknown_layers_are_refused(tmp_path, lines, data, says):
    with pytest.raises(ValueError, match=says):
        read_network(*written(tmp_path, lines, data))


def test_other_files_are_no_networks(tmp_path):
    (tmp_path / "a.param").write_text("")
    (tmp_path / "a.bin").write_bytes(b"")
    with pytest.raises(ValueError, match=r"a\.param is no ncnn network"):
        read_network(tmp_path / "a.param", tmp_path / "a.bin")
