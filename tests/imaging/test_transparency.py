"""Hidden colours give way to visible ones; what is seen stays."""

from __future__ import annotations

import numpy as np
import pytest

from chain_of_zoom.imaging.transparency import spread_colours


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(48, 61), (300, 131)])
def test_a_hidden_ground_takes_the_colour_of_what_lies_on_it(shape, dtype):
    top = np.iinfo(dtype).max
    y, x = np.mgrid[: shape[0], : shape[1]]
    disc = (y - 24) ** 2 + (x - 24) ** 2 < 15**2
    colour = np.zeros((*shape, 3), dtype)
    colour[..., 1] = top
    colour[disc] = (top, 0, 0)
    assert (spread_colours(colour, (disc * top).astype(dtype)) == (top, 0, 0)).all()


def test_near_colours_come_first():
    colour, alpha = np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64), np.uint8)
    colour[:, :32], colour[:, 32:] = (200, 0, 0), (0, 0, 200)
    alpha[20:44, 20:44] = 255
    colour[alpha == 0] = (0, 255, 0)
    result = spread_colours(colour, alpha)
    assert result[..., 1].max() == 0
    np.testing.assert_array_equal(result[alpha > 0], colour[alpha > 0])
    assert result[19, 25, 0] > 180 > 20 > result[19, 25, 2]
    assert result[19, 40, 2] > 180 > 20 > result[19, 40, 0]


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (5, 1), (3, 300), (257, 3)])
def test_every_shape_keeps_what_is_opaque(shape):
    colour, alpha = noise(*shape, 3), (noise(*shape, seed=1) > 127).astype(np.uint8) * 255
    alpha[0, 0] = 255
    result = spread_colours(colour, alpha)
    np.testing.assert_array_equal(result[alpha > 0], colour[alpha > 0])
    assert result.dtype == np.uint8


def test_even_and_slowly_changing_alpha_keep_all_colours():
    colour = noise(50, 70, 3)
    np.testing.assert_array_equal(spread_colours(colour, np.full((50, 70), 9, np.uint8)), colour)
    ramp = np.linspace(5, 255, 50).astype(np.uint8)[:, None].repeat(70, axis=1)
    np.testing.assert_array_equal(spread_colours(colour, ramp), colour)


def test_a_faint_pixel_beside_an_opaque_one_counts_little():
    colour, alpha = np.full((9, 9, 3), 200, np.uint8), np.full((9, 9), 255, np.uint8)
    colour[4, 4], alpha[4, 4] = 0, 13  # a twentieth
    assert spread_colours(colour, alpha)[4, 4].tolist() == pytest.approx([180] * 3, abs=4)


def test_where_nothing_is_visible_all_stays():
    colour = noise(9, 9, 3)
    assert spread_colours(colour, np.zeros((9, 9), np.uint8)) is colour
