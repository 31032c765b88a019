"""Where words are: answers are read strictly, and every box is looked at again."""

from __future__ import annotations

import json
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain_of_zoom.errors import BadInputError
from chain_of_zoom.imaging.geometry import Box, Size, covers
from chain_of_zoom.prompters.grounding import (
    ANSWER_TOKENS,
    SIDE,
    AnsweringModel,
    find_places,
    parse_places,
    share_area,
    surround,
)

SIZE = Size(1008, 504)


class Eye:
    """Sees red, and says where in the picture that it is shown; `lies` are answers given first."""

    name, model, max_new_tokens = "remote", "eye", 32

    def __init__(self, *lies: str, blind_close: bool = False) -> None:
        self.lies, self.blind_close, self.log = list(lies), blind_close, []

    def load(self) -> None: ...

    def ask(self, conversations):
        [conversation] = conversations
        picture = conversation[0]["content"][1]["image"]
        self.log.append((conversation, self.max_new_tokens))
        if self.lies:
            return [self.lies.pop(0)]
        red = (picture[..., 0] > 150) & (picture[..., 1] < 100)
        if self.blind_close and red.mean() > 0.05:
            return ['{"places": []}']
        y, x = np.nonzero(red)
        box = [int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1]
        return [f"Here it is:\n```json\n{json.dumps({'places': [{'box': box}]})}\n```"]


def picture_with(x0, y0, x1, y1, width=2016, height=1512):
    picture = np.full((height, width, 3), 90, np.uint8)
    picture[y0:y1, x0:x1] = (220, 20, 20)
    return picture


def test_a_place_is_found_in_pixels_of_the_photo_and_found_again_closer():
    eye = Eye()
    [sighting] = find_places(eye, picture_with(1500, 300, 1620, 360), "the red door")
    assert sighting.is_confirmed
    assert share_area(sighting.box, Box(*map(Fraction, (1500, 300, 1620, 360)))) > 0.9
    (first, tokens), (closer, _) = eye.log
    assert first[0]["content"][1]["image"].shape == (756, SIDE, 3)
    assert "1008 x 756" in first[0]["content"][0]["text"]
    assert '"the red door"' in first[0]["content"][0]["text"]
    assert closer[0]["content"][1]["image"].shape == (SIDE, SIDE, 3)
    assert (tokens, eye.max_new_tokens) == (ANSWER_TOKENS, 32)


def test_what_a_close_up_does_not_show_is_not_sure():
    [sighting] = find_places(Eye(blind_close=True), picture_with(1500, 300, 1620, 360), "door")
    assert not sighting.is_confirmed


def test_an_unusable_answer_is_asked_for_again_with_the_reason():
    eye = Eye("I see it at the right.")
    assert find_places(eye, picture_with(10, 10, 200, 200), "door")[0].is_confirmed
    again, _ = eye.log[1]
    assert [turn["role"] for turn in again] == ["user", "assistant", "user"]
    assert "not JSON" in again[2]["content"][0]["text"]
    with pytest.raises(BadInputError, match="eye gave no usable place of 'door': the box"):
        find_places(Eye(*['{"places": [{"box": [0, 0, 5000, 9]}]}'] * 2), picture_with(10, 10, 20, 20), "door")


@pytest.mark.parametrize(
    "answer",
    [
        "", "no", "{}", '{"places": 3}', '{"places": [{}]}', '{"places": [{"box": [1, 2, 3]}]}', "[" * 5000,
        '{"places": [{"box": [5, 5, 5, 9]}]}', '{"places": [{"box": [9, 5, 5, 9]}]}',
        '{"places": [{"box": "1,2,3,4"}]}',
        '{"places": [{"box": [NaN, 0, 1, 1]}]}', '{"places": [{"box": [1e400, 0, 1, 1]}]}',
        '{"places": [{"box": [0, 0, 1012, 500]}]}', '{"places": [{"box": [-9, 0, 10, 10]}]}',
        '{"places": [{"box": [0.2, 0.2, 0.4, 0.4]}]}',
    ],
)  # fmt: skip
def test_what_is_no_place_is_refused(answer):
    with pytest.raises(ValueError, match=r"JSON|box"):
        parse_places(answer, SIZE)


def test_forms_of_answers_that_are_forgiven():
    box = Box(*map(Fraction, (10, 20, 30, 40)))
    assert parse_places('{"places": []}', SIZE) == []
    for answer in (
        '{"places": [{"box": [10, 20, 30, 40]}, {"box": [10, 20, 30.5, 40]}]}',  # the same thing twice
        '```json\n[{"bbox_2d": [10, 20, 30, 40], "label": "clock"}]\n```',
    ):
        assert parse_places(answer, SIZE) == [box]
    assert parse_places('{"places": [{"box": [-0.5, 0, 1008.9, 504]}]}', SIZE) == [
        Box(*map(Fraction, (0, 0, 1008, 504)))
    ]


@given(st.lists(st.floats(0, 1000), min_size=4, max_size=4), st.integers(20, 3000), st.integers(20, 3000))
def test_the_surroundings_hold_the_box_and_lie_in_the_picture(edges, width, height):
    x0, x1 = sorted(edges[:2])
    y0, y1 = sorted(edges[2:])
    scale = Fraction(width, 1001), Fraction(height, 1001)
    box = Box(*map(Fraction, (x0, y0, x1 + 1, y1 + 1))).scaled(*scale)
    around = surround(box, Size(width, height))
    assert covers((0, 0, width, height), around.floats())
    assert covers(around.floats(), box.floats())
    assert share_area(box, box) == 1
    assert share_area(box, around) == pytest.approx(float(box.width * box.height / (around.width * around.height)))


def test_prompters_that_can_answer_are_told_from_those_that_cannot():
    from chain_of_zoom import load_prompter

    assert isinstance(load_prompter("remote", url="http://127.0.0.1:1/v1", model="m"), AnsweringModel)
    assert not isinstance(load_prompter("null"), AnsweringModel)
