from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from chain_of_zoom.imaging.geometry import Size
from chain_of_zoom.imaging.tiling import plan_spans, plan_tiles


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
