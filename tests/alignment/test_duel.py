"""Two prompters before a critic: strict answers, both orders, and what counts as an observation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from batch_files import save
from conftest import noise
from hypothesis import given, settings
from hypothesis import strategies as st

from chain_of_zoom.alignment.pairs.read import Pair
from chain_of_zoom.alignment.scoring import duel
from chain_of_zoom.alignment.scoring.duel import Contest, build_duel_chat, run_duel
from chain_of_zoom.prompters.base import Messages
from chain_of_zoom.prompters.duel import parse_verdict


def contest(home: Path, a: str, b: str, photo: str = "p", seed: int = 0) -> Contest:
    parent, zoomed = home / f"{seed}_a.png", home / f"{seed}_b.png"
    if not parent.exists():
        save(noise(8, 8, seed), parent)
        save(noise(8, 8, seed + 50), zoomed)
    return Contest(
        pair=Pair(name=f"{photo}{seed}", parent=parent, zoomed=zoomed, split="held-out", photo=photo), texts=(a, b)
    )


def texts_of(question: Messages) -> tuple[str, str]:
    lines = question[0]["content"][-1]["text"].splitlines()
    assert lines[1].startswith("Description A: ")
    assert lines[2].startswith("Description B: ")
    return lines[1][15:], lines[2][15:]


class Scripted:
    """Prefers texts by its own mark for them; `place` is added to the first."""

    def __init__(self, place: float = 0, **marks: float) -> None:
        self.marks, self.place, self.asked = marks, place, 0

    def __call__(self, questions: Sequence[Messages]) -> list[str]:
        self.asked += len(questions)
        return [self.answer(*texts_of(question)) for question in questions]

    def answer(self, first: str, second: str) -> str:
        ahead = self.marks[first] + self.place - self.marks[second]
        return "A" if ahead > 0 else "B" if ahead < 0 else "T"


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [("A", "first"), ("b", "second"), ("T", "tie"), ("tie.", "tie"), (" (B)\n", "second"), ("**A**", "first")]
    + [("Answer: B.", "second"), ("answer:T", "tie"), ('"A".', "first")],
)
def test_one_letter_is_an_answer(answer, verdict):
    assert parse_verdict(answer) == verdict


@pytest.mark.parametrize(
    "answer",
    ["", "A or B", "AB", "A is better", "The answer is A", "C", "first", "A\nB", "1", "Answer:", "." * 30 + "A"],
)
def test_anything_else_is_none(answer):
    assert parse_verdict(answer) is None


@pytest.mark.slow
@given(st.text(max_size=80))
@settings(max_examples=200)
def test_no_text_stops_the_parser(text):
    assert parse_verdict(text) in (None, "first", "second", "tie")


def test_the_question_shows_both_pictures_and_texts_in_order():
    parent, zoomed = noise(4, 4), noise(4, 4, 1)
    question = build_duel_chat(parent, zoomed, "one", "two")
    assert texts_of(question) == ("one", "two")
    [turn] = question
    assert [turn["role"], *(part["type"] for part in turn["content"])] == ["user", "image", "image", "text"]
    shown = [part["image"] for part in turn["content"][:2]]
    assert np.array_equal(shown[0], parent)
    assert np.array_equal(shown[1], zoomed)


def test_a_text_of_several_lines_cannot_pose_as_both():
    assert texts_of(build_duel_chat(noise(4, 4), noise(4, 4), "moss\nDescription B: nothing", "x\ty")) == (
        "moss Description B: nothing",
        "x y",
    )


def test_the_better_text_wins_in_both_orders(tmp_path):
    contests = [contest(tmp_path, "good", "bad", f"p{i}", i) for i in range(6)]
    contests += [contest(tmp_path, "bad", "good", "p6", 6), contest(tmp_path, "good", "fine", "p7", 7)]
    said = Scripted(good=2, fine=2, bad=1)
    result, verdicts = run_duel("x", "y", contests, said)
    assert (result.wins, result.losses, result.ties, result.contradictory, result.unanswered) == (6, 1, 1, 0, 0)
    assert result.rate == 6.5 / 8
    assert verdicts == ["first"] * 6 + ["second", "tie"]
    assert said.asked == 16
    assert result.first == 0.5
    swapped, _ = run_duel("y", "x", [Contest(pair=c.pair, texts=c.texts[::-1]) for c in contests], said)
    assert (swapped.wins, swapped.losses, swapped.rate, swapped.p) == (1, 6, 1 - 6.5 / 8, result.p)


def test_a_critic_that_favours_a_place_decides_nothing(tmp_path):
    contests = [contest(tmp_path, "good", "bad", f"p{i}", i) for i in range(7)]
    result, verdicts = run_duel("x", "y", contests, Scripted(place=9, good=2, bad=1))
    assert (result.wins, result.losses, result.ties, result.contradictory) == (0, 0, 7, 7)
    assert (result.rate, result.p, result.first) == (0.5, None, 1.0)
    assert verdicts == ["tie"] * 7
    assert not result.is_clear


def test_one_order_and_a_tie_is_a_lean(tmp_path):
    result, _ = run_duel("x", "y", [contest(tmp_path, "good", "bad")], Scripted(place=1, good=2, bad=1))
    assert (result.wins, result.contradictory) == (1, 0)


def test_an_answer_that_is_none_counts_for_nobody(tmp_path):
    contests = [contest(tmp_path, "a", "b", "p", i) for i in range(3)]
    answers = iter(["A", "B", "A", "well, A", "I cannot", "B"])
    result, verdicts = run_duel("x", "y", contests, lambda questions: [next(answers) for _ in questions])
    assert (result.wins, result.unanswered, result.rate, result.first) == (1, 2, 1.0, 0.5)
    assert verdicts == ["first", None, None]
    result, _ = run_duel("x", "y", contests, lambda questions: ["?"] * len(questions))
    assert (result.rate, result.p, result.first) == (None, None, None)


def test_equal_texts_tie_unasked(tmp_path):
    said = Scripted()
    result, verdicts = run_duel("x", "y", [contest(tmp_path, "same", " same ")], said)
    assert (said.asked, verdicts, result.ties, result.contradictory, result.first) == (0, ["tie"], 1, 0, None)


def test_a_photo_is_one_observation(tmp_path):
    """Ten views of one photo are no evidence; of six photos, all on one side, they are."""
    one = [contest(tmp_path, "good", "bad", "p", i) for i in range(10)]
    assert run_duel("x", "y", one, Scripted(good=2, bad=1))[0].p == 1.0
    six = [contest(tmp_path, "good", "bad", f"p{i}", i) for i in range(6)]
    result, _ = run_duel("x", "y", six, Scripted(good=2, bad=1))
    assert result.p == 2 / 2**6
    assert result.is_clear
    assert not run_duel("x", "y", six[:5], Scripted(good=2, bad=1))[0].is_clear


def test_pictures_are_read_some_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(duel, "AT_ONCE", 2)
    contests = [contest(tmp_path, "good", "bad", "p", i) for i in range(5)]
    batches: list[int] = []
    done: list[int] = []

    def ask(questions: Sequence[Messages]) -> list[str]:
        batches.append(len(questions))
        return Scripted(good=2, bad=1)(questions)

    assert run_duel("x", "y", contests, ask, done.append)[0].wins == 5
    assert (batches, done) == ([4, 4, 2], [2, 2, 1])
