from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from conftest import PHOTO, noise

import chain_of_zoom
from chain_of_zoom import ChainOfZoom, Origin, UsageError, load_backbone, zoom


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


def test_the_default_zoom_needs_no_torch():
    code = (
        "import numpy as np, chain_of_zoom as c\n"
        "c.zoom(np.arange(3072, dtype=np.uint8).reshape(32, 32, 3), size=(64, 64), magnification=4)"
    )
    found = loaded(code)
    assert "ncnn" in found
    assert not found & {"torch", "transformers", "diffusers", "onnxruntime", "scipy"}
