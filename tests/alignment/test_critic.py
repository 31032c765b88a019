"""The critic: asked once per question, patient, and honest about answers that are no score."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

import pytest
from conftest import noise

from chain_of_zoom.alignment.rewards.base import Sample, Unscored
from chain_of_zoom.alignment.rewards.critic import CriticReward, rate_views
from chain_of_zoom.errors import DownError, MissingError, OutputError, UsageError
from chain_of_zoom.prompters import critic as critics
from chain_of_zoom.prompters.critic import Critic, make_critic

PARENT, ZOOMED = noise(8, 8), noise(8, 8, 1)


class Scripted:
    """Answers from a list, or raises what is in it; counts the questions."""

    def __init__(self, *answers: str | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[int] = []

    def ask(self, conversations: Sequence[Any]) -> list[str]:
        self.asked.append(len(conversations))
        said = [self.answers.pop(0) for _ in conversations] if self.answers else ["50"] * len(conversations)
        for each in said:
            if isinstance(each, Exception):
                raise each
        return [str(each) for each in said]


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(critics, "FIRST_PAUSE", 0.001)


def views(*texts: str) -> list[Any]:
    return [(PARENT, ZOOMED, text) for text in texts]


def test_ratings_in_order():
    assert rate_views(Critic(Scripted("85", "no idea", "7/10"), "c"), views("a", "b", "c")) == [0.85, None, 0.7]


def test_the_same_question_is_asked_once(tmp_path):
    model = Scripted("85", "20")
    critic = Critic(model, "c", cache=tmp_path / "c.sqlite")
    assert rate_views(critic, views("a", "b", "a", " a\n")) == [0.85, 0.2, 0.85, 0.85]
    assert rate_views(critic, views("b")) == [0.2]
    assert model.asked == [2]
    again = Scripted()
    assert rate_views(Critic(again, "c", cache=tmp_path / "c.sqlite"), views("a")) == [0.85]
    assert again.asked == []
    assert rate_views(Critic(again, "another", cache=tmp_path / "c.sqlite"), views("a")) == [0.5]
    assert rate_views(critic, [(ZOOMED, PARENT, "a")]) == [0.5]  # other pictures, another question


def test_what_is_answered_before_a_failure_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(critics, "AT_ONCE", 2)
    critic = Critic(Scripted("10", "20", MissingError("gone")), "c", cache=tmp_path / "c.sqlite")
    with pytest.raises(MissingError, match="gone"):
        rate_views(critic, views("a", "b", "c"))
    model = Scripted("30")
    assert rate_views(Critic(model, "c", cache=tmp_path / "c.sqlite"), views("a", "b", "c")) == [0.1, 0.2, 0.3]
    assert model.asked == [1]


def test_a_cache_that_is_no_database(tmp_path):
    (tmp_path / "c.sqlite").write_bytes(b"not a database at all" * 100)
    with pytest.raises(OutputError, match="delete it if it is damaged"):
        Critic(Scripted(), "c", cache=tmp_path / "c.sqlite")
    good = Critic(Scripted(), "c", cache=tmp_path / "d.sqlite")
    with sqlite3.connect(tmp_path / "d.sqlite") as base:
        base.execute("DROP TABLE answers")
    with pytest.raises(OutputError, match="no such table"):
        rate_views(good, views("a"))


def test_a_critic_that_is_down_is_waited_for():
    said: list[str] = []
    critic = Critic(Scripted(DownError("503"), DownError("503"), "85"), "c", say=said.append)
    assert rate_views(critic, views("a")) == [0.85]
    assert len(said) == 2
    assert "asking again for 600 s more: 503" in said[0]


def test_patience_ends():
    with pytest.raises(DownError, match=r"the critic c stayed down for 0\.05 s: 503"):
        rate_views(Critic(Scripted(*[DownError("503")] * 10_000), "c", patience=0.05), views("a"))


def test_what_waiting_cannot_help_is_an_error_at_once():
    with pytest.raises(MissingError, match="401"):
        rate_views(Critic(Scripted(MissingError("401")), "c"), views("a"))


def test_answers_without_a_score_say_so():
    reward = CriticReward(Critic(Scripted("85", "great!"), "c"))
    reward.load()
    samples = [Sample("a", PARENT, ZOOMED, text) for text in ("fur", "moss")]
    assert reward(samples) == [0.85, Unscored("the critic's answer is no score: 'great!'")]


class Served:
    """In place of the prompter remote."""

    made: dict[str, Any]
    models = ("one",)

    def __init__(self, **options: Any) -> None:
        Served.made = options
        self.model = options["model"]

    def check(self) -> list[str]:
        return list(self.models)


def test_a_url_is_a_server(monkeypatch):
    monkeypatch.setattr(critics.plugins, "create", lambda kind, table, name, **options: Served(**options))
    critic = make_critic("http://127.0.0.1:1/v1", timeout=5)
    assert critic.name == "one at http://127.0.0.1:1/v1"
    assert Served.made["url"] == "http://127.0.0.1:1/v1"
    assert (Served.made["timeout"], Served.made["max_new_tokens"]) == (5, 16)
    assert make_critic("http://127.0.0.1:1/v1", model="two").name == "two at http://127.0.0.1:1/v1"
    monkeypatch.setattr(Served, "models", ("one", "two"))
    with pytest.raises(UsageError, match=r"serves 2 models \(one, two\); type: --set critic.model=NAME"):
        make_critic("http://127.0.0.1:1/v1")


@pytest.mark.torch
@pytest.mark.slow
def test_anything_else_is_a_model_of_this_machine(tmp_path):
    pytest.importorskip("transformers")
    critic = make_critic(str(tmp_path / "nowhere"), device="cpu")
    with pytest.raises(MissingError, match="is not there"):
        CriticReward(critic).load()
    with pytest.raises(UsageError, match="is for a server"):
        make_critic("somewhere", model="two")
    with pytest.raises(UsageError, match="patience -1"):
        make_critic("somewhere", patience=-1)
