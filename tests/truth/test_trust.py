"""The trust map predicts where a state differs from what was there."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
from conftest import PHOTO, noise
from PIL import Image

from chain_of_zoom import UsageError, zoom
from chain_of_zoom.evaluation.true_zoom import reduce_photo
from chain_of_zoom.imaging.images import Picture, decode_png
from chain_of_zoom.truth.trust import (
    BLOCK,
    NOTICEABLE,
    draw_trust,
    list_backbones,
    load_models,
    map_trust,
    overlay_trust,
    read_trust,
)


def smooth(height: int, width: int) -> np.ndarray:
    ramp = np.linspace(0, 255, width).astype(np.uint8)
    return np.repeat(np.tile(ramp, (height, 1))[..., None], 3, axis=2)


def test_what_is_smooth_is_trusted_and_what_was_added_is_not():
    trusted = map_trust(smooth(96, 128), smooth(96, 128), "span", 4.0)
    invented = map_trust(noise(96, 128), smooth(96, 128), "span", 4.0)
    assert trusted.trust.shape == (6, 8)
    assert trusted.share == 1
    assert invented.share == 0
    assert (invented.bound > invented.expected).all()
    assert (invented.expected > NOTICEABLE).all()


@pytest.mark.parametrize("size", [(1, 1), (15, 33), (48, 17), (200, 300)])
def test_states_of_all_sizes_are_mapped_and_drawn(size):
    state = noise(*size)
    trust = map_trust(state, smooth(*size), "span", 7.3).trust
    assert trust.shape == tuple(-(-side // BLOCK) for side in size)
    grey = draw_trust(trust, state)
    assert grey.shape == size
    np.testing.assert_allclose(read_trust(grey), trust, atol=1 / 255)
    assert overlay_trust(np.ones_like(trust), state).tobytes() == state.tobytes()
    assert (overlay_trust(np.zeros_like(trust), state) != state).any()


def test_there_is_no_map_without_a_truth_to_compare_with():
    state = noise(32, 32)
    assert map_trust(state, state, "span", 17.0) is None
    assert map_trust(state, state, "fake", 4.0) is None
    assert map_trust(state, state, "span", np.inf) is None


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["span", "animevideo"])
def test_the_same_state_is_trusted_less_the_deeper_it_is(astronaut, backbone):
    state = zoom(astronaut, box="200px,60px,216px,76px", size=(64, 64), backbone=backbone).states[-1]
    bounds = [map_trust(state.image, state.input, backbone, depth).bound.mean() for depth in (4.0, 8.0, 16.0)]
    assert bounds == sorted(bounds)


def test_the_model_is_whole():
    for model in load_models().values():
        for residuals in model.residuals.values():
            assert len(residuals) == 101
            assert list(residuals) == sorted(residuals)


@pytest.mark.slow
def test_flagged_blocks_of_a_true_zoom_differ_more(astronaut):
    """A picture that nothing was fitted to or calibrated on by this test's measure: its own pixels are the truth."""
    picture = Picture.of_pixels(reduce_photo(astronaut, 4, "area"))
    *_, last = zoom(picture, box="32px,0px,96px,64px", size=(256, 256), backbone="span", trust=True).states
    off = last.image.astype(float).mean(axis=2) - astronaut[:256, 128:384].astype(float).mean(axis=2)
    differences = np.sqrt(np.square(off).reshape(16, 16, 16, 16).mean(axis=(1, 3)))
    flagged = last.trust < 0.5
    assert 0 < flagged.mean() < 0.6
    assert np.median(differences[flagged]) > NOTICEABLE > 1.5 * np.median(differences[~flagged])


@pytest.mark.slow
def test_the_map_stands_beside_the_state_and_is_kept(coz, tmp_path):
    command = ("zoom", PHOTO, "--at", "0.4,0.2", "--zoom", "4", "--size", "64x64", "--backbone", "span", "--trust")
    done = coz(*command, "--no-animate", "-o", "out")
    assert done.returncode == 0, done.stderr
    coz(*command, "--zoom", "32", "--no-animate", "-o", "deep")
    record = json.loads((tmp_path / "deep" / "record.json").read_bytes())
    last = record["states"][-1]
    assert last["trust_file"] == f"{len(record['states']) - 1:02d}_trust.png"
    grey = decode_png((tmp_path / "deep" / last["trust_file"]).read_bytes())[..., 0]
    assert last["trusted"] == pytest.approx((read_trust(grey) >= 0.5).mean(), abs=0.01)
    sheet = (tmp_path / "deep" / "sheet.png").read_bytes()
    coz(*command, "--zoom", "32", "--no-animate", "-o", "deep")
    assert (tmp_path / "deep" / "sheet.png").read_bytes() == sheet
    Image.new("L", (3, 3)).save(tmp_path / "deep" / last["trust_file"])  # one that fits no state is left out
    assert coz(*command, "--zoom", "32", "--no-animate", "-o", "deep").returncode == 0


@pytest.mark.slow
def test_zoom_without_words_is_span_and_has_its_map_and_its_limit(astronaut):
    """At 64 px a state 128x deep has 16 pixels per pixel of the photo: texture has no evidence there, span has's."""
    options = {"magnification": 128, "size": (64, 64), "at": (0.4, 0.2), "trust": True}
    span = zoom(astronaut, backbone="span", **options).states[-1]
    wordless = zoom(astronaut, backbone="zoom", **options).states[-1]
    assert wordless.image.tobytes() == span.image.tobytes()
    np.testing.assert_array_equal(wordless.trust, span.trust)
    assert not wordless.beyond_evidence
    worded = zoom(astronaut, backbone="zoom", prompt="grass", **options).states[-1]
    assert worded.prompt_used
    assert worded.trust is None
    assert worded.beyond_evidence


def test_a_backbone_that_was_not_compared_has_none():
    with pytest.raises(UsageError, match=list_backbones()[0]):
        zoom(noise(64, 64), backbone="fake", trust=True)


def test_it_takes_milliseconds():
    state, enlarged = noise(512, 512), smooth(512, 512)
    map_trust(state, enlarged, "span", 4.0)
    times = []
    for _ in range(5):
        started = time.process_time()
        map_trust(state, enlarged, "span", 4.0)
        times.append(time.process_time() - started)
    assert min(times) < 0.03  # 5 ms; a pass of span takes 240, and 3% of that is 7
