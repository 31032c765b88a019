"""Words on sheets: whatever a photo is called, no letter is a box."""

from __future__ import annotations

import stat

import numpy as np
import pytest
from PIL import ImageFont

from chain_of_zoom.imaging import fonts
from chain_of_zoom.imaging.fonts import lacks_letters, wrap_text
from chain_of_zoom.imaging.sheet import Panel, draw_sheet

NAMES = [
    "山川 富士.jpg",
    "고양이",
    "Кошка",
    "γάτα",
    "قطة",
    "हिन्दी",
    "ไทย",
    "🦜😀",
    "Mu\u0308ller",
    "a\x1b[31m",
    "\udcff",
    "\u202egpj",
]
SIZE = 17


def dejavu() -> ImageFont.FreeTypeFont:
    try:
        return ImageFont.truetype("DejaVuSans.ttf", SIZE)
    except OSError:
        pytest.skip("no DejaVu fonts")


@pytest.fixture(params=["the usual font", "Pillow's own"])
def usual(request, monkeypatch):
    """No font but one."""
    letters = fonts.find_font(SIZE) if request.param == "the usual font" else ImageFont.load_default(SIZE)
    monkeypatch.setattr(fonts, "find_font", lambda size: letters)
    monkeypatch.setattr(fonts, "_font_of_system", lambda letters, size: None)
    return letters


@pytest.mark.parametrize("name", NAMES)
def test_a_letter_that_no_font_has_is_drawn_as_its_number(usual, name):
    lines, letters = wrap_text(name, 10_000, SIZE)
    assert letters is usual
    box = usual.font_variant(layout_engine=ImageFont.Layout.BASIC)
    for letter in "".join(lines):
        assert letter == " " or bytes(box.getmask(letter)) != bytes(box.getmask("\uffff"))
    assert lacks_letters([name], SIZE) == any("\\" in line for line in lines)


def test_numbers_are_those_of_unicode_and_accents_may_go(monkeypatch):
    monkeypatch.setattr(fonts, "find_font", ImageFont.load_default)
    monkeypatch.setattr(fonts, "_font_of_system", lambda letters, size: None)
    assert wrap_text("山川 Mu\u0308ller 🦜 \x1b", 1000, SIZE)[0] == [r"\u5c71\u5ddd Muller \U0001f99c \x1b"]
    assert not lacks_letters(["Müller", r"a\b"], SIZE)


def test_the_systems_font_for_the_letters_is_taken_where_the_usual_one_lacks_them(monkeypatch, tmp_path):
    """Here fontconfig is a program that answers DejaVu, and the usual font Pillow's own."""
    program = tmp_path / "fc-match"
    program.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\nprintf "0 {dejavu().path}"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(fonts, "find_font", ImageFont.load_default)
    fonts._font_of_system.cache_clear()
    lines, letters = wrap_text("Кошка Müller", 1000, SIZE)
    assert lines == ["Кошка Müller"]
    assert letters.getname()[0] == "DejaVu Sans"
    assert wrap_text("plain", 1000, SIZE)[1].getname()[0] == "Aileron"
    assert wrap_text("plain 山", 1000, SIZE)[0] == [r"plain \u5c71"], "its answer has no such letter"
    assert "charset=fc 41a 430" in (tmp_path / "asked").read_text()
    fonts._font_of_system.cache_clear()


@pytest.mark.parametrize("answer", ["", "0 /none/such.ttf", "x y"])
def test_without_an_answer_of_fontconfig_numbers_remain(monkeypatch, tmp_path, answer):
    if answer:
        program = tmp_path / "fc-match"
        program.write_text(f'#!/bin/sh\nprintf "{answer}"\n')
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path))
    fonts._font_of_system.cache_clear()
    assert fonts._font_of_system("山", SIZE) is None
    fonts._font_of_system.cache_clear()


def test_a_sheet_says_what_its_numbers_are_and_is_the_same_every_time(usual):
    def sheet(name: str) -> np.ndarray:
        panel = Panel(image=np.zeros((8, 8, 3), np.uint8), title="1x", lines=["real pixels"], colour=(9, 9, 9))
        return draw_sheet(name, [panel], [])

    numbered = sheet("山")
    np.testing.assert_array_equal(numbered, sheet("山"))
    assert len(numbered) > len(sheet("photo"))
