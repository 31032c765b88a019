"""Seeded mutants of JSON documents, as an editor, a broken disk or an attacker leaves them."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

HOSTILE: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, 10**30, -0.0, 0.5, 1e-320, 1e-9, 1e9, 1e308, -1e308,
    float("nan"), float("inf"), float("-inf"), "", ".", "..", "/", "a/b", "../../x.png", "a\0b", "x" * 300, "e" * 9000,
    "1e999999999", "NaN", "\u202e", "record.json", "sheet.png", [], {}, [[]], [0, 0, 0, 0], [1, 1, 0, 0],
    [-1e308, -1e308, 1e308, 1e308], [0, 0, 1e-320, 1e-320], {"step": -1}, "measured", "generated",
)  # fmt: skip


def mutant(document: Any, seed: int) -> bytes:
    """The document with one to three values, entries or bytes changed; the same for the same seed."""
    rng = random.Random(seed)
    if rng.random() < 0.03:
        return b'{"version":' + b"[" * 20_000 + b"]" * 20_000 + b"}"
    changed = copy.deepcopy(document)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        _change(changed, rng)
    data = json.dumps(changed, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")
    if rng.random() < 0.1:
        at = rng.randrange(len(data))
        data = rng.choice((data[:at], data[:at] + b"\xbb" + data[at + 1 :], data[:at] + b"\0" + data[at:]))
    return data


def _change(document: Any, rng: random.Random) -> None:
    """Change one place; deep ones as often as shallow ones."""
    place = rng.choice([found for found in _places(document) if found])
    key = rng.choice(list(place) if isinstance(place, dict) else range(len(place)))
    value = place[key]
    kind = rng.random()
    if kind < 0.15:
        del place[key]
    elif kind < 0.25 and isinstance(value, list) and value:
        place[key] = copy.deepcopy(rng.choice((value[::-1], value * 2, value[:1], value[1:])))
    elif kind < 0.4 and isinstance(value, int | float):
        place[key] = value * rng.choice((-1, 0, 1e-6, 0.5, 3, 1e6, 1e300))
    else:
        place[key] = copy.deepcopy(rng.choice(HOSTILE))


def _places(value: Any) -> list[Any]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    own = [value] if isinstance(value, dict | list) else []
    return own + [place for item in inner for place in _places(item)]
