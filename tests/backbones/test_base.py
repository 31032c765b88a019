from __future__ import annotations

import numpy as np
import pytest
from conftest import noise

from chain_of_zoom.backbones.base import Backbone, BackboneInfo
from chain_of_zoom.errors import BackboneError
from chain_of_zoom.imaging.geometry import Size
from chain_of_zoom.imaging.images import resize


class Double(Backbone):
    """Enlarges twice by bicubic; `spoil` damages the result."""

    def __init__(self, spoil=lambda y: y, **limits):
        super().__init__()
        self.info = BackboneInfo(name="double", summary="", factor=2, text_aware=False, licence="", **limits)
        self.spoil = spoil
        self.shapes: list[tuple[int, ...]] = []

    def _enlarge(self, windows, prompts, seeds):
        self.shapes += [window.shape for window in windows]
        return [
            self.spoil(resize(w, Size(w.shape[1] * 2, w.shape[0] * 2), "bicubic").astype(np.float32) / 255)
            for w in windows
        ]


def test_exact_shape_dtype_and_range():
    (result,) = Double(lambda y: y * 3 - 1)([noise(7, 5)])
    assert result.shape == (14, 10, 3)
    assert result.dtype == np.float32
    assert result.min() == 0
    assert result.max() == 1


def test_small_windows_are_padded_and_cropped_back():
    backbone = Double(min_side=16)
    (result,) = backbone([noise(3, 20)])
    assert backbone.shapes == [(16, 20, 3)]
    assert result.shape == (6, 40, 3)


def test_large_windows_are_tiled_with_enough_halo_to_leave_no_seam():
    window = noise(90, 130)
    whole = Double()([window])[0]
    tiled = Double(max_pixels=48 * 48, halo=8)
    told: list[tuple[int, str]] = []
    (result,) = tiled([window], on_fallback=lambda *what: told.append(what))
    assert max(h * w for h, w, _ in tiled.shapes) <= 48 * 48
    np.testing.assert_array_equal(result, whole)
    assert told[0][0] == 0
    assert "tiles" in told[0][1]


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda y: y * np.nan, "NaN"),
        (lambda y: y * 0 + 0.5, "flat"),
        (lambda y: y[1:], "expected x2"),
        (lambda y: y * 255, "about 0 to 1"),
    ],
)
def test_unusable_results_are_refused(spoil, says):
    with pytest.raises(BackboneError, match=says):
        Double(spoil)([noise(8, 8)])


def test_a_flat_window_may_stay_flat():
    Double()([np.full((8, 8, 3), 200, np.uint8)])


def test_weights_are_read_once_whoever_asks():
    class Counting(Double):
        reads = 0

        def _load(self):
            Counting.reads += 1

    backbone = Counting()
    backbone.load()
    backbone([noise(4, 4)])
    backbone([noise(4, 4)])
    assert Counting.reads == 1
