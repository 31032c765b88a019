"""Words in pictures: a font that has their letters, or the numbers of letters that no font here has."""

from __future__ import annotations

import subprocess
import unicodedata
from collections.abc import Sequence
from functools import cache

from PIL import ImageFont

Font = ImageFont.FreeTypeFont
UNKNOWN = r"Letters that no font of this computer has are written as their numbers in Unicode (\u5c71)."


@cache
def find_font(size: int) -> Font:
    """Find a font of the system that has accents and other scripts, else Pillow's own, which has neither."""
    for name in ("DejaVuSans.ttf", "NotoSans-Regular.ttf", "Arial Unicode.ttf", "arial.ttf", "Arial.ttf"):
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    own = ImageFont.load_default(size)
    assert isinstance(own, Font)  # of any size, so not the bitmap font
    return own


def wrap_text(text: str, width: int, size: int) -> tuple[list[str], Font]:
    """Break a text at spaces into lines no wider than `width` pixels; return them and the font to draw them in.

    A single long word is cut with an ellipsis. A letter that the font lacks is drawn without its accents, or as its
    number.
    """
    text = unicodedata.normalize("NFC", text)
    letters = _font_for(text, size)
    lines: list[str] = []
    for word in "".join(_spell(letter, letters) for letter in text).split():
        joined = f"{lines[-1]} {word}" if lines else word
        if lines and letters.getlength(joined) <= width:
            lines[-1] = joined
            continue
        while letters.getlength(word) > width and len(word) > 2:
            word = word[: len(word) * 3 // 4] + "…"
        lines.append(word)
    return lines, letters


def lacks_letters(texts: Sequence[str], size: int) -> bool:
    """Whether something in `texts` is drawn as a number."""
    composed = (unicodedata.normalize("NFC", text) for text in texts)
    return any("\\" in _spell(c, _font_for(text, size)) for text in composed for c in text if c != "\\")


def _font_for(text: str, size: int) -> Font:
    """Choose the usual font, or where it lacks letters, the system's for them if that has more of the text."""
    usual = find_font(size)
    missing = "".join(sorted({letter for letter in text if letter.isprintable() and not _has_letter(usual, letter)}))
    fallback = _font_of_system(missing, size) if missing else None
    return max((usual, fallback or usual), key=lambda letters: sum(_has_letter(letters, letter) for letter in text))


@cache
def _font_of_system(letters: str, size: int) -> Font | None:
    """Ask fontconfig for a font that has `letters`; None where there is no fontconfig, as on Windows."""
    numbers = " ".join(f"{ord(letter):x}" for letter in letters)
    command = ["fc-match", "-f", "%{index} %{file}", f"sans-serif:scalable=true:color=false:charset={numbers}"]
    try:
        answer = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=10, check=True).stdout
        index, _, file = answer.partition(" ")
        return ImageFont.truetype(file, size, index=int(index))
    except (OSError, subprocess.SubprocessError, ValueError):
        return None


def _spell(letter: str, letters: Font) -> str:
    """Write a letter as a font can draw it: itself, without its accents (Muller for Müller), or as its number."""
    if letter.isspace() or (letter.isprintable() and _has_letter(letters, letter)):
        return letter
    plain = "".join(c for c in unicodedata.normalize("NFKD", letter) if not unicodedata.combining(c))
    if plain and all(c.isprintable() and _has_letter(letters, c) for c in plain):
        return plain
    return ascii(letter)[1:-1]


@cache
def _has_letter(letters: Font, letter: str) -> bool:
    """Whether a font draws a letter otherwise than one that never exists."""
    single = _without_shaping(letters)
    return bytes(single.getmask(letter)) != bytes(single.getmask("\uffff"))


@cache
def _without_shaping(letters: Font) -> Font:
    """Return the same font, one glyph for each letter."""
    return letters.font_variant(layout_engine=ImageFont.Layout.BASIC)
