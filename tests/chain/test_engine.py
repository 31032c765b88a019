from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from conftest import noise

from chain_of_zoom import load_backbone, load_prompter
from chain_of_zoom.backbones.base import Backbone, BackboneInfo
from chain_of_zoom.chain.engine import Engine
from chain_of_zoom.chain.enlargement import ZoomJob, with_user_text
from chain_of_zoom.chain.schedule import Aim, plan_chain, plan_direct
from chain_of_zoom.errors import BackboneError
from chain_of_zoom.imaging.geometry import Point, Size
from chain_of_zoom.imaging.images import area_reduce, enlarge, resize, to_uint8
from chain_of_zoom.prompters.base import PromptContext, Prompter

OUTPUT = Size(64, 48)


def job(pixels: np.ndarray, magnification: float, *, direct: bool = False, **more: object) -> ZoomJob:
    size = Size(pixels.shape[1], pixels.shape[0])
    spot = Point(size.width * Fraction(3, 10), size.height * Fraction(2, 3))
    aim = Aim(picture=size, output=OUTPUT, spot=spot, magnification=Fraction(magnification))
    return ZoomJob(picture=pixels, steps=plan_direct(aim) if direct else plan_chain(aim, 4), output=OUTPUT, **more)


def states(engine: Engine, one: ZoomJob) -> list:
    return [state for _, state in engine.run([one])]


def test_every_state_has_the_shape_of_the_output(astronaut):
    made = states(Engine(load_backbone("fake"), load_prompter()), job(astronaut, 100))
    assert {state.image.shape for state in made} == {(48, 64, 3)}
    assert {state.image.dtype for state in made} == {np.dtype(np.uint8)}
    assert [state.origin.value for state in made] == ["measured"] * 3 + ["generated"] * 2


def test_the_native_state_is_the_photo_to_the_bit(astronaut):
    made = states(Engine(load_backbone("fake"), load_prompter()), job(astronaut, 64))
    native = next(state for state in made if state.source_scale == 1)
    x0, y0, x1, y1 = map(int, native.window)
    np.testing.assert_array_equal(native.image, astronaut[y0:y1, x0:x1])


def test_the_first_generated_state_is_cut_from_the_photo_the_next_from_the_state(astronaut):
    one = job(astronaut, 100)
    made = states(Engine(load_backbone("fake"), load_prompter()), one)
    first, last = made[-2:]
    fake = load_backbone("fake")
    x0, y0, x1, y1 = map(int, first.window)
    np.testing.assert_array_equal(first.image, to_uint8(fake([astronaut[y0:y1, x0:x1]], [""], [3])[0]))
    step = one.steps[-1]
    a, b, c, d = step.cut.whole()
    enlarged = fake([first.image[b:d, a:c]], [""], [4])[0]
    box = step.region.shifted(-step.cut.x0, -step.cut.y0).scaled(4, 4)
    np.testing.assert_array_equal(last.image, to_uint8(area_reduce(enlarged, box, OUTPUT)))


def test_pictures_in_company_are_bitwise_the_same_as_alone():
    jobs = [job(noise(100, 130), 10, seed=5), job(noise(400, 300, 1), 30, text="moss"), job(noise(20, 20, 2), 4)]
    engine = Engine(load_backbone("fake"), load_prompter())
    together: dict[int, list] = {0: [], 1: [], 2: []}
    for index, state in engine.run(jobs):
        together[index].append(state)
    for index, one in enumerate(jobs):
        alone = states(engine, one)
        assert len(alone) == len(one.steps) == len(together[index])
        for a, b in zip(alone, together[index], strict=True):
            np.testing.assert_array_equal(a.image, b.image)


def test_prompts_are_recorded_and_only_text_aware_backbones_use_them(astronaut):
    fake, blind = load_backbone("fake"), load_backbone("bicubic")
    with_text = states(Engine(fake, load_prompter()), job(astronaut, 64, text="skin"))
    without = states(Engine(fake, load_prompter()), job(astronaut, 64))
    assert with_text[-1].prompt == "skin"
    assert with_text[-1].prompt_used
    assert with_text[0].prompt is None
    assert not np.array_equal(with_text[-1].image, without[-1].image)
    ignored = states(Engine(blind, load_prompter()), job(astronaut, 64, text="skin"))[-1]
    assert ignored.prompt == "skin"
    assert not ignored.prompt_used


