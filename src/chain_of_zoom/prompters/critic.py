"""Ask a critic: a vision-language model, of this machine or of a server, with a cache of its answers and patience."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Protocol

from chain_of_zoom import plugins
from chain_of_zoom.errors import DownError, OutputError, UsageError
from chain_of_zoom.prompters.base import Messages

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

    name: shown to people. identity: whose answers are cached; the name by default. role: what it is called in errors.
    cache: an SQLite file of answers by question and pictures, which several processes may share. patience: seconds to
    go on asking a server that is down. say: receives a line about waiting.
    """

    def __init__(
        self,
        model: CriticModel,
        name: str,
        *,
        identity: str | None = None,
        role: str = "critic",
        cache: Path | None = None,
        patience: float = 600.0,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self.model = model
        self.name = name
        self.identity = identity or name
        self.role = role
        self.patience = patience
        self.say = say or (lambda line: None)
        self._cache: _AnswerCache | None = None
        if cache:
            self.keep_answers(cache)

    def keep_answers(self, file: Path) -> None:
        """Keep answers in an SQLite file from now on, and take those that it has. Raises OutputError."""
        self._cache = _AnswerCache(file, self.role)

    def ask(self, conversations: Sequence[Messages]) -> list[str]:
        """Return one answer per conversation. Raises DownError when a server stays down longer than patience lasts."""
        start, pause = time.monotonic(), FIRST_PAUSE
        while True:
            try:
                return self.model.ask(conversations)
            except DownError as error:
                seconds_left = self.patience - (time.monotonic() - start)
                if not self.patience:
                    raise
                if seconds_left <= 0:
                    raise DownError(
                        f"the {self.role} {self.name} stayed down for {self.patience:g} s: {error}"
                    ) from error
                self.say(f"the {self.role} is down, asking again for {seconds_left:.0f} s more: {error}")
                time.sleep(min(pause, seconds_left))
                pause = min(2 * pause, LONGEST_PAUSE)

    def answer(
        self, questions: Mapping[str, Callable[[], Messages]], progress: Callable[[int], None] | None = None
    ) -> dict[str, str]:
        """Return the answers to questions by their keys; what the cache has is neither built nor asked again.

        questions: by a key that tells their words, pictures and this critic apart, what builds them, some at a time.
        progress: receives how many more are answered. Raises as `ask`; answers up to the last `AT_ONCE` are kept.
        """
        answers = self._cache.find(list(questions)) if self._cache else {}
        new_keys = [key for key in questions if key not in answers]
        if progress:
            progress(len(answers))
        for start in range(0, len(new_keys), AT_ONCE):
            keys = new_keys[start : start + AT_ONCE]
            new_answers = dict(zip(keys, self.ask([questions[key]() for key in keys]), strict=True))
            if self._cache:
                self._cache.add(new_answers)
            answers |= new_answers
            if progress:
                progress(len(keys))
        return answers


def is_url(critic: str) -> bool:
    """Return whether a critic is a server."""
    return critic.startswith(("http://", "https://"))


def make_critic(
    critic: str,
    *,
    role: str = "critic",
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
    at the first question. role: what it is called in errors, and its option. Raises UsageError for options,
    MissingError for an absent server, model or extra.
    """
    if patience < 0:
        raise UsageError(f"patience {patience}; accepted: seconds from 0; for example patience=600")
    if not is_url(critic):
        if model is not None:
            raise UsageError(f"model {model!r} is for a server; accepted: --{role} URL with it; leave it out")
        options = {"model": critic, "max_new_tokens": max_new_tokens, "device": device, "dtype": dtype}
        local = plugins.create("prompter", plugins.PROMPTERS, "vlm", **options)
        return Critic(local, critic, role=role, cache=cache, patience=patience, say=say)
    served = {"url": critic, "max_new_tokens": max_new_tokens, "timeout": timeout, "concurrency": concurrency}
    remote = plugins.create(
        "prompter", plugins.PROMPTERS, "remote", model=model or "?", key_variable=key_variable, **served
    )
    if model is None:
        listed = remote.check()
        if len(listed) != 1:
            names = ", ".join(listed[:5]) or "none"
            raise UsageError(f"{critic} serves {len(listed)} models ({names}); type: --set {role}.model=NAME")
        [remote.model] = listed
    name = f"{remote.model} at {critic}"
    return Critic(remote, name, identity=remote.model, role=role, cache=cache, patience=patience, say=say)


class _AnswerCache:
    """Answers by key in an SQLite file, which survives a kill and takes several writers."""

    def __init__(self, file: Path, role: str) -> None:
        self.file, self.role = file, role
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
            f"the {self.role}'s answers cannot be kept in {self.file} ({error}); accepted: a writable SQLite file; "
            "delete it if it is damaged, or name another folder with -o"
        )
