from __future__ import annotations

import dataclasses
import shutil
import weakref

import msgspec
import numpy as np
import pytest
from conftest import PHOTO
from PIL import Image, ImageSequence

from chain_of_zoom import BadInputError, UsageError, animate, zoom
from chain_of_zoom.chain.record import Record
from chain_of_zoom.chain.sheet import BEYOND, COLOURS
from chain_of_zoom.imaging.encode import encode_png
from chain_of_zoom.movie import animation, encoding
from chain_of_zoom.movie.animation import Animation, encode, is_quick
from chain_of_zoom.movie.stored import read_run
from chain_of_zoom.resources import available_cores
from chain_of_zoom.truth.trust import BLOCK

FAST = {"backbone": "fake", "size": (144, 96), "at": (0.42, 0.22)}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return zoom(PHOTO, magnification=100, out=tmp_path_factory.mktemp("run"), **FAST)


def duration(frame: Image.Image) -> int:
    frame.load()
    return frame.info["duration"]


@pytest.mark.slow
def test_the_file_plays_for_as_long_as_planned_and_says_what_it_is(run, tmp_path):
    file = animate(run.folder, tmp_path / "zoom.webp", seconds=2)
    with Image.open(file) as image:
        assert image.n_frames > 40
        assert image.info["loop"] == 0
        shown = [duration(frame) for frame in ImageSequence.Iterator(image)]
        xmp = image.info["xmp"]
    assert sum(shown) == 800 + 48 * 40 + 1600
    assert b"compositeWithTrainedAlgorithmicMedia" in xmp
    assert b"1x to 100x into astronaut.png with fake" in xmp


def test_a_zoom_into_measured_pixels_is_not_called_generated(tmp_path):
    states = zoom(PHOTO, magnification=2, **FAST).states
    with Image.open(animate(states, tmp_path / "a.webp", seconds=0.2)) as image:
        assert b"DigitalSourceType" not in image.info["xmp"]


def test_frames_are_the_states_with_a_strip_below(run):
    made = list(Animation(run.states, seconds=0.2))
    assert {frame.shape for frame in made} == {made[0].shape}
    np.testing.assert_array_equal(made[0][:96], run.states[0].image)
    np.testing.assert_array_equal(made[-1][:96], run.states[-1].image)
    assert made[0].shape[0] % 2 == 0


def colours(strip: np.ndarray) -> set[tuple[int, ...]]:
    """Colours of the words: pixels below the bar, as bright as one of the known colours."""
    return {tuple(pixel) for pixel in strip[8:].reshape(-1, 3)} & {*COLOURS.values(), BEYOND}


@pytest.mark.slow
def test_every_frame_is_labelled_by_the_least_certain_state_in_sight(run):
    made = Animation(run.states, seconds=4)
    said = [colours(frame[96:]) for frame in made]
    for depth, found in zip(made.depths, said, strict=True):
        seen = [run.states[index] for index, _ in made.frames.weigh(depth)]
        if any(state.beyond_evidence for state in seen):
            assert found == {BEYOND}
        else:
            assert found == {COLOURS["measured"]}
    assert {COLOURS["measured"]} in said
    assert {BEYOND} in said


@pytest.mark.slow
def test_the_same_states_give_the_same_bytes_also_from_a_folder(run, tmp_path):
    first = animate(run.folder, tmp_path / "a.webp", seconds=0.4).read_bytes()
    made = Animation(run.states, seconds=0.4)
    assert encode(made, iter(made), ".webp", "into astronaut.png with fake") == first


@pytest.mark.slow
def test_frames_are_made_one_at_a_time(run, tmp_path):
    """Memory does not grow with the length: at no time are more than a few frames alive."""
    seen: list[weakref.ref] = []
    most = 0

    def watched(frames):
        nonlocal most
        for frame in frames:
            seen.append(weakref.ref(frame))
            most = max(most, sum(ref() is not None for ref in seen))
            yield frame

    animate(run.states, tmp_path / "a.webp", seconds=1.6, track=watched)
    assert len(seen) == 40
    assert most <= available_cores() + 4


def test_long_frames_are_reduced_and_work_decides_what_is_quick(run, monkeypatch):
    assert is_quick(run.states)
    assert not is_quick(run.states[:1])
    whole = Animation(run.states)
    assert whole.size == (144, 96)
    assert Animation(run.states, side=72).size == (72, 48)
    assert whole.megapixels == pytest.approx(len(whole) * whole.size.width * next(iter(whole)).shape[0] / 1e6)
    monkeypatch.setattr(animation, "QUICK", whole.megapixels - 0.01)
    assert not is_quick(run.states)


def test_what_cannot_be_animated_is_said(run, tmp_path):
    with pytest.raises(UsageError, match="larger magnification"):
        animate(run.states[:1], tmp_path / "a.webp")
    with pytest.raises(UsageError, match=r"\.webp or \.mp4"):
        animate(run.states, tmp_path / "a.gif")
    with pytest.raises(UsageError, match="seconds=6"):
        animate(run.states, tmp_path / "a.webp", seconds=float("nan"))
    with pytest.raises(UsageError, match="a file to write"):
        animate(run.states)
    with pytest.raises(BadInputError, match=r"no record\.json"):
        animate(tmp_path)
    with pytest.raises(BadInputError, match="no such folder"):
        animate(tmp_path / "none")
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_was_tampered_with_is_not_animated(run, tmp_path):
    copy = shutil.copytree(run.folder, tmp_path / "copy")
    (copy / run.record.states[1].file).write_bytes((copy / run.record.states[0].file).read_bytes())
    with pytest.raises(BadInputError, match="not as its record says"):
        animate(copy)
    (copy / run.record.states[1].file).unlink()
    with pytest.raises(BadInputError, match="not there"):
        animate(copy)


def test_quality_and_effort_are_those_documented():
    assert (encoding.WEBP_QUALITY, encoding.WEBP_EFFORT) == (80, 0)


def test_blocks_that_are_likely_wrong_are_red_in_the_animation_as_on_the_sheet(run, tmp_path):
    *before, last = run.states
    trust = np.ones((6, 9), np.float32)
    trust[2, 3] = 0.2
    marked = dataclasses.replace(last, trust=trust)
    *_, frame = Animation([*before, marked], seconds=0.2)
    np.testing.assert_array_equal(frame[:96], marked.marked_image)
    differs = (marked.marked_image != last.image).any(axis=2)
    assert differs[32:48, 48:64].all()
    assert differs.sum() == BLOCK**2


def test_an_animation_of_a_folder_has_the_map_that_lies_there(run, tmp_path):
    folder = shutil.copytree(run.folder, tmp_path / "run")
    record = Record.from_json((folder / "record.json").read_bytes())
    grey = np.zeros(run.states[-1].image.shape[:2], np.uint8)
    (folder / "09_trust.png").write_bytes(encode_png(grey))
    states = [*record.states[:-1], msgspec.structs.replace(record.states[-1], trust_file="09_trust.png")]
    (folder / "record.json").write_bytes(msgspec.structs.replace(record, states=tuple(states)).to_json())
    assert (read_run(folder)[1][-1].trust == 0).all()
    (folder / "09_trust.png").write_bytes(encode_png(grey[:5]))  # of another size: no map of this state
    assert read_run(folder)[1][-1].trust is None
