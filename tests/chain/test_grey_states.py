"""States of a photo without colour have none, whatever the network does, but where the published loop is repeated."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from chain_of_zoom import load_backbone, zoom
from chain_of_zoom.imaging.colour.grey import COLOUR_REMOVED, is_grey
from chain_of_zoom.imaging.images import decode_png

FAST = {"backbone": "fake", "size": (64, 48), "at": (0.42, 0.22), "magnification": 100}


def opened(path: Path) -> Image.Image:
    return Image.open(io.BytesIO(path.read_bytes()))


@pytest.fixture
def grey(astronaut, tmp_path):
    path = tmp_path / "grey.png"
    Image.fromarray(astronaut).convert("L").save(path)
    return path


@pytest.fixture
def sepia(grey, tmp_path):
    path = tmp_path / "sepia.png"
    plane = np.asarray(opened(grey))[..., None]
    Image.fromarray((plane * [1, 0.9, 0.7]).astype(np.uint8)).save(path)
    return path


@pytest.mark.parametrize("more", [{}, {"mode": "direct"}, {"color_fix": "wavelet"}, {"color_fix": "adain"}])
def test_no_state_has_colour_and_the_record_says_why(grey, more):
    states = zoom(grey, **FAST, **more).states
    assert all(is_grey(state.image) for state in states)
    generated = [COLOUR_REMOVED in state.fallbacks for state in states if state.origin == "generated"]
    assert generated
    assert all(generated)
    assert not any(COLOUR_REMOVED in state.fallbacks for state in states if state.origin != "generated")


@pytest.mark.slow
def test_a_real_network_gives_colour_and_the_zoom_none(grey):
    window = np.asarray(opened(grey).convert("RGB"))[60:100, 180:220]
    assert not is_grey(load_backbone("animevideo")([window])[0])
    states = zoom(grey, **FAST | {"backbone": "animevideo", "magnification": 32}).states
    assert all(is_grey(state.image) for state in states)


def test_what_stays_grey_by_itself_is_not_said_to_be_changed(grey):
    states = zoom(grey, **FAST | {"backbone": "bicubic"}).states
    assert all(is_grey(state.image) for state in states)
    assert not any(state.fallbacks for state in states)


@pytest.mark.slow
def test_a_photo_with_the_faintest_colour_keeps_what_the_network_gives(grey, sepia):
    pixels = np.asarray(opened(grey).convert("RGB")).copy()
    pixels[0, 0] = (0, 0, 1)
    for photo in (pixels, sepia):
        last = zoom(photo, **FAST).states[-1]
        assert not is_grey(last.image)
        assert COLOUR_REMOVED not in last.fallbacks


def test_the_published_loop_stays_as_published(grey):
    settings = {"backbone": "fake", "protocol": "paper", "magnification": 4}
    last = zoom(grey, **settings).states[-1]
    assert not is_grey(last.image)
    assert COLOUR_REMOVED not in last.fallbacks


@pytest.mark.slow
def test_files_are_grey_and_read_back_as_the_same_states(grey, tmp_path):
    result = zoom(grey, out=tmp_path / "a", **FAST)
    for entry, state in zip(result.record.states, result.states, strict=True):
        with Image.open(tmp_path / "a" / entry.file) as image:
            assert image.mode == "L"
        np.testing.assert_array_equal(decode_png((tmp_path / "a" / entry.file).read_bytes()), state.image)


@pytest.mark.slow
def test_a_resumed_run_ends_with_the_same_bytes(grey, tmp_path):
    record = zoom(grey, out=tmp_path / "a", **FAST).record
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    for entry in record.states[3:]:
        (tmp_path / "b" / entry.file).unlink()
    zoom(grey, out=tmp_path / "b", **FAST)
    for entry in record.states:
        assert (tmp_path / "a" / entry.file).read_bytes() == (tmp_path / "b" / entry.file).read_bytes()


@pytest.mark.slow
def test_alternatives_have_no_colour_either(grey, tmp_path):
    zoom(grey, out=tmp_path / "a", **FAST)
    result = zoom(grey, out=tmp_path / "a", resume_from=4, candidates=2, **FAST)
    assert all(is_grey(state.image) for state in result.candidates)
    assert all(COLOUR_REMOVED in state.fallbacks for state in result.candidates)


@pytest.mark.slow
def test_the_published_folders_hold_rgb(grey, tmp_path):
    zoom(grey, out=tmp_path / "a", layout="published", **FAST)
    files = list((tmp_path / "a").rglob("*.png"))
    assert files
    assert {opened(file).mode for file in files} == {"RGB"}


@pytest.mark.slow
def test_a_batch_does_as_a_single_zoom_does(coz, grey, sepia, tmp_path):
    done = coz(
        "zoom", grey, sepia, "--zoom", 16, "--at", "0.42,0.22", "--size", "64x48", "--backbone", "fake", "-o", "out"
    )
    assert done.returncode == 0, done.stderr
    states = {name: sorted((tmp_path / "out" / name).glob("0*.png"))[-1] for name in ("grey", "sepia")}
    assert opened(states["grey"]).mode == "L"
    assert opened(states["sepia"]).mode == "RGB"
    assert f"; {COLOUR_REMOVED}" in done.stdout
