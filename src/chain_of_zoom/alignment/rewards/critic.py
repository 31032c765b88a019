"""Ask the critic: a vision-language model, of this machine or of a server, that rates texts (paper, section 3.3)."""

from __future__ import annotations

import hashlib
import re
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Protocol

from chain_of_zoom import plugins
from chain_of_zoom.alignment.rewards.base import Reward, Sample, Unscored
from chain_of_zoom.errors import DownError, OutputError, UsageError
from chain_of_zoom.imaging.images import RGB8
from chain_of_zoom.prompters.base import Messages

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


FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds between two tries of a server that is down."""
AT_ONCE = 32
"""Answers after which the cache is written."""


class CriticModel(Protocol):
    """The model that answers: the prompters Vlm and Remote can."""

    def ask(self, conversations: Sequence[Messages]) -> list[str]:
        """Return one answer per conversation."""


class Critic:
    """A model that rates, with a cache and patience.

    name: shown to people. identity: whose answers are cached; the name by default. cache: an SQLite file of answers by
    question and pictures, which several processes may share. patience: seconds to go on asking a server that is down.
    say: receives a line about waiting.
    """

    def __init__(
        self,
        model: CriticModel,
        name: str,
        *,
        identity: str | None = None,
        cache: Path | None = None,
        patience: float = 600.0,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self.model = model
        self.name = name
        self.identity = identity or name
        self.patience = patience
        self.say = say or (lambda line: None)
        self._cache = _AnswerCache(cache) if cache else None

    def ask(self, conversations: Sequence[Messages]) -> list[str]:
        """Return one answer per conversation. Raises DownError when a server stays down longer than patience lasts."""
        start, pause = time.monotonic(), FIRST_PAUSE
        while True:
            try:
                return self.model.ask(conversations)
            except DownError as error:
                seconds_left = self.patience - (time.monotonic() - start)
                if seconds_left <= 0:
                    raise DownError(f"the critic {self.name} stayed down for {self.patience:g} s: {error}") from error
                self.say(f"the critic is down, asking again for {seconds_left:.0f} s more: {error}")
                time.sleep(min(pause, seconds_left))
                pause = min(2 * pause, LONGEST_PAUSE)

    def answer_views(self, views: Sequence[tuple[RGB8, RGB8, str]]) -> list[str]:
        """Return answers to the paper's question about each (parent, zoomed, text); the same question is asked once."""
        keys = [self._key(*view) for view in views]
        answers = self._cache.find(keys) if self._cache else {}
        unanswered = {key: view for key, view in zip(keys, views, strict=True) if key not in answers}
        new_keys = list(unanswered)
        for start in range(0, len(new_keys), AT_ONCE):
            batch_keys = new_keys[start : start + AT_ONCE]
            batch_answers = self.ask([build_critic_chat(*unanswered[key]) for key in batch_keys])
            new_answers = dict(zip(batch_keys, batch_answers, strict=True))
            if self._cache:
                self._cache.add(new_answers)
            answers |= new_answers
        return [answers[key] for key in keys]

    def rate(self, views: Sequence[tuple[RGB8, RGB8, str]]) -> list[float | None]:
        """Return ratings of (parent, zoomed, text), 0 to 1; None for an answer that is no score."""
        return [parse_score(answer) for answer in self.answer_views(views)]

    def _key(self, parent: RGB8, zoomed: RGB8, text: str) -> str:
        [turn] = build_critic_chat(parent, zoomed, text)
        digest = hashlib.sha256(f"{self.identity}\n{turn['content'][-1]['text']}".encode(errors="surrogatepass"))
        for picture in (parent, zoomed):
            digest.update(f"{picture.shape}".encode() + picture.tobytes())
        return digest.hexdigest()


def is_url(critic: str) -> bool:
    """Return whether a critic is a server."""
    return critic.startswith(("http://", "https://"))


def make_critic(
    critic: str,
    *,
    model: str | None = None,
    device: str = "auto",
    dtype: str = "auto",
    max_new_tokens: int = 16,
    timeout: float = 60.0,
    concurrency: int = 8,
    key_variable: str = "OPENAI_API_KEY",
    patience: float = 600.0,
    cache: Path | None = None,
    say: Callable[[str], None] | None = None,
) -> Critic:
    """Return the critic `critic`: the URL of an OpenAI-compatible server, else a folder or a model of the local cache.

    model: its name on that server; not needed where the server has one. The server is asked at once, weights are read
    at the first question. Raises UsageError for options, MissingError for an absent server, model or extra.
    """
    if patience < 0:
        raise UsageError(f"patience {patience}; accepted: seconds from 0; for example patience=600")
    if not is_url(critic):
        if model is not None:
            raise UsageError(f"model {model!r} is for a server; accepted: --critic URL with it; leave it out")
        options = {"model": critic, "max_new_tokens": max_new_tokens, "device": device, "dtype": dtype}
        local = plugins.create("prompter", plugins.PROMPTERS, "vlm", **options)
        return Critic(local, critic, cache=cache, patience=patience, say=say)
    served = {"url": critic, "max_new_tokens": max_new_tokens, "timeout": timeout, "concurrency": concurrency}
    remote = plugins.create(
        "prompter", plugins.PROMPTERS, "remote", model=model or "?", key_variable=key_variable, **served
    )
    if model is None:
        listed = remote.check()
        if len(listed) != 1:
            names = ", ".join(listed[:5]) or "none"
            raise UsageError(f"{critic} serves {len(listed)} models ({names}); type: --set critic.model=NAME")
        [remote.model] = listed
    name = f"{remote.model} at {critic}"
    return Critic(remote, name, identity=remote.model, cache=cache, patience=patience, say=say)


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
        answers = self.critic.answer_views([(sample.parent, sample.zoomed, sample.text) for sample in samples])
        return [
            Unscored(f"the critic's answer is no score: {answer[:80]!r}") if score is None else score
            for answer, score in zip(answers, map(parse_score, answers), strict=True)
        ]


class _AnswerCache:
    """Answers by key in an SQLite file, which survives a kill and takes several writers."""

    def __init__(self, file: Path) -> None:
        self.file = file
        if file.is_symlink():  # SQLite would follow it
            raise OutputError(f"{file} is a link; accepted: a file of this program's; remove it")
        self._execute("CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, answer TEXT NOT NULL)", [()])

    def find(self, keys: Sequence[str]) -> dict[str, str]:
        return {key: row[0] for key in set(keys) if (row := self._select(key))}

    def add(self, answers: dict[str, str]) -> None:
        self._execute("INSERT OR IGNORE INTO answers VALUES (?, ?)", list(answers.items()))

    def _select(self, key: str) -> tuple[str] | None:
        row: tuple[str] | None
        try:
            with closing(sqlite3.connect(self.file, timeout=60)) as connection:
                row = connection.execute("SELECT answer FROM answers WHERE key = ?", (key,)).fetchone()
        except sqlite3.Error as error:
            raise self._failure(error) from error
        return row

    def _execute(self, statement: str, rows: Sequence[tuple[str, ...]]) -> None:
        try:
            with closing(sqlite3.connect(self.file, timeout=60)) as connection, connection:
                connection.executemany(statement, rows)
        except sqlite3.Error as error:
            raise self._failure(error) from error

    def _failure(self, error: sqlite3.Error) -> OutputError:
        return OutputError(
            f"the critic's answers cannot be kept in {self.file} ({error}); accepted: a writable SQLite file; "
            "delete it if it is damaged, or name another folder with -o"
        )
