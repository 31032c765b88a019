"""The published loop, against outputs of the published code (see the README beside the cases)."""

from __future__ import annotations

import numpy as np
from conftest import PARITY
from PIL import Image

from chain_of_zoom import zoom


def test_bicubic_states_to_the_bit():
    states = zoom(PARITY / "cases" / "leaf.png", protocol="paper", magnification=256, backbone="bicubic").states
    assert [state.magnification for state in states] == [1, 4, 16, 64, 256]
    for i in range(1, 5):
        expected = np.asarray(Image.open(PARITY / "cases" / "bicubic" / f"{i}.png").convert("RGB"))
        np.testing.assert_array_equal(states[i].image, expected)


def test_the_first_state_is_x0_to_the_bit():
    states = zoom(PARITY / "cases" / "leaf.png", protocol="paper", magnification=1, backbone="nearest").states
    expected = np.asarray(Image.open(PARITY / "cases" / "recursive" / "0.png").convert("RGB"))
    np.testing.assert_array_equal(states[0].image, expected)


def test_nearest_is_cut_from_x0_too():
    x0, *states = zoom(PARITY / "cases" / "leaf.png", protocol="paper", magnification=16, backbone="nearest").states
    for i, state in enumerate(states, 1):
        width = 512 // 4**i
        start = (512 - width) // 2
        window = x0.image[start : start + width, start : start + width]
        np.testing.assert_array_equal(state.image, window.repeat(4**i, 0).repeat(4**i, 1))


def test_model_backbones_chain_and_truncate():
    states = zoom(PARITY / "cases" / "leaf.png", protocol="paper", magnification=16, backbone="fake").states
    from chain_of_zoom import load_backbone

    raw = load_backbone("fake")([states[1].image[192:320, 192:320]], [""], [2])[0]
    np.testing.assert_array_equal(states[2].image, np.floor(raw * np.float32(255)).astype(np.uint8))
