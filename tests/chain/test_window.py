from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import ceil, log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain_of_zoom import load_backbone, load_prompter
from chain_of_zoom.backbones.base import Backbone, BackboneInfo
from chain_of_zoom.chain.choice import Variant
from chain_of_zoom.chain.engine import Engine
from chain_of_zoom.chain.enlargement import ZoomJob
from chain_of_zoom.chain.schedule import Aim, Origin, Step, plan_chain, plan_published
from chain_of_zoom.chain.window import STRETCHED, WindowFit, fit_window, is_stretch
from chain_of_zoom.imaging.geometry import Point, Size, whole_picture
from chain_of_zoom.imaging.images import area_reduce, resize, to_float

OUTPUT = Size(512, 512)


def steps_of(enlargement: Fraction) -> list[Step]:
    """The generated steps of a zoom whose 1x frame is the photo, pixel by pixel."""
    spot = Point(Fraction(200), Fraction(311))
    return plan_chain(Aim(picture=OUTPUT, output=OUTPUT, spot=spot, magnification=enlargement), 4)[1:]


def count_passes(enlargement: Fraction) -> float:
    """Pixels that the backbone sees over those of a full step's window, per step that there has to be."""
    steps = [step for step in steps_of(enlargement) if not is_stretch(step, OUTPUT)]
    windows = [fit_window(step, OUTPUT, 4).size for step in steps]
    return sum(width * height for width, height in windows) / 128**2 / max(1, ceil(log(enlargement, 4) - 1e-9))


@pytest.mark.slow
@settings(max_examples=40)
@given(st.fractions(Fraction(101, 100), 256, max_denominator=1000))
def test_no_zoom_computes_more_than_two_windows_a_step(enlargement):
    assert count_passes(enlargement) <= 2


def test_zooms_compute_hardly_more_than_a_window_a_step_in_the_mean():
    """Over magnifications spread evenly by their logarithm; 1.21, and 3.3 if windows were never reduced."""
    magnifications = (Fraction(256 ** ((i + 0.5) / 60)).limit_denominator(1000) for i in range(60))
    assert np.mean([count_passes(magnification) for magnification in magnifications]) <= 1.3


def test_full_steps_and_those_of_the_published_loop_see_whole_pixels():
    published = plan_published(4, 512, whole_picture(OUTPUT), from_x0=False, resampled=False)[1:]
    for step in [*steps_of(Fraction(64)), *published]:
        assert fit_window(step, OUTPUT, 4) == ((128, 128), WindowFit.WHOLE)


@pytest.mark.parametrize(
    ("enlargement", "side", "fit"),
    [
        ("1.01", 180, "reduced"),
        ("2.8", 180, "reduced"),
        ("2.9", 177, "whole"),
        ("4.1", 128, "reduced"),
        ("4", 128, "whole"),
    ],
)
def test_windows_of_the_last_step(enlargement, side, fit):
    size, how = fit_window(steps_of(Fraction(enlargement))[-1], OUTPUT, 4)
    assert how == fit
    assert size.width in (side, side + 1)


class Doubler(Backbone):
    """Repeats pixels, counts its windows."""

    info = BackboneInfo(name="doubler", summary="", factor=4, text_aware=True, licence="")
    calls = 0

    def _enlarge(self, windows, prompts, seeds):
        self.calls += len(windows)
        return [window.repeat(4, 0).repeat(4, 1).astype(np.float32) / 255 for window in windows]


@pytest.mark.parametrize(("enlargement", "passes"), [("4", 1), ("5", 1), ("5.1", 2), ("20", 2), ("1.2", 1)])
def test_little_that_is_left_is_stretched_and_says_so(astronaut, enlargement, passes):
    """Up to 1.25 times, and only what a backbone made: of a photo's own pixels it is always asked."""
    output = Size(64, 64)
    spot = Point(Fraction(32), Fraction(32))
    aim = Aim(picture=output, output=output, spot=spot, magnification=Fraction(enlargement))
    backbone = Doubler()
    job = ZoomJob(picture=astronaut[60:124, 160:224], steps=plan_chain(aim, 4), output=output, text="fur")
    *_, (_, before), (_, state) = Engine(backbone, load_prompter()).run([job])
    assert backbone.calls == passes
    assert (STRETCHED in state.fallbacks) == (enlargement in ("5", "20"))
    if STRETCHED in state.fallbacks:
        assert state.origin is Origin.GENERATED
        assert not state.prompt_used
        assert state.prompt == ""
        np.testing.assert_array_equal(state.image, resize(before.image, output, "lanczos", job.steps[-1].region))


def test_alternatives_of_what_is_stretched_come_from_the_backbone(astronaut):
    output = Size(64, 64)
    aim = Aim(picture=output, output=output, spot=Point(Fraction(32), Fraction(32)), magnification=Fraction(5))
    job = ZoomJob(picture=astronaut[60:124, 160:224], steps=plan_chain(aim, 4), output=output)
    states = [state for _, state in Engine(Doubler(), load_prompter()).run([job])]
    backbone = Doubler()
    variants = [Variant.of(number, 0, seeded=False) for number in (1, 2)]
    job = replace(job, finished_states=states[:-1])
    images = [state.image for state in Engine(backbone, load_prompter()).candidates(job, variants)]
    assert backbone.calls == 1
    np.testing.assert_array_equal(images[0], states[-1].image)
    assert not np.array_equal(images[1], images[0])


class Ramp(Backbone):
    """Makes the same ramp from black to white of every window: nothing of it is left."""

    info = BackboneInfo(name="ramp", summary="", factor=4, text_aware=False, licence="")

    def _enlarge(self, windows, prompts, seeds):
        sides = [(4 * window.shape[0], 4 * window.shape[1]) for window in windows]
        return [
            np.zeros((*side, 3), np.float32) + np.linspace(0, 1, side[1], dtype=np.float32)[:, None] for side in sides
        ]


@pytest.mark.parametrize("backbone", [Ramp(), load_backbone("fake")], ids=lambda backbone: backbone.info.name)
def test_a_reduced_window_gives_its_detail_back(astronaut, backbone):
    """A state that is twice its parent, reduced by half, is the parent, to half a level of rounding."""
    output = Size(64, 64)
    aim = Aim(picture=Size(128, 128), output=output, spot=Point(Fraction(64), Fraction(64)), magnification=Fraction(4))
    steps = plan_chain(aim, 4)
    photo = astronaut[60:188, 160:288]
    *_, (_, state) = Engine(backbone, load_prompter()).run([ZoomJob(picture=photo, steps=steps, output=output)])
    step = steps[-1]
    assert step.region.width == 32
    assert fit_window(step, output, 4).fit is WindowFit.REDUCED
    x0, y0, x1, y1 = step.region.whole()
    reduced = area_reduce(to_float(state.image), whole_picture(output), Size(32, 32))
    assert np.abs(reduced - to_float(photo[y0:y1, x0:x1])).max() < 0.75 / 255
