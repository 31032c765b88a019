from __future__ import annotations

import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
from conftest import PHOTO, noise
from PIL import Image

import chain_of_zoom
from chain_of_zoom import ChainOfZoom, Origin, UsageError, load_backbone, zoom
from chain_of_zoom.api import choose_models


def test_states_come_one_by_one():
    states = ChainOfZoom(backbone="fake").zoom(PHOTO, at=(0.42, 0.22), magnification=16)
    assert next(states).magnification == 1
    assert [state.magnification for state in states] == [4, 16]


def test_one_line_and_objects_instead_of_names(astronaut):
    by_name = zoom(PHOTO, at=(0.62, 0.4), magnification=64, backbone="fake", prompt="moss")
    by_object = zoom(astronaut, at="317.44px,204.8px", magnification=64, backbone=load_backbone("fake"), prompt="moss")
    assert len(by_name.states) == 4
    np.testing.assert_array_equal(by_name.states[-1].image, by_object.states[-1].image)


def test_resample_backbones_invent_nothing(astronaut):
    states = zoom(astronaut, magnification=64, backbone="lanczos").states
    assert {state.origin for state in states[1:]} == {Origin.INTERPOLATED}
    assert not any(state.beyond_evidence for state in states)


def test_direct_is_the_baseline_of_two_states(astronaut):
    states = zoom(astronaut, magnification=64, backbone="fake", mode="direct").states
    assert [state.magnification for state in states] == [1, 64]


@pytest.mark.parametrize("array", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)])
def test_arrays_that_are_no_pictures(array):
    with pytest.raises(UsageError, match="accepted: uint8"):
        zoom(array, backbone="fake")


@pytest.mark.parametrize(
    "settings",
    [{"size": 5}, {"at": 0.5}, {"magnification": "x"}, {"backbone": 3}, {"seed": 1.5}, {"at": ""}, {"mode": "odd"}],
)
def test_settings_of_another_kind_are_one_typed_error(astronaut, settings):
    with pytest.raises(UsageError):
        zoom(astronaut, **{"backbone": "fake", **settings})


def test_a_photo_smaller_than_a_window_and_any_size():
    result = zoom(noise(5, 9), magnification=30, size=(50, 33), backbone="fake")
    assert {state.image.shape for state in result.states} == {(33, 50, 3)}
    assert result.states[1].fallbacks


def test_every_public_name_can_be_had_and_others_cannot():
    for name in chain_of_zoom.__all__:
        assert getattr(chain_of_zoom, name) is not None
    assert set(chain_of_zoom.__all__) == set(chain_of_zoom._HOME)
    with pytest.raises(AttributeError):
        chain_of_zoom.nothing  # noqa: B018


def loaded(code: str) -> set[str]:
    """Modules that a fresh interpreter holds after `code`."""
    code += "\nimport sys; print(*(m.split('.')[0] for m in sys.modules))"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def test_importing_the_package_costs_nothing():
    assert not loaded("import chain_of_zoom") & {"numpy", "PIL", "torch", "ncnn", "msgspec"}


@pytest.mark.slow
def test_a_command_imports_its_own_modules_and_no_other_commands():
    assert not loaded("from chain_of_zoom.cli.app import make_app; make_app([])") & {"numpy", "PIL", "ncnn"}
    found = loaded(
        "from chain_of_zoom.cli.app import make_app; make_app(['zoom'])\n"
        "import chain_of_zoom.cli, sys; sys.modules.update(dict.fromkeys(dir(chain_of_zoom.cli)))"
    )
    assert "zoom" in found
    assert not found & {"ncnn", "upscale", "eval", "explore"}


@pytest.mark.slow
def test_the_default_zoom_needs_no_torch():
    code = (
        "import numpy as np, chain_of_zoom as c\n"
        "c.zoom(np.arange(3072, dtype=np.uint8).reshape(32, 32, 3), size=(64, 64), magnification=4)"
    )
    found = loaded(code)
    assert found & {"ncnn", "MNN"}
    assert not found & {"torch", "transformers", "diffusers", "onnxruntime", "scipy"}


