"""Rewards of texts by hand, as functions and as objects made by name."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import noise
from hypothesis import given
from hypothesis import strategies as st

from chain_of_zoom import plugins
from chain_of_zoom.alignment.rewards.base import Reward, Sample, Unscored, check_scores
from chain_of_zoom.alignment.rewards.sr_feedback import inconsistency, sr_gain
from chain_of_zoom.alignment.rewards.text import phrase_exclusion, repetition_penalty, validity
from chain_of_zoom.alignment.training.config import resolve
from chain_of_zoom.backbones.base import Backbone
from chain_of_zoom.errors import MissingError, UsageError
from chain_of_zoom.imaging.images import RGB8, RGBF, enlarge


def sample(text: str, zoomed: RGB8 | None = None) -> Sample:
    zoomed = noise(16, 16) if zoomed is None else zoomed
    return Sample(pair="a", parent=noise(16, 16), zoomed=zoomed, text=text)


def make(name: str, **options: object) -> Reward:
    reward: Reward = plugins.create("reward", plugins.REWARDS, name, **options)
    return reward


@pytest.mark.parametrize(
    ("text", "reward"),
    [
        ("", 1),
        ("fur, moss", 1),
        ("the second image shows fur", 0),
        ("The FIRST  Image: fur", 0),
        ("second\nimage", 0),
        ("second-image", 1),
        ("second images", 1),
        ("asecond image", 1),
        ("second, image", 1),
        ("(second image)", 0),
    ],
)
def test_phrases_are_whole_words_in_any_case(text, reward):
    assert phrase_exclusion(text) == reward


def test_phrases_of_a_file(tmp_path):
    file = tmp_path / "phrases.txt"
    file.write_text("# not these\n\nzoom-in\nC++ \n naïve view\n", encoding="utf-8")
    reward = make("phrase", file=str(file))
    texts = ["a zoom-in", "zoom-inn", "c++ code", "Naïve View", "second image"]
    assert reward([sample(text) for text in texts]) == [0, 1, 0, 0, 1]
    file.write_text("# nothing\n")
    with pytest.raises(UsageError, match="holds none"):
        make("phrase", file=str(file))
    with pytest.raises(UsageError, match="cannot be read"):
        make("phrase", file=str(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("text", "reward"), [("", 0), ("fur moss", 0), ("a b c d", 0), ("fur fur fur fur", -0.5), ("a b c a b c", -0.25)]
)
def test_repetition(text, reward):
    assert repetition_penalty(text) == reward
    assert make("repetition")([sample(text)]) == [reward]


def test_the_length_of_repetitions_can_be_chosen():
    assert make("repetition", n=1)([sample("fur fur moss moss")]) == [-0.5]
    with pytest.raises(UsageError, match="n 0"):
        make("repetition", n=0)


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("brown fur, wet moss", 1),
        ("fur, moss, bark", 1),
        ("Fell, Moos, Rinde (naß)", 1),
        ("", 0),
        ("   \n", 0),
        (", . ; !", 0),
        ("fur", 0),
        ("fur fur fur", 0),
        ("fur moss bark " * 3, 0),
        ("1 2 3 4", 0),
        ("fur moss bark $$$ ### @@@ !!! %%%", 0),
        ("fur moss " + "x" * 41, 0),
        ("fur moss " + "x" * 40, 1),
        ("\x00\x01 \x02", 0),
    ],
)
def test_validity(text, valid):
    assert validity(text) == valid
    assert make("validity")([sample(text)]) == [valid]


@pytest.mark.slow
@given(st.text(max_size=80))
def test_rewards_of_any_text_are_in_range(text):
    assert phrase_exclusion(text) in (0, 1)
    assert -1 <= repetition_penalty(text) <= 0
    assert validity(text) in (0, 1)


class Honest(Backbone):
    """Enlarges; a prompt adds so many levels to every pixel as it has characters, an empty one 10."""

    info = plugins.create("backbone", plugins.BACKBONES, "fake").info

    def _enlarge(self, windows: list[RGB8], prompts: list[str], seeds: list[int]) -> list[RGBF]:
        added = [len(prompt) if prompt else 10 for prompt in prompts]
        return [
            (np.kron(window, np.ones((4, 4, 1))) + more).astype(np.float32) / 255
            for window, more in zip(windows, added, strict=True)
        ]


def test_sr_feedback_by_hand(monkeypatch):
    """Off by 10 levels without a prompt: a prompt that is off by 5 gains a half, one that is off by 20 loses it."""
    reward = make("sr", backbone="fake")
    monkeypatch.setattr(reward, "backbone", Honest())
    zoomed = np.kron(noise(4, 4) // 2, np.ones((4, 4, 1), np.uint8))
    texts = ["x" * 5, "x" * 20, "x" * 10, ""]
    assert reward([sample(text, zoomed) for text in texts]) == pytest.approx([0.5, -0.5, 0, 0], abs=1e-5)
    assert inconsistency(np.full((8, 8, 3), 0.2, np.float32), np.full((2, 2, 3), 54, np.uint8)) == pytest.approx(3)
    assert (sr_gain(0, 0), sr_gain(0.5, 0.25), sr_gain(2, 0), sr_gain(0, 2)) == (0, 0.25, 1, -1)


def test_sr_feedback_of_a_backbone_that_reads_prompts(astronaut):
    reward = make("sr", backbone="fake")
    reward.load()
    zoomed = enlarge(astronaut[100:116, 200:216], 4)
    some = reward([sample(text, zoomed) for text in ("fur", "moss", "fur")])
    assert some[0] == some[2] != some[1]
    assert all(-1 <= value <= 1 for value in some)


def test_sr_feedback_needs_a_backbone_that_reads_prompts():
    with pytest.raises(UsageError, match="bicubic does not read prompts"):
        make("sr", backbone="bicubic")


def test_a_package_adds_a_reward(tmp_path, monkeypatch):
    """Checked like the other plugins; what it returns is checked at every call."""
    (tmp_path / "short.py").write_text(
        "from chain_of_zoom import Reward, Unscored\n"
        "class Short(Reward):\n"
        "    name = 'short'\n"
        "    def __init__(self, most=20): self.most = most\n"
        "    def __call__(self, samples):\n"
        "        return [len(s.text) / 0 if s.text == 'bad' else float(len(s.text) <= self.most) for s in samples]\n"
        "class Odd(Short):\n"
        "    name = 'odd'\n"
        "    def __call__(self, samples): return [float('nan'), Unscored('no idea'), 1.0][: self.most]\n"
    )
    info = tmp_path / "short-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: short\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[chain_of_zoom.rewards]\nshort = short:Short\nodd = short:Odd\n")
    monkeypatch.syspath_prepend(tmp_path)
    plugins._entries.cache_clear()
    try:
        assert check_scores(make("short", most=3), [sample("fur"), sample("moss")]) == [1.0, 0.0]
        assert make("short").package == "short 1.0"
        base = {"data": "d", "model": "m", "weights": {"critic": 0.0, "short": 0.5}, "reward": {"short": {"most": 3}}}
        assert "short" in resolve("safe", base).used
        three = [sample("a"), sample("b"), sample("c")]
        assert check_scores(make("odd"), three) == [Unscored("odd is nan"), Unscored("no idea"), 1.0]
        with pytest.raises(MissingError, match="the reward odd returned 2 numbers for 3 texts"):
            check_scores(make("odd", most=2), three)
    finally:
        plugins._entries.cache_clear()


def test_names_of_rewards():
    with pytest.raises(UsageError, match=r"unknown reward 'validty'; accepted: critic, phrase.* did you mean validity"):
        make("validty")
    with pytest.raises(UsageError, match="--set weights.phrase=0.5"):
        make("zzz")
