"""Tidy what a model wrote before a backbone reads it (default protocol; the paper protocol sends texts raw)."""

from __future__ import annotations

import re

MAX_CHARACTERS = 300

_SPECIAL = re.compile(r"<\|[^|>]{0,64}\|>|</?(?:s|pad|unk|bos|eos|image)>", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\ufeff]+")
_REPEATED = re.compile(r"\b(\w+(?:[ ,]+\w+){0,4}?)(?:[ ,]+\1\b)+", re.IGNORECASE)


def clean(text: str) -> str:
    """Remove special tokens, control characters and repeats of a word or phrase; keep at most 300 characters.

    Empty stays empty.
    """
    text = _CONTROL.sub(" ", _SPECIAL.sub(" ", text[: 10 * MAX_CHARACTERS]))
    text = " ".join(text.split())
    before = None
    while before != text:
        before, text = text, _REPEATED.sub(r"\1", text)
    phrases = [phrase.strip() for phrase in text.split(",")]
    text = ", ".join(dict.fromkeys(phrase for phrase in phrases if phrase))
    if len(text) > MAX_CHARACTERS:
        text = text[:MAX_CHARACTERS].rsplit(" ", 1)[0].rstrip(" ,")
    return text
