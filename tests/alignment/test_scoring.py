"""Scores of prompters: what a critic says, what the texts say, and the page that shows both."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from batch_files import save
from conftest import noise
from playwright.sync_api import Browser

from chain_of_zoom.alignment.pairs.read import Pair
from chain_of_zoom.alignment.scoring.page import format_scores, write_page
from chain_of_zoom.alignment.scoring.score import Scores, score
from chain_of_zoom.imaging.images import RGB8
from chain_of_zoom.prompters.base import Messages, PromptContext, Prompter
from chain_of_zoom.prompters.critic import Critic
from chain_of_zoom.prompters.fixed import Fixed


class Colour(Prompter):
    """Says which channel of the zoomed view is the strongest: a text that depends on the picture."""

    name = "colour"

    def __call__(self, contexts: Sequence[PromptContext]) -> list[str]:
        assert all(len(context.states) == 1 and context.magnification == 4 for context in contexts)
        return [("red", "green", "blue")[int(context.zoomed.mean(axis=(0, 1)).argmax())] for context in contexts]


class ByColour:
    """A model that knows the colour: 100 for its name in the text, else 20; an essay about the word "odd"."""

    def _mark(self, zoomed: RGB8, text: str) -> int | None:
        if "odd" in text:
            return None
        return 100 if Colour()([PromptContext([zoomed], zoomed, 4)])[0] in text else 20

    def ask(self, conversations: Sequence[Messages]) -> list[str]:
        answers = []
        for [turn] in conversations:
            _, zoomed, words = turn["content"]
            texts = re.findall(r"^Description(?: [AB])?: (.*)$", words["text"], re.MULTILINE)
            marks = [self._mark(zoomed["image"], text) for text in texts]
            if len(marks) == 1 or None in marks:
                answers.append("hm" if None in marks else str(marks[0]))
            else:
                answers.append({1: "A", -1: "B", 0: "T"}[int(np.sign(marks[0] - marks[1]))])
        return answers


def by_colour() -> Critic:
    return Critic(ByColour(), "by colour")


@pytest.fixture
def pairs(tmp_path: Path) -> list[Pair]:
    """Eight views of seven photos: seven red, one green."""
    found = []
    for i in range(8):
        zoomed = noise(16, 16, i) // 2
        zoomed[..., 1 if i == 7 else 0] += 100
        files = [save(noise(16, 16, 90 + i), tmp_path / f"{i}a.png"), save(zoomed, tmp_path / f"{i}b.jpg")]
        found.append(Pair(name=f"view {i}", parent=files[0], zoomed=files[1], split="held-out", photo=str(min(i, 6))))
    return found


def scored(pairs: list[Pair], critic: Critic | None = None, **texts: str) -> Scores:
    prompters: dict[str, Prompter] = {"colour": Colour(), **{key: Fixed(text) for key, text in texts.items()}}
    return score("views", pairs, prompters, critic=critic)


@pytest.mark.slow
def test_rewards_statistics_and_duels(pairs):
    scores = scored(pairs, by_colour(), moss="red moss stone leaf red moss stone leaf", image="first image")
    colour, moss, image = scores.prompters
    assert colour.rewards == {"phrase": 1.0, "repetition": 0.0, "validity": 0.0, "critic": 1.0, "total": 1.5}
    assert moss.rewards["repetition"] == pytest.approx(-2 / 6)  # of its 6 triples of words 2 came before
    assert moss.rewards["validity"] == 1.0
    assert moss.rewards["critic"] == pytest.approx((7 * 1.0 + 0.2) / 8)
    assert moss.rewards["total"] == pytest.approx((7 * 1.0 + 0.2) / 8 + 0.5 - 1 / 6)
    assert image.rewards["phrase"] == 0
    assert (colour.words, colour.vocabulary, colour.empty) == (1.0, 2, 0.0)
    assert (moss.words, moss.vocabulary, moss.distinct_1) == (8.0, 4, 4 / 64)
    assert [each.text for each in colour.texts] == ["red"] * 7 + ["green"]
    assert all(each.seconds >= 0 for each in colour.texts)
    duels = {(o.duel.a, o.duel.b): o for o in scores.outcomes}
    assert set(duels) == {("colour", "moss"), ("colour", "image"), ("moss", "image")}
    assert duels["colour", "image"].duel.rate == 1.0
    assert duels["colour", "image"].duel.is_clear
    assert duels["colour", "moss"].verdicts == ("tie",) * 7 + ("first",)
    assert (scores.photos, scores.gaps) == (7, ())


@pytest.mark.slow
def test_without_a_critic_the_gap_has_a_name(pairs):
    scores = scored(pairs, None, moss="moss")
    assert scores.prompters[0].rewards == {"phrase": 1.0, "repetition": 0.0, "validity": 0.0}
    assert scores.outcomes == ()
    assert "there is no critic; name one with --critic" in scores.gaps[0]
    assert "not measured: reward of the critic" in format_scores(scores)


@pytest.mark.slow
def test_one_prompter_has_nobody_to_duel_with(pairs):
    scores = scored(pairs, by_colour())
    assert scores.outcomes == ()
    assert "there is one prompter" in scores.gaps[0]


@pytest.mark.slow
def test_answers_that_are_none_are_counted_not_guessed(pairs):
    scores = scored(pairs, by_colour(), odd="odd")
    odd = scores.prompters[1]
    assert (odd.rewards["critic"], odd.rewards["total"], odd.unrated) == (None, None, 8)
    assert scores.outcomes[0].duel.unanswered == 8
    assert "colour against odd: no answer (0 won, 0 lost, 0 tied" in format_scores(scores)
    assert "unrated: 8 texts of odd" in format_scores(scores)


@pytest.mark.slow
def test_empty_texts(pairs):
    scores = scored(pairs, None, nothing="")
    nothing = scores.prompters[1]
    assert (nothing.empty, nothing.words, nothing.vocabulary, nothing.distinct_1) == (1.0, 0.0, 0, None)


def test_prompters_are_let_go_one_after_the_other(pairs):
    prompters: dict[str, Prompter] = {"a": Fixed("a"), "b": Fixed("b")}
    left: list[int] = []
    score("views", pairs[:1], prompters, critic=None, on_progress=lambda progress: left.append(len(prompters)))
    assert left == [1] * 4 + [0] * 4


@pytest.mark.slow
def test_the_table(pairs):
    lines = format_scores(scored(pairs, by_colour(), moss="moss")).splitlines()
    assert lines[:2] == ["8 held-out pairs of 7 photos; critic: by colour", ""]
    lines = lines[2:]
    assert lines[0].split() == [
        *("prompter", "phrase", "repetition", "validity", "critic", "total", "words", "vocabulary"),
        *("distinct-1", "distinct-2", "empty", "seconds"),
    ]
    assert lines[1].split()[:10] == ["colour", "1.000", "0.000", "0.000", "1.000", "1.500", "1.0", "2", "0.25", "-"]
    assert lines[4] == (
        "colour against moss: 100% of the views (8 won, 0 lost, 0 tied, 0 of them contradictory; 0 unanswered), "
        "p = 0.016 over photos"
    )


@pytest.mark.browser
@pytest.mark.slow
def test_the_page(pairs, tmp_path, browser: Browser):
    scores = scored(pairs, by_colour(), evil="<script>document.title='gotcha'</script> red moss", odd="odd", empty=" ")
    path = write_page(scores, pairs, tmp_path / "out")
    stored = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert stored["prompters"][1]["texts"][0]["text"].startswith("<script>")
    page = browser.new_page(viewport={"width": 1280, "height": 1400})
    failed: list[str] = []
    page.on("requestfailed", lambda request: failed.append(request.url))
    page.on("console", lambda message: failed.append(message.text))
    page.goto(path.as_uri())
    assert page.title() == "colour, evil, odd, empty on 8 pairs"
    assert failed == []
    assert page.locator("section").count() == 8
    for image in page.locator("img").all():
        image.scroll_into_view_if_needed()
        assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") == 16
    text = page.inner_text("main")
    for words in (
        "critic: by colour",
        "gotcha",
        "(no words)",
        "colour before evil",
        "colour or odd: no answer",
        "8 texts",
    ):
        assert words in text
    page.close()


@pytest.mark.slow
def test_a_page_of_many_pairs_shows_some(pairs, tmp_path, monkeypatch):
    monkeypatch.setattr("chain_of_zoom.alignment.scoring.page.MAX_PAIRS", 3)
    html = write_page(scored(pairs), pairs, tmp_path / "out").read_text()
    assert html.count("<section") == 3
    assert "The first 3" in html
    assert len(list((tmp_path / "out" / "pictures").iterdir())) == 6


@pytest.mark.slow
def test_the_label_of_a_generated_parent_stays_on_its_thumbnail(tmp_path):
    from PIL import Image

    from chain_of_zoom.imaging.encode import TRAINED_MODEL, encode_png, label

    pixels: RGB8 = np.full((16, 16, 3), 90, np.uint8)
    (tmp_path / "p.png").write_bytes(encode_png(pixels, *label("made", TRAINED_MODEL)))
    pair = Pair(name="p", parent=tmp_path / "p.png", zoomed=tmp_path / "p.png", split="held-out", photo="p")
    write_page(scored([pair]), [pair], tmp_path / "out")
    with Image.open(tmp_path / "out" / "pictures" / "0000_parent.webp") as image:
        assert TRAINED_MODEL.encode() in image.info["xmp"]
