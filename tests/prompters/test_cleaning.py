from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain_of_zoom.prompters.cleaning import MAX_CHARACTERS, clean


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("  bark, moss \n", "bark, moss"),
        ("eye eye eye eye", "eye"),
        ("fur, skin, fur, skin, fur", "fur, skin"),
        ("soft grey fur soft grey fur", "soft grey fur"),
        ("leaf<|im_end|>", "leaf"),
        ("a\x00b\u202ec", "a b c"),
        ("", ""),
        (" , ,", ""),
        ("water 2 2 5", "water 2 5"),
    ],
)
def test_examples(raw, cleaned):
    assert clean(raw) == cleaned


@pytest.mark.slow
@given(st.text(max_size=2000))
def test_always_short_single_line_and_stable(raw):
    text = clean(raw)
    assert len(text) <= MAX_CHARACTERS
    assert text == text.strip()
    assert "\n" not in text
    assert clean(text) == text
