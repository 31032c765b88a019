from __future__ import annotations

import numpy as np
from conftest import noise

from chain_of_zoom import load_prompter
from chain_of_zoom.prompters.base import MULTI_SCALE, SINGLE_SCALE, PromptContext, chat

CONTEXT = PromptContext([noise(8, 8), noise(8, 8, 1)], noise(8, 8, 2), 16.0)


def test_the_question_is_in_the_system_role_and_only_pictures_in_the_user_turn():
    system, user = chat(CONTEXT)
    assert system == {"role": "system", "content": [{"type": "text", "text": MULTI_SCALE}]}
    assert [part["type"] for part in user["content"]] == ["image", "image"]
    np.testing.assert_array_equal(user["content"][0]["image"], CONTEXT.states[-1])
    np.testing.assert_array_equal(user["content"][1]["image"], CONTEXT.zoomed)


def test_single_scale_shows_the_zoomed_window_alone():
    system, user = chat(CONTEXT, multi_scale=False)
    assert system["content"][0]["text"] == SINGLE_SCALE
    assert len(user["content"]) == 1


def test_fixed_prompters():
    assert load_prompter("null")([CONTEXT, CONTEXT]) == ["", ""]
    assert load_prompter("text").name == "text"
