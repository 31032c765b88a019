"""The arena: scenes that are exact at any depth, judges that see what they are for, and the command."""

from __future__ import annotations

import json

import numpy as np
import pytest

from chain_of_zoom.errors import UsageError
from chain_of_zoom.evaluation.arena.fields import Fractal, RandomField, measure_spectrum
from chain_of_zoom.evaluation.arena.letters import RASTER, LargeText, read_letter, shrink_letter
from chain_of_zoom.evaluation.arena.lines import Lines
from chain_of_zoom.evaluation.arena.run import DEPTHS, SCENES, Arena, choose_words
from chain_of_zoom.evaluation.arena.scene import Scene
from chain_of_zoom.evaluation.arena.shapes import Checkers
from chain_of_zoom.evaluation.methods import RIGHT, parse_methods
from chain_of_zoom.imaging.geometry import Size, Window

SIDE = 64
SIZE = Size(SIDE, SIDE)
SAMPLED = {"checkers": 0.08, "vector art": 0.08}
"""Scenes that are averages of samples, and the greatest error of a pixel: an edge through 36 samples."""


def centre(depth: float) -> Window:
    return (0.5 - 0.5 / depth, 0.5 - 0.5 / depth, 0.5 + 0.5 / depth, 0.5 + 0.5 / depth)


@pytest.mark.slow
@pytest.mark.parametrize("depth", [4, 64, 1024])
@pytest.mark.parametrize("name", SCENES)
def test_a_scene_reduced_is_the_scene_four_times_shallower(name, depth):
    scene = SCENES[name](SIDE, 1)
    deep, shallow = scene.draw(centre(depth), SIZE), scene.draw(centre(depth / 4), SIZE)
    reduced = deep.reshape(SIDE // 4, 4, SIDE // 4, 4, 3).mean(axis=(1, 3))
    error = np.abs(reduced - shallow[24:40, 24:40])
    assert error.max() < SAMPLED.get(name, 1e-6)
    assert error.mean() < (0.02 if name in SAMPLED else 1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", SCENES)
def test_the_truth_itself_has_full_marks(name):
    scene = SCENES[name](128, 2)
    truth = scene.photograph(centre(4), Size(128, 128))
    marks = scene.judge(truth, truth, centre(4))
    assert marks.keys() == scene.measures.keys()
    assert all(marks[measure] == (1 if measure in ("letters", "there", "right") else 0) for measure in marks)


@pytest.mark.slow
def test_pictures_follow_from_the_seed():
    one, again, other = (SCENES["vector art"](SIDE, seed).photograph(centre(16), SIZE) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, again)
    assert np.abs(one.astype(int) - other).mean() > 5


def test_a_letter_that_becomes_another_is_seen():
    page, other = LargeText(128, 0), LargeText(128, 1)
    size, window = Size(128, 128), centre(4)
    other.left, other.top = page.left, page.top
    marks = page.judge(other.photograph(window, size), page.photograph(window, size), window)
    assert marks["letters"] is not None
    assert marks["letters"] < 0.5


@pytest.mark.parametrize("letter", "AEFOQRBPIJ")
def test_a_blurred_and_moved_letter_is_still_read(letter):
    edges = np.linspace(0, 1, RASTER + 1) + 2 / RASTER
    ink = shrink_letter(letter, edges, edges)
    blurred = (ink + np.roll(ink, 1, 0) + np.roll(ink, 1, 1) + np.roll(ink, -1, 1)) / 4
    assert read_letter(blurred) == letter


def test_a_line_that_moved_is_measured_in_pixels_of_the_photo():
    scene = Lines(128, 0)
    window = centre(4)
    truth = scene.photograph(window, Size(128, 128))
    scene.lines = [line._replace(distance=line.distance + 1.0 / 128) for line in scene.lines]
    marks = Lines(128, 0).judge(scene.photograph(window, Size(128, 128)), truth, window)
    assert marks["moved"] == pytest.approx(1, abs=0.15)
    flat = Lines(128, 0).judge(np.full_like(truth, 200), truth, window)
    assert (flat["there"], flat["moved"]) == (0, None)


@pytest.mark.slow
def test_spectra_have_the_slope_that_they_were_drawn_with():
    size, window = Size(256, 256), centre(16)
    flat, steep = (
        [measure_spectrum(kind(256, seed).photograph(window, size))[0] for seed in range(3)]
        for kind in (RandomField, Fractal)
    )
    # Equal power in every octave is -2 in two dimensions; means over pixels take half a power more near Nyquist.
    assert np.mean(flat) == pytest.approx(-2.5, abs=0.4)
    assert np.mean(steep) - np.mean(flat) == pytest.approx(-2 * Fractal.loss, abs=0.25)


def test_a_field_that_is_swapped_is_wrong_everywhere():
    scene = Checkers(128, 0)
    truth = scene.photograph(centre(4), Size(128, 128))
    scene.phase += 1  # light for dark
    marks = scene.judge(scene.photograph(centre(4), Size(128, 128)), truth, centre(4))
    assert marks["right"] == pytest.approx(0, abs=0.01)


def test_right_words_are_the_scenes_own_and_wrong_ones_anothers():
    right, wrong, null = parse_methods("fake+right,fake+wrong,fake+null", more_writers=(RIGHT,))
    for kind in SCENES.values():
        scene: Scene = kind(SIDE, 0)
        assert choose_words(scene, right) == scene.words
        assert choose_words(scene, wrong) in {other.words for other in SCENES.values()} - {scene.words}
        assert choose_words(scene, null) == ""


@pytest.mark.parametrize(
    ("settings", "accepted"),
    [({"scenes": ["lnes"]}, "did you mean lines"), ({"depth": 5}, "4, 16, 64"), ({"side": 100}, "64, 128, 256")],
)
def test_what_the_arena_cannot_do_is_said(settings, accepted):
    with pytest.raises(UsageError, match=accepted):
        Arena(methods=(), **settings)


@pytest.mark.slow
def test_the_command_writes_table_page_and_numbers_that_come_again(coz, tmp_path):
    command = ("eval", "arena", "--methods", "bicubic,nearest,fake+right", "--scenes", "checkers,text of 12 px")
    small = ("--zoom", "16", "--side", "64", "--seeds", "1")
    first = coz(*command, *small, "-o", "arena", "--markdown", "table.md", "--json")
    assert first.returncode == 0, first.stderr
    results = json.loads(first.stdout)
    assert results["depths"] == [depth for depth in DEPTHS if depth <= 16]
    again = json.loads(coz(*command, *small, "-o", "again", "--json").stdout)
    assert results["scores"] == again["scores"]
    scores = {
        (s["method"], s["scene"], s["depth"], s["measure"]): s["value"] for s in results["scores"] if s["seed"] == 0
    }
    assert scores["bicubic", "checkers", 4, "detail"] > scores["nearest", "checkers", 4, "detail"] > 0.2
    page = (tmp_path / "arena" / "index.html").read_text()
    assert "text_of_12_px.png" in page
    assert (tmp_path / "arena" / "checkers.png").stat().st_size > 10_000
    assert "| checkers | right ↑ | bicubic |" in (tmp_path / "table.md").read_text()
