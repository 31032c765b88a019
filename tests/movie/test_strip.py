from __future__ import annotations

import numpy as np
import pytest

from chain_of_zoom.movie.animation import draw_strip, strip_height

GREEN, RED = (90, 200, 120), (255, 84, 84)
WORDS = ("16x  generated, beyond evidence", "16x  generated", "16x")


@pytest.mark.parametrize("width", [1, 7, 64, 127, 128, 300, 512, 768, 2048])
def test_every_width_has_an_even_strip(width):
    strip = draw_strip([GREEN] * width, 0.5, RED, WORDS)
    assert strip.shape == (strip_height(width), width, 3)
    assert strip_height(width) % 2 == 0


def written(strip: np.ndarray) -> np.ndarray:
    """Columns in which there is something of the colour of the words."""
    close = np.abs(strip[10:].astype(int) - RED).max(axis=2) < 60
    return np.flatnonzero(close.any(axis=0))


def test_the_bar_is_bright_up_to_the_position():
    bar = draw_strip([GREEN] * 200 + [RED] * 200, 0.25, RED, WORDS)[1]
    assert tuple(bar[50]) == GREEN
    assert tuple(bar[150]) == tuple(c // 3 for c in GREEN)
    assert tuple(bar[350]) == tuple(c // 3 for c in RED)


def test_the_longest_words_that_fit_are_shown():
    wide, narrow = (written(draw_strip([GREEN] * width, 0.5, RED, WORDS)) for width in (512, 140))
    assert wide.max() > 250
    assert narrow.max() < 134
    one = written(draw_strip([GREEN] * 512, 0.5, RED, WORDS[2:]))
    assert 10 < one.max() < 60, "16x alone"
