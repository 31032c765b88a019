"""How deep a zoom is supported follows the photo at the spot and the tests of the backbone."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageFilter

from chain_of_zoom import ChainOfZoom, UsageError, zoom
from chain_of_zoom.backbones.fake import Fake
from chain_of_zoom.chain.evidence import describe_softness, describe_support, round_magnification
from chain_of_zoom.chain.record import Record
from chain_of_zoom.chain.request import ZoomRequest
from chain_of_zoom.imaging.images import Picture

SHARP, SOFT = (0.3, 0.2), (0.8, 0.6)


class Proven(Fake):
    """A quick backbone with evidence up to 16x."""

    info = replace(Fake.info, evidence_limit=16.0)


@pytest.fixture(scope="module")
def photo(astronaut):
    """A photo whose right half is out of focus."""
    blurred = np.asarray(Image.fromarray(astronaut).filter(ImageFilter.GaussianBlur(3)))
    pixels = astronaut.copy()
    pixels[:, 256:] = blurred[:, 256:]
    return pixels


@pytest.mark.slow
def test_a_blurred_spot_is_supported_less_deep_than_a_sharp_one(photo):
    chain = ChainOfZoom(backbone=Proven())
    depths = {}
    for spot in (SHARP, SOFT):
        states = list(chain.zoom(photo, at=spot, size=(128, 128), until="supported"))
        depths[spot] = states[-1].magnification
        assert not any(state.beyond_evidence for state in states)
    assert depths[SHARP] == 64  # 512 px of photo on 128 px are 4x at 1:1, and 16x more have evidence
    assert depths[SOFT] == pytest.approx(64 / (1.46 * 3), rel=0.25)


@pytest.mark.slow
def test_states_beyond_it_are_marked_by_the_detail_in_their_window(photo):
    chain = ChainOfZoom(backbone=Proven())
    sharp, soft = (list(chain.zoom(photo, at=spot, size=(128, 128), magnification=64)) for spot in (SHARP, SOFT))
    assert [state.origin.value for state in soft] == ["measured", "measured", "generated", "generated"]
    assert [state.beyond_evidence for state in sharp] == [False] * 4
    assert [state.beyond_evidence for state in soft] == [False, False, True, True]
    assert soft[0].finest < 1.4 < soft[-1].finest  # all of the photo, then its soft half


@pytest.mark.slow
@pytest.mark.parametrize(("first_scale", "supported"), [(99, 64), (16, 64), (4, 16)])
def test_words_count_from_where_they_changed_something(photo, first_scale, supported):
    """With words there is evidence up to 4x, without up to 16x; the photo has 4 pixels for one of the first state."""

    class Worded(Proven):
        info = replace(Proven.info, evidence_limit=4.0, wordless=Proven.info)

        def uses(self, prompt, place, window=None):
            return place.scale >= first_scale

    run = ChainOfZoom(backbone=Worded()).plan(
        Picture.of_pixels(photo), ZoomRequest(at="0.3,0.2", size=(128, 128), zoom=256, prompt="moss")
    )
    assert run.find_supported() == 16, "the words may change everything"
    states = list(run.states())
    assert run.find_supported(states) == supported
    within = [state for state in states if state.magnification <= supported]
    assert not any(state.beyond_evidence for state in within)
    assert all(state.beyond_evidence for state in states[len(within) :])


def test_plain_enlargement_is_supported_as_far_as_there_is_detail(photo):
    sharp, soft = (
        list(ChainOfZoom(backbone="bicubic").zoom(photo, at=spot, size=(128, 128), until="supported"))[-1]
        for spot in (SHARP, SOFT)
    )
    assert (sharp.magnification, soft.magnification) == (4, 1)


def test_a_zoom_that_is_deeper_than_asked_is_not_made(photo):
    result = zoom(photo, at=SHARP, size=(128, 128), magnification=8, until="supported", backbone=Proven())
    assert result.states[-1].magnification == 8


@pytest.mark.slow
def test_the_record_and_the_command_say_it(coz, tmp_path, photo):
    Image.fromarray(photo).save(tmp_path / "photo.png")
    place = ("--at", "0.8,0.6", "--size", "128x128", "--backbone", "fake", "--no-animate", "-o", "out")
    done = coz("zoom", "photo.png", *place, "--until", "supported")
    assert done.returncode == 0, done.stderr
    record = Record.from_json((tmp_path / "out" / "record.json").read_bytes())
    assert record.supported == record.states[-1].magnification == 1
    assert record.finest < 1.4 < record.states[0].finest + 1
    assert "px here; supported to about 1x" in done.stdout


@pytest.mark.slow
def test_records_of_before_are_still_read(coz, tmp_path, photo):
    Image.fromarray(photo).save(tmp_path / "photo.png")
    command = ("zoom", "photo.png", "--size", "64x64", "--backbone", "fake", "--no-animate", "-o", "out")
    assert coz(*command).returncode == 0
    file = tmp_path / "out" / "record.json"
    record = json.loads(file.read_bytes())
    for part in (record, *record["states"]):
        del part["finest"]
    del record["supported"], record["settings"]["until"]
    file.write_text(json.dumps(record))
    assert coz(*command).stdout.count("kept from before") == len(record["states"])


def test_it_is_said_in_round_numbers():
    assert describe_support(3.02, 9.37) == "real detail down to 3 px here; supported to about 9x"
    assert describe_support(None, 1.0) == "no detail above noise here; supported to about 1x"
    assert round_magnification(1.44) == "1.4x"
    assert describe_softness(1.2) is None
    assert "2.1 px" in describe_softness(2.14)


def test_a_wrong_end_is_refused():
    with pytest.raises(UsageError, match="until"):
        zoom(np.zeros((64, 64, 3), np.uint8), until="sharp", backbone="fake")
