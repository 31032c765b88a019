"""From words to a material that there is a texture of: a table that people can read, `materials.tsv` beside this file.

It was written by hand: distances of word vectors took a president for a bush. A word that is not in it changes nothing.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

TABLE = Path(__file__).with_name("materials.tsv")
_WORD = re.compile(r"[a-z]+")
_BREAK = re.compile(r"[,;.\n]")
MOST_WORDS = 2
"""Words that an entry of the table has at most: "stainless steel"."""


@cache
def read_table() -> dict[str, str]:
    """Return the material of every word of the table, both in lower case."""
    rows = (line.split("\t") for line in TABLE.read_text(encoding="utf-8").splitlines() if not line.startswith("#"))
    return {row[0]: row[1] for row in rows}


def find_material(text: str) -> str | None:
    """Return the material that a text names, or None.

    The first part between commas that names one counts, and in it the last word that does: "mossy stone" is stone.
    Of several words that are an entry together, such as "polar bear", the whole counts.
    """
    for part in _BREAK.split(text.lower()):
        words = _WORD.findall(part)
        for stop in range(len(words), 0, -1):
            for count in range(min(MOST_WORDS, stop), 0, -1):
                material = read_table().get(" ".join(words[stop - count : stop]))
                if material:
                    return material
    return None