def test_user_text_follows_what_was_extracted():
    assert with_user_text("leaf", "moss") == "leaf, moss,"
    assert with_user_text("", "moss") == "moss"
    assert with_user_text("leaf", "") == "leaf"


class Watcher(Prompter):
    name = "watcher"

    def __init__(self) -> None:
        self.seen: list[PromptContext] = []

    def __call__(self, contexts):
        self.seen.extend(contexts)
        return [f"step {context.magnification:g}" for context in contexts]


def test_a_prompter_sees_all_states_so_far_and_the_zoomed_window(astronaut):
    watcher = Watcher()
    made = states(Engine(load_backbone("fake"), watcher), job(astronaut, 100, text="x"))
    assert [len(context.states) for context in watcher.seen] == [3, 4]
    np.testing.assert_array_equal(watcher.seen[1].states[-1], made[3].image)
    assert watcher.seen[0].zoomed.shape == (48, 64, 3)
    assert (made[-1].prompt_raw, made[-1].prompt, made[-1].prompter) == ("step 100", "step 100, x,", "watcher")


def test_a_resampling_backbone_resamples_the_region_in_one_go(astronaut):
    one = job(astronaut, 64)
    made = states(Engine(load_backbone("bicubic"), load_prompter()), one)
    expected = resize(made[-2].image, OUTPUT, "bicubic", one.steps[-1].region)
    np.testing.assert_array_equal(made[-1].image, expected)


def test_a_direct_zoom_resamples_first(astronaut):
    one = job(astronaut, 64, direct=True)
    direct = states(Engine(load_backbone("fake"), load_prompter()), one)[-1]
    small = resize(astronaut, Size(16, 12), "bicubic", one.steps[-1].region)
    np.testing.assert_array_equal(direct.image, to_uint8(load_backbone("fake")([small], [""], [1])[0]))


class Plain(Backbone):
    info = BackboneInfo(name="plain", summary="", factor=4, text_aware=False, licence="")

    def _enlarge(self, windows, prompts, seeds):
        return [enlarge(window, 4).astype(np.float32) / np.float32(255) for window in windows]


@pytest.mark.parametrize("direct", [False, True])
@pytest.mark.parametrize("magnification", ["9.9", "16.01", "32", "40", "64", "130"])
@pytest.mark.parametrize("at", [("0", "0"), ("511.9", "300.3"), ("153.6", "358.4"), ("200", "512")])
def test_pixels_are_those_of_the_window_that_is_recorded(at, magnification, direct):
    """On a slope, a state is as bright as the middle of its window."""
    slope = np.broadcast_to(np.linspace(0, 255, 512).round().astype(np.uint8)[None, :, None], (512, 512, 3)).copy()
    for pixels, axis in ((slope, 0), (slope.swapaxes(0, 1).copy(), 1)):
        spot = Point(Fraction(at[0]), Fraction(at[1]))
        aim = Aim(picture=Size(512, 512), output=OUTPUT, spot=spot, magnification=Fraction(magnification))
        steps = plan_direct(aim) if direct else plan_chain(aim, 4)
        for state in states(Engine(Plain(), load_prompter()), ZoomJob(picture=pixels, steps=steps, output=OUTPUT)):
            middle = (state.window[axis] + state.window[axis + 2]) / 2
            assert state.image.mean() == pytest.approx((middle - 0.5) * 255 / 511, abs=0.7)


def test_states_already_done_are_not_made_again(astronaut):
    engine = Engine(load_backbone("fake"), load_prompter())
    whole = states(engine, job(astronaut, 100))
    rest = states(engine, job(astronaut, 100, finished_states=whole[:4]))
    assert len(rest) == 1
    np.testing.assert_array_equal(rest[0].image, whole[4].image)


class Broken(Backbone):
    info = BackboneInfo(name="broken", summary="", factor=4, text_aware=False, licence="")

    def _enlarge(self, windows, prompts, seeds):
        raise RuntimeError("out of luck")


def test_whatever_a_backbone_raises_is_one_typed_error(astronaut):
    with pytest.raises(BackboneError, match="broken failed \\(out of luck\\)"):
        states(Engine(Broken(), load_prompter()), job(astronaut, 64))


def test_beyond_evidence_is_marked(astronaut):
    class Limited(type(load_backbone("fake"))):
        info = BackboneInfo(name="fake", summary="", factor=4, text_aware=True, licence="", evidence_limit=4.0)

    made = states(Engine(Limited(), load_prompter()), job(astronaut, 100))
    assert [state.beyond_evidence for state in made] == [False] * 4 + [True]
