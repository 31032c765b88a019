from __future__ import annotations

import errno
import os

import numpy as np
import pytest

from chain_of_zoom.errors import OutputError
from chain_of_zoom.imaging.geometry import PixelRect, Size
from chain_of_zoom.upscaling.canvas import Canvas

SIZE = Size(40, 30)
BOX = PixelRect(5, 3, 25, 20)


def samples(box: PixelRect, dtype: type = np.uint8, channels: int = 3, seed: int = 0) -> np.ndarray:
    shape = (box.y1 - box.y0, box.x1 - box.x0, channels)
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


def canvas(path, dtype=np.uint8, channels=3):
    return Canvas(path / "a.raw", SIZE, channels, np.dtype(dtype))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [3, 4])
def test_what_is_written_is_read_in_any_parts(tmp_path, dtype, channels):
    whole = samples(PixelRect(0, 0, *SIZE), dtype, channels)
    with canvas(tmp_path, dtype, channels) as disk:
        disk.write(BOX, whole[3:20, 5:25])
        np.testing.assert_array_equal(disk.read(BOX), whole[3:20, 5:25])
        disk.write(PixelRect(0, 0, *SIZE), whole)
        np.testing.assert_array_equal(disk.read(PixelRect(7, 9, 8, 30)), whole[9:30, 7:8])
        np.testing.assert_array_equal(np.concatenate(list(disk.strips(7))), whole)


def test_a_finished_tile_is_known_again_by_its_key_alone(tmp_path):
    tile = samples(BOX)
    with canvas(tmp_path) as disk:
        disk.finish("r0c0", "key", BOX, tile)
    with canvas(tmp_path) as disk:
        assert disk.is_finished("r0c0", "key", BOX)
        assert not disk.is_finished("r0c0", "another key", BOX)
        assert not disk.is_finished("r0c1", "key", BOX)
        assert disk.key("r0c0") == "key"


def test_a_tile_whose_pixels_were_lost_is_not_finished(tmp_path):
    with canvas(tmp_path) as disk:
        disk.finish("r0c0", "key", BOX, samples(BOX))
        disk.write(PixelRect(24, 19, 25, 20), np.zeros((1, 1, 3), np.uint8) + disk.read(PixelRect(24, 19, 25, 20)) + 1)
    with canvas(tmp_path) as disk:
        assert not disk.is_finished("r0c0", "key", BOX)


@pytest.mark.parametrize("cut", [1, 10, 30])
def test_half_a_line_in_the_journal_is_dropped_and_the_next_one_holds(tmp_path, cut):
    with canvas(tmp_path) as disk:
        disk.finish("r0c0", "first", BOX, samples(BOX))
        disk.finish("r0c1", "second", PixelRect(0, 0, 2, 2), samples(PixelRect(0, 0, 2, 2)))
    journal = tmp_path / "a.journal"
    journal.write_bytes(journal.read_bytes()[:-cut])
    with canvas(tmp_path) as disk:
        assert disk.is_finished("r0c0", "first", BOX)
        assert not disk.is_finished("r0c1", "second", PixelRect(0, 0, 2, 2))
        disk.finish("r0c2", "third", BOX, samples(BOX))
    with canvas(tmp_path) as disk:
        assert disk.is_finished("r0c2", "third", BOX)


def test_a_canvas_of_another_size_starts_empty(tmp_path):
    with canvas(tmp_path) as disk:
        disk.finish("r0c0", "key", BOX, samples(BOX))
    with canvas(tmp_path, channels=4) as disk:
        assert disk.key("r0c0") == ""


def test_its_room_is_taken_at_once_and_a_full_disk_is_said(tmp_path, monkeypatch):
    with canvas(tmp_path) as disk:
        assert (tmp_path / "a.raw").stat().st_blocks * 512 >= disk.bytes == 40 * 30 * 3

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OutputError, match=r"No space left.*finished tiles are kept; make room"):
        Canvas(tmp_path / "b.raw", SIZE, 3, np.dtype(np.uint8))


@pytest.mark.parametrize("name", ["a.raw", "a.journal"])
def test_a_link_in_its_place_is_refused(tmp_path, name):
    (tmp_path / "outside").write_bytes(b"victim")
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / name).symlink_to(tmp_path / "outside")
    with pytest.raises(OutputError):
        canvas(tmp_path / "work")
    assert (tmp_path / "outside").read_bytes() == b"victim"
