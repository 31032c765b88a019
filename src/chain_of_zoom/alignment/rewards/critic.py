"""Ask a critic to rate texts (paper, section 3.3): the question, and what counts as an answer."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import partial

from chain_of_zoom.alignment.rewards.base import Reward, Sample, Unscored
from chain_of_zoom.imaging.images import RGB8
from chain_of_zoom.prompters.base import Messages
from chain_of_zoom.prompters.critic import Critic

View = tuple[RGB8, RGB8, str]
"""A parent, the zoomed view (both uint8, H x W x 3) and a text about it."""

QUESTION = (
    "The second image is a zoom-in of the first image. Please rate the quality of the following description on how "
    "well it describes the second image. Output only a single score between 0 and 100."
)
LONGEST = 1000
"""Characters of the longest answer that may hold a score."""

SCALES = (5, 10, 100)
"""Numbers that a score may be out of."""

_SCALE = re.compile(r"\b(?:between\s+|from\s+)?0\s*(?:-|–|to|and)\s*100\b(?!\.?\d)", re.IGNORECASE)
_SCORE = re.compile(
    r"(?<![\w.,/−-])([0-9]{1,6}(?:\.[0-9]{1,6})?)(?:\s*%|\s*(?:/|out\s+of|of)\s*([0-9]{1,3}))?(?![\w/%]|[.,]\d)",
    re.IGNORECASE,
)


def build_critic_chat(parent: RGB8, zoomed: RGB8, text: str) -> Messages:
    """Return the paper's question as one turn: both pictures (uint8, H x W x 3), then the words.

    The text goes on one line, so that it cannot add a rating of its own below.
    """
    question = f"{QUESTION}\nDescription: {' '.join(text.split())}\nRating (0-100):"
    pictures = [{"type": "image", "image": picture} for picture in (parent, zoomed)]
    return [{"role": "user", "content": [*pictures, {"type": "text", "text": question}]}]


def parse_score(answer: str) -> float | None:
    """Return the score that an answer gives, 0 to 1; None where it gives none, several, or one out of range.

    Plain numbers and per cent count out of 100; "7.5 out of 10" and "4/5" out of that. The scale itself ("0-100") may
    be repeated. Any other number, a sign, or digits of other scripts make an answer unusable: a guess would be learned
    from. So does a fraction of 1 without a scale, since "0.9" may mean 90.
    """
    if len(answer) > LONGEST:
        return None
    text = _SCALE.sub(" ", re.sub(r"[*_`$]", "", answer))
    matches = list(_SCORE.finditer(text))
    if any(letter.isnumeric() for letter in _SCORE.sub(" ", text)):
        return None
    scores = {_scale_score(float(match[1]), match[2]) for match in matches}
    score = scores.pop() if len(scores) == 1 else None
    return score if score is not None and 0 <= score <= 1 else None


def _scale_score(value: float, scale: str | None) -> float | None:
    if scale is not None:
        return round(value / int(scale), 9) if int(scale) in SCALES else None
    return None if 0 < value < 1 else round(value / 100, 9)


def answer_views(critic: Critic, views: Sequence[View]) -> list[str]:
    """Return a critic's answers to the paper's question about each view; the same question is asked once."""
    keys = [_key(critic, *view) for view in views]
    answers = critic.answer({key: partial(build_critic_chat, *view) for key, view in zip(keys, views, strict=True)})
    return [answers[key] for key in keys]


def rate_views(critic: Critic, views: Sequence[View]) -> list[float | None]:
    """Return ratings of views, 0 to 1; None for an answer that is no score."""
    return [parse_score(answer) for answer in answer_views(critic, views)]


def _key(critic: Critic, parent: RGB8, zoomed: RGB8, text: str) -> str:
    [turn] = build_critic_chat(parent, zoomed, text)
    digest = hashlib.sha256(f"{critic.identity}\n{turn['content'][-1]['text']}".encode(errors="surrogatepass"))
    for picture in (parent, zoomed):
        digest.update(f"{picture.shape}".encode() + picture.tobytes())
    return digest.hexdigest()


class CriticReward(Reward):
    """Rewards a text by the critic's rating of it, 0 to 1."""

    name = "critic"

    def __init__(self, critic: Critic) -> None:
        self.critic = critic

    def load(self) -> None:
        """Read the weights of a local critic."""
        load = getattr(self.critic.model, "load", None)
        if load:
            load()

    def __call__(self, samples: Sequence[Sample]) -> list[float | Unscored]:
        """Return the ratings. Raises DownError when the critic is away for good."""
        answers = answer_views(self.critic, [(sample.parent, sample.zoomed, sample.text) for sample in samples])
        return [
            Unscored(f"the critic's answer is no score: {answer[:80]!r}") if score is None else score
            for answer, score in zip(answers, map(parse_score, answers), strict=True)
        ]