@pytest.mark.parametrize(
    "settings",
    [
        *({"magnification": number} for number in (np.float64(8), np.float32(8), np.int64(8), Fraction(8))),
        {"seed": np.int64(3)},
        {"size": np.array([32, 32])},
        {"at": np.array([0.5, 0.5])},
        {"at": [np.float64(0.5), np.float32(0.5)]},
        {"box": np.array([0, 0, 8, 8])},
    ],
)
def test_numbers_of_numpy_are_numbers(settings):
    plain = {key: np.array(value).tolist() if key != "magnification" else 8 for key, value in settings.items()}
    ours, theirs = (
        zoom(noise(40, 60), **{"size": (32, 32), "backbone": "fake", **each}).states for each in (settings, plain)
    )
    assert len(ours) == len(theirs)
    np.testing.assert_array_equal(ours[-1].image, theirs[-1].image)


@pytest.mark.slow
@pytest.mark.parametrize("at", [np.array([[0.3, 0.5], [0.7, 0.5]]), [np.array([0.3, 0.5]), (0.7, 0.5)]])
def test_spots_of_a_batch_may_be_an_array(tmp_path, at):
    Image.fromarray(noise(40, 60)).save(tmp_path / "a.png")
    outcomes = list(chain_of_zoom.zoom_many(tmp_path / "a.png", at=at, out=tmp_path / "out", backbone="fake"))
    assert [outcome.task.request.at for outcome in outcomes] == ["0.3,0.5", "0.7,0.5"]


FACTORS = (0, 1, -3, 65, [1, 2], 2.5, "4", True, None, float("inf"), 10**5000)  # the last cannot be shown


@pytest.mark.parametrize("factor", FACTORS, ids=range(len(FACTORS)))
def test_factors_that_no_chain_can_use(factor):
    with pytest.raises(UsageError, match="factor"):
        zoom(noise(40, 60), backbone="bicubic", backbone_options={"factor": factor})


def test_options_of_numpy_and_of_other_types():
    states = zoom(noise(40, 60), backbone="bicubic", backbone_options={"factor": np.int64(2)}, size=(8, 8)).states
    assert len(states) > 2
    for options in ({"device": 3}, {"threads": "many"}, {"threads": 0}, {"threads": True}, {"device": "caf\udce9"}):
        with pytest.raises(UsageError, match=next(iter(options))):
            zoom(noise(40, 60), backbone="realsr", backbone_options=options)


@pytest.mark.parametrize(
    ("backbone", "prompter", "prompt", "usual", "names"),
    [
        (None, None, "", "zoom", ("zoom", "words")),
        ("zoom", None, "", "zoom", ("zoom", "words")),
        (None, None, "moss", "zoom", ("zoom", "null")),
        (None, "null", "", "zoom", ("zoom", "null")),
        ("realsr", None, "", "zoom", ("realsr", "null")),
        ("realsr", "words", "", "zoom", ("realsr", "words")),
        (None, None, "", "span", ("span", "null")),
        ("zoom", None, "", "span", ("zoom", "null")),
        (None, None, "moss", "span", ("zoom", "null")),
        (None, "words", "", "span", ("zoom", "words")),
    ],
)
def test_models_are_chosen_by_the_words_that_there_are(backbone, prompter, prompt, usual, names):
    assert choose_models(backbone, prompter, prompt, usual=usual) == names


def test_words_in_one_zoom_reach_the_pixels_without_naming_a_backbone():
    photo = Image.effect_noise((64, 64), 60).convert("RGB")
    box = {"magnification": 32, "size": (64, 64)}  # two enlargements of the photo's own pixels, and half of one
    plain, worded = (zoom(photo, prompt=text, **box).states[-1] for text in ("", "moss"))
    assert (plain.prompt_used, worded.prompt_used) == (False, True)
    assert not np.array_equal(plain.image, worded.image)
