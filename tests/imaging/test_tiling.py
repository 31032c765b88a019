from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain_of_zoom.imaging.geometry import Size
from chain_of_zoom.imaging.tiling import (
    Span,
    fade_weights,
    plan_spans,
    plan_tiles,
    published_spans,
    published_vae_spans,
    published_weights,
    spread_spans,
)


@pytest.mark.slow
@given(length=st.integers(1, 3000), halo=st.integers(0, 40), extra=st.integers(1, 200))
def test_cores_partition_the_length_and_tiles_carry_their_halo(length, halo, extra):
    tile = 2 * halo + extra
    spans = plan_spans(length, tile, halo)
    assert spans[0].keep_start == 0
    assert spans[-1].keep_stop == length
    for before, after in pairwise(spans):
        assert before.keep_stop == after.keep_start
    for span in spans:
        assert span.keep_start < span.keep_stop
        assert span.stop - span.start <= tile
        assert span.start == max(span.keep_start - halo, 0)
        assert span.stop == min(span.keep_stop + halo, length)


@given(length=st.integers(1, 3000), tile=st.integers(65, 400))
def test_no_fewer_spans_would_do(length, tile):
    count = len(plan_spans(length, tile, 32))
    assert count == 1 or (count - 1) * (tile - 64) < length - 64


def test_tiles_go_row_by_row():
    tiles = plan_tiles(Size(256, 100), 160, 32)
    assert [(t.columns.start, t.columns.stop, t.columns.keep_start, t.columns.keep_stop) for t in tiles] == [
        (0, 160, 0, 128),
        (96, 256, 128, 256),
    ]
    assert {t.rows for t in tiles} == {(0, 100, 0, 100)}


@given(units=st.integers(1, 400), tile=st.integers(1, 40), overlap=st.integers(0, 39), step=st.sampled_from([1, 8]))
def test_spread_spans_cover_overlap_and_mirror(units, tile, overlap, step):
    overlap = min(overlap, tile - 1)
    length = units * step
    spans = spread_spans(length, tile * step, overlap * step, step)
    assert spans[0].start == spans[0].keep_start == 0
    assert spans[-1].stop == spans[-1].keep_stop == length
    assert {s.stop - s.start for s in spans} == {min(tile * step, length)}
    assert all(s.start % step == 0 for s in spans)
    for before, after in pairwise(spans):
        assert before.start < after.start
        assert before.stop - after.start >= overlap * step
        assert before.keep_stop == after.keep_start
        assert after.start <= after.keep_start <= before.stop
    off = [abs(a.start - (length - b.stop)) for a, b in zip(spans, reversed(spans), strict=True)]
    assert max(off) <= step * (len(spans) % 2)  # a middle tile cannot always be in the middle
    assert len(spans) == 1 or (len(spans) - 1) * (tile - overlap) < units - overlap  # no fewer would do


@pytest.mark.slow
@given(
    units=st.integers(1, 300),
    tile=st.integers(2, 40),
    overlap=st.integers(0, 39),
    share=st.floats(0, 1),
    unit=st.sampled_from([1, 8]),
)
def test_fades_sum_to_one_inside_their_spans_and_mirror(units, tile, overlap, share, unit):
    overlap = min(overlap, tile - 1)
    length = units * 8
    spans = spread_spans(length, tile * 8, overlap * 8, 8)
    weights = fade_weights(spans, int(overlap * 8 * share), unit)
    total = np.zeros(length // unit)
    for span, weight in zip(spans, weights, strict=True):
        assert weight.dtype == np.float32
        assert len(weight) == (span.stop - span.start) // unit
        assert weight.min() >= 0
        total[span.start // unit : span.stop // unit] += weight
    np.testing.assert_allclose(total, 1, atol=1e-6)
    if len(spans) == 2:
        np.testing.assert_allclose(weights[0], weights[1][::-1], atol=1e-6)


@pytest.mark.slow
@given(length=st.integers(1, 1000), tile=st.integers(2, 100), overlap=st.integers(0, 99))
def test_the_published_grid_ends_at_the_border(length, tile, overlap):
    overlap = min(overlap, tile - 1)
    spans = published_spans(length, tile, overlap)
    if length < tile:
        assert [s[:2] for s in spans] == [(0, length)]
        return
    stride = tile - overlap
    count = (length - tile + stride - 1) // stride + 1  # as the published code counts
    assert [s[:2] for s in spans] == [(s := min(i * stride, length - tile), s + tile) for i in range(count)]


def test_the_published_window_is_a_gaussian_off_centre():
    weights = published_weights(64, 48)
    assert weights.shape == (64, 48)
    assert weights.dtype == np.float64
    assert np.argmax(weights[:, 24]) == 32
    np.testing.assert_array_equal(weights, weights[:, ::-1])
    np.testing.assert_allclose(weights[1:], weights[:0:-1])  # centred on row 32: row 0 has no mirror image
    peak = 1 / (2 * np.pi * 0.01)
    np.testing.assert_allclose(weights[32, 0], peak * np.exp(-((23.5 / 48) ** 2) / 0.02))
    np.testing.assert_allclose(weights[0, 0], peak * np.exp(-((23.5 / 48) ** 2 + 0.25) / 0.02))


@pytest.mark.parametrize(
    ("length", "tile", "pad", "expected"),
    [
        # Worked out by hand: inner 1136 in two, 568 each, rounded up to 576.
        (1200, 1024, 32, [(0, 640, 0, 608), (576, 1200, 608, 1200)]),
        (200, 128, 11, [(0, 118, 0, 107), (96, 200, 107, 200)]),
        (500, 1024, 32, [(0, 500, 0, 500)]),
        (40, 1024, 32, [(0, 40, 0, 40)]),
        # 8 cores of 124.5 become 128, the last is what is left.
        (1018, 128, 11, None),
    ],
)
def test_the_published_vae_tiles(length, tile, pad, expected):
    spans = published_vae_spans(length, tile, pad)
    if expected:
        assert spans == [Span(*span) for span in expected]
    assert [s.keep_start for s in spans[1:]] == [s.keep_stop for s in spans[:-1]]
    assert (spans[0].keep_start, spans[-1].keep_stop) == (0, length)


@pytest.mark.slow
@given(length=st.integers(1, 30_000), grid=st.sampled_from([(1024, 32), (128, 11)]))
def test_the_published_vae_tiles_partition_any_side(length, grid):
    spans = published_vae_spans(length, *grid)
    assert (spans[0].keep_start, spans[-1].keep_stop) == (0, length)
    for before, after in pairwise(spans):
        assert before.keep_stop == after.keep_start == after.start + grid[1]
        assert before.stop == min(before.keep_stop + grid[1], length)
