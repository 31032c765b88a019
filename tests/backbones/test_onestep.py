"""osediff-sd3 on tiny random weights, against outputs of the published code."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import PARITY, noise
from PIL import Image

pytest.importorskip("diffusers", reason="needs the extra [diffusion]")

from chain_of_zoom import MissingError, UsageError, load_backbone, zoom

pytestmark = [pytest.mark.torch, pytest.mark.slow]


LEAF = PARITY / "cases" / "leaf.png"
TINY = {
    "base": PARITY / "tiny_sd3",
    "lora": PARITY / "model_tiny.pkl",
    "vae_encoder": PARITY / "vae_encoder_tiny.pt",
    "device": "cpu",
}


@pytest.fixture(scope="module")
def backbone():
    return load_backbone("osediff-sd3", **TINY)


def share_within(image: np.ndarray, case: str, levels: int) -> float:
    with Image.open(PARITY / "cases" / case) as expected:
        difference = np.abs(image.astype(int) - np.asarray(expected.convert("RGB")))
    return float((difference <= levels).mean())


@pytest.mark.slow
def test_recursive_states_are_the_published_ones(backbone):
    text = "autumn leaf, moss"
    states = zoom(LEAF, protocol="paper", magnification=16, backbone=backbone, prompt=text).states
    assert share_within(states[0].image, "recursive/0.png", 0) == 1
    assert share_within(states[1].input, "recursive/1_input.png", 0) == 1
    # Tolerances of the parity README: the published layers round their output to half precision.
    assert share_within(states[1].image, "recursive/1.png", 2) >= 0.999
    assert share_within(states[2].image, "recursive/2.png", 2) >= 0.995
    assert states[2].prompt_used


@pytest.mark.slow
def test_the_wavelet_fix_and_the_direct_zoom(backbone):
    state = zoom(LEAF, protocol="paper", magnification=4, backbone=backbone, color_fix="wavelet").states[1]
    assert share_within(state.image, "wavelet/1.png", 2) >= 0.999
    text = "autumn leaf, moss"
    direct = zoom(LEAF, protocol="paper", magnification=16, mode="direct", backbone=backbone, prompt=text).states
    assert share_within(direct[1].image, "recursive/1.png", 2) >= 0.999  # one step: the same thing
    assert share_within(direct[2].input, "bicubic/2.png", 0) == 1  # 16x: bicubic of x0's window, then one pass


@pytest.mark.slow
def test_four_together_are_four_alone(backbone):
    windows = [noise(16, 20, i) for i in range(4)]
    prompts, seeds = ["a", "b", "", "a"], [1, 2, 3, 4]
    together = backbone(windows, prompts, seeds)
    for i in range(4):
        np.testing.assert_array_equal(together[i], backbone([windows[i]], [prompts[i]], [seeds[i]])[0])


@pytest.mark.slow
def test_odd_windows_are_padded_and_the_text_matters(backbone):
    (a,) = backbone([noise(17, 22)], ["moss"], [0])
    assert a.shape == (68, 88, 3)
    (b,) = backbone([noise(17, 22)], ["a red car"], [0])
    assert not np.array_equal(a, b)


@pytest.mark.slow
def test_options(backbone):
    window = [noise(16, 16)]
    sampled, again = backbone(window, ["x"], [0])[0], backbone(window, ["x"], [0])[0]
    np.testing.assert_array_equal(sampled, again)
    for option in ({"posterior": "mode"}, {"t5_tokens": 77}, {"t5": False}, {"shift_in": True}):
        other = load_backbone("osediff-sd3", **TINY, **option)(window, ["x"], [0])[0]
        assert other.shape == sampled.shape
        if "posterior" not in option:  # the tiny posterior has almost no variance
            assert not np.array_equal(other, sampled)


@pytest.mark.parametrize(
    ("option", "error"),
    [
        ({"base": "nowhere"}, MissingError),
        ({"base": PARITY / "tiny_qwen"}, MissingError),
        ({"lora": PARITY / "none.pkl"}, MissingError),
        ({"lora": PARITY / "vae_encoder_tiny.pt"}, MissingError),
        ({"vae_encoder": PARITY / "model_tiny.pkl"}, MissingError),
        ({"posterior": "maybe"}, UsageError),
        ({"t5_tokens": 0}, UsageError),
        ({"device": "abacus"}, UsageError),
        ({"dtype": "float16"}, UsageError),
        ({"colour": "red"}, UsageError),
    ],
)
def test_bad_options_and_weights_are_one_typed_error(option, error):
    with pytest.raises(error):
        load_backbone("osediff-sd3", **{**TINY, **option}).load()
