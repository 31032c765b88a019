"""Lengths, variety and repetition of prompts, by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain_of_zoom.prompters.text_statistics import measure_distinct, measure_repetition, split_words, summarise_prompts


def test_words_are_what_stands_between_spaces_without_its_marks():
    assert split_words('A wing, "dotted"; black-and-red … (close-up).') == [
        "a",
        "wing",
        "dotted",
        "black-and-red",
        "…",
        "close-up",
    ]
    assert split_words(" , ; ") == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 0),
        ("fur", 0),
        ("red fur", 0),
        ("red fur red", 0),
        ("fur fur fur fur", 1 / 2),  # two 3-grams, one kind
        ("a b c a b c", 1 / 4),  # four 3-grams, three kinds
        ("A b c a B c", 1 / 4),
        ("x " * 102, 0.99),
    ],
)
def test_repetition_by_hand(text, expected):
    assert measure_repetition(text) == pytest.approx(expected)


@pytest.mark.slow
@given(st.text("ab ", max_size=60))
def test_repetition_is_a_share(text):
    assert 0 <= measure_repetition(text) < 1


def test_distinct_by_hand():
    texts = ["red fur", "red fur, long", ""]
    assert measure_distinct(texts, 1) == 3 / 5
    assert measure_distinct(texts, 2) == 2 / 3
    assert measure_distinct(["", "fur"], 2) is None


def test_statistics_of_a_set():
    found = summarise_prompts(["fur fur fur fur", "", "wet moss"])
    assert (found.count, found.empty, found.words) == (3, 1 / 3, 2)
    assert (found.distinct_1, found.repetition) == (3 / 6, 1 / 6)
