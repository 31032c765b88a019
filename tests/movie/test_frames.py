"""Frames are compared with the truth: a spiral that looks the same at every magnification and is known everywhere."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from conftest import PHOTO
from PIL import Image

from chain_of_zoom import zoom
from chain_of_zoom.chain.schedule import Aim, Origin, plan_chain
from chain_of_zoom.chain.state import ScaleState
from chain_of_zoom.imaging.geometry import Point, Size
from chain_of_zoom.movie import frames
from chain_of_zoom.movie.frames import Frames

SIDE = 128
FRAME = Size(SIDE, SIDE)
PICTURE = Size(4096, 3072)


def spiral(window: tuple[float, ...], centre: tuple[float, float], size: Size) -> np.ndarray:
    """Grey levels of a spiral around `centre`, sampled at the middle of every pixel of a window."""
    x0, y0, x1, y1 = window
    x = x0 + (np.arange(size.width) + 0.5) * (x1 - x0) / size.width - centre[0]
    y = y0 + (np.arange(size.height) + 0.5) * (y1 - y0) / size.height - centre[1]
    angle = 5 * np.log(np.hypot(x, y[:, None]) + 1e-9) + 2 * np.arctan2(y[:, None], x)
    return 128 + 90 * np.sin(angle)


def spiral_states(spot: tuple[Fraction, Fraction], magnification: int, size: Size = FRAME) -> list[ScaleState]:
    point = Point(PICTURE.width * spot[0], PICTURE.height * spot[1])
    steps = plan_chain(Aim(picture=PICTURE, output=size, spot=point, magnification=Fraction(magnification)), 4)
    return [
        ScaleState(
            image=grey(spiral(step.window.floats(), (float(point.x), float(point.y)), size)),
            magnification=float(step.magnification),
            source_scale=float(step.source_scale),
            origin=step.origin,
            window=step.window.floats(),
        )
        for step in steps
    ]


def grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(np.rint(values).astype(np.uint8)[:, :, None], 3, axis=2)


def displacement(frame: np.ndarray, truth: np.ndarray) -> tuple[float, float, float]:
    """How far a frame lies off to the right and down, and how much too large it is at its border, in pixels.

    Least squares on the gradient of the truth, away from the middle, where the spiral is finer than pixels.
    """
    down, across = np.gradient(truth)
    y, x = np.indices(truth.shape) - (SIDE - 1) / 2
    away = np.hypot(x, y) > SIDE / 6
    growth = (x * across + y * down) / (SIDE / 2)
    system = np.stack([across[away], down[away], growth[away]], axis=1)
    found = np.linalg.lstsq(system, (frame.astype(float) - truth)[away], rcond=None)[0]
    return tuple(-found)


@pytest.mark.slow
@pytest.mark.parametrize("spot", [("1/2", "1/2"), ("2/5", "2/9"), ("97/100", "1/50")])
def test_every_frame_lies_where_the_camera_looks(spot):
    centre = Fraction(spot[0]), Fraction(spot[1])
    states = spiral_states(centre, 1000)
    made = Frames(states, FRAME)
    for depth in np.linspace(0, 1, 60):
        view = made.camera.view(depth)
        truth = spiral(view, (PICTURE.width * float(centre[0]), PICTURE.height * float(centre[1])), FRAME)
        moved = displacement(made.draw(depth)[:, :, 0], truth)
        # A tenth of a pixel; states themselves are exact, so what is left is interpolation.
        assert np.abs(moved).max() < 0.1, (depth, moved)


@pytest.fixture(scope="module")
def drifting() -> list[ScaleState]:
    """States of a real network, which changes the brightness by some levels at every step."""
    return list(zoom(PHOTO, at=(0.42, 0.22), magnification=64, size=(SIDE, SIDE), backbone="animevideo").states)


def changes(states: list[ScaleState]) -> tuple[np.ndarray, np.ndarray]:
    """Between frames at equal steps, the movement itself undone: mean difference, and that of the brightness."""
    made = Frames(states, FRAME)
    depths = np.linspace(0, 1, 105)
    found = [made.draw(depth) for depth in depths]
    differences = []
    for (before, after), (a, b) in zip(pairwise(depths), pairwise(found), strict=True):
        x0, y0, x1, y1 = made.camera.view(before)
        u0, v0, u1, v1 = made.camera.view(after)
        scale = SIDE / (x1 - x0), SIDE / (y1 - y0)
        box = (u0 - x0) * scale[0], (v0 - y0) * scale[1], (u1 - x0) * scale[0], (v1 - y0) * scale[1]
        moved = Image.fromarray(a).resize((SIDE, SIDE), Image.Resampling.BICUBIC, box=box)
        differences.append(b.astype(float) - np.asarray(moved))
    every = np.array(differences)
    return np.abs(every).mean((1, 2, 3)), np.abs(every.mean((1, 2, 3)))


@pytest.mark.slow
def test_a_change_of_state_is_no_cut(drifting, monkeypatch):
    difference, brightness = changes(drifting)
    monkeypatch.setattr(frames, "FADE", (1 - 1e-9, 1))
    cut_difference, cut_brightness = changes(drifting)
    # Measured: 4.0 times the median of all steps against 21 for a cut, 0.25 grey levels against 4.3.
    assert difference.max() < 6 * np.median(difference)
    assert cut_difference.max() > 12 * np.median(cut_difference), "the measure sees cuts"
    assert brightness.max() < 0.5
    assert cut_brightness.max() > 2, "the network does drift"


def test_a_drift_of_brightness_is_spread_over_the_fade():
    windows = [(0.0, 0.0, 64.0, 64.0), (24.0, 24.0, 40.0, 40.0), (30.0, 30.0, 34.0, 34.0)]
    states = [state(window, level) for window, level in zip(windows, (120, 110, 100), strict=True)]
    made = Frames(states, Size(64, 64))
    means = np.array([made.draw(depth).mean() for depth in np.linspace(0, 1, 71)])
    assert (means[0], means[-1]) == (120, 100)
    steps = -np.diff(means)
    assert steps.min() >= 0
    assert steps.max() < 2  # ten levels in 28 frames of fading, and twice that at its steepest


def state(window: tuple[float, ...], level: int) -> ScaleState:
    width = window[2] - window[0]
    return ScaleState(
        image=np.full((64, 64, 3), level, np.uint8),
        magnification=64 / width,
        source_scale=64 / width,
        origin=Origin.GENERATED,
        window=window,
    )


@pytest.mark.parametrize("size", [FRAME, Size(96, 64), Size(45, 31)])
def test_the_first_and_the_last_frame_are_the_states_themselves(size):
    states = spiral_states((Fraction(1, 3), Fraction(2, 3)), 30, size)
    made = Frames(states, size)
    np.testing.assert_array_equal(made.draw(0), states[0].image)
    np.testing.assert_array_equal(made.draw(1), states[-1].image)


def test_the_most_invented_state_in_sight_is_known():
    states = spiral_states((Fraction(1, 2), Fraction(1, 2)), 1000)
    made = Frames(states, FRAME)
    for i, each in enumerate(states):
        depth = math.log(each.magnification) / math.log(made.camera.total)
        assert i in [index for index, _ in made.weigh(min(depth, 1))]
    assert [index for index, _ in made.weigh(0)] == [0]
    assert [index for index, _ in made.weigh(1)] == [len(states) - 1]
    assert made.magnification(1) == pytest.approx(1000)


def test_direct_zooms_fade_over_a_great_gap():
    made = Frames([state((0, 0, 64, 64), 200), state((31.5, 31.5, 32.5, 32.5), 100)], Size(64, 64))
    means = [made.draw(depth).mean() for depth in np.linspace(0, 1, 50)]
    assert means[0] == 200
    assert means[-1] == 100
    assert np.abs(np.diff(means)).max() < 30
