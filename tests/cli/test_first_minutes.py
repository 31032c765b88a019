"""What somebody meets who types `coz` for the first time."""

from __future__ import annotations

import re
import shlex
import sys
from functools import cache

import pytest
import typer
from batch_files import save
from conftest import ROOT, noise

from chain_of_zoom.cli import app
from chain_of_zoom.errors import suggest

PAGES = ("README.md", "docs/recipes.md")
LINES = [
    line
    for page in PAGES
    for block in re.findall("```sh\n(.*?)```", (ROOT / page).read_text("utf-8"), re.DOTALL)
    for line in block.splitlines()
    if line.startswith("coz ") and "completion" not in line  # which acts as soon as it is read
]
ROOT_COMMAND = cache(lambda: typer.main.get_command(app.app))


@pytest.mark.parametrize("line", LINES)
def test_lines_to_type_are_ones_that_coz_takes(line):
    """Parsed, and not run."""
    command, words = ROOT_COMMAND(), shlex.split(line, comments=True)[1:]
    context = command.make_context("coz", list(words))
    while isinstance(command, typer.core.TyperGroup) and words and words[0] in command.commands:
        command, words = command.commands[words[0]], words[1:]
        context = command.make_context(command.name, list(words), parent=context)


def test_coz_alone_says_what_matters_on_a_terminal_and_everything_in_a_pipe(coz, monkeypatch):
    assert coz().stdout.startswith("Usage: coz")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    done = coz()
    lines = [shlex.split(line)[1] for line in done.stdout.splitlines() if line.startswith("  coz ")]
    assert (done.returncode, lines) == (0, ["zoom", "explore", "upscale"])


def test_a_photo_that_is_not_there_is_told_from_its_neighbours(coz, tmp_path):
    for name in ("IMG_2041.JPG", "IMG_1999.JPG", "notes.txt"):
        save(noise(8, 8), tmp_path / "photos" / "x.png").rename(tmp_path / "photos" / name)
    assert (
        f"did you mean photos{app.os.sep}IMG_2041.JPG?"
        in coz("zoom", "photos/img2041.jpg", "--backbone", "bicubic").stderr
    )
    assert "check the spelling" in coz("zoom", "photos/notes.tx", "--backbone", "bicubic").stderr
    assert "check the spelling" in coz("zoom", "nowhere/img2041.jpg", "--backbone", "bicubic").stderr


def test_suggestions_see_no_capitals():
    assert suggest("REALSR", ["realsr", "bicubic"], "no") == "did you mean realsr?"
    assert suggest("x", ["realsr"], "no") == "no"


@pytest.mark.parametrize(
    ("typed", "names"),
    [
        ("coz zo", {"zoom"}),
        ("coz zoom --backbone reale", {"realesrgan", "realesrgan-anime"}),
        ("coz zoom --prompter re", {"remote"}),
        ("coz upscale --sca", {"--scale"}),
    ],
)
def test_tab_completes_commands_options_and_names(coz, monkeypatch, typed, names):
    monkeypatch.setenv("_COZ_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", typed)
    monkeypatch.setenv("COMP_CWORD", str(typed.count(" ")))
    assert set(coz().stdout.split()) == names
