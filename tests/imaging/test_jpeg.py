"""JPEG: Pillow's pixels, and every warning of libjpeg heard."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from formats_table import JPEG, PHOTO
from PIL import Image

from chain_of_zoom.errors import BadInputError
from chain_of_zoom.imaging.decode import decode_bytes
from chain_of_zoom.imaging.formats.jpeg import check, read, read_markers
from chain_of_zoom.imaging.images import Picture, load, render
from chain_of_zoom.imaging.reading import Reading

END = b"\xff\xd9"
INKS = np.dstack([PHOTO, PHOTO[..., :1] // 2])


def encoded(pixels: np.ndarray, mode: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.frombytes(mode, pixels.shape[1::-1], np.ascontiguousarray(pixels).tobytes()).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def loaded(data: bytes) -> Picture:
    return render(decode_bytes(data, Path("a.jpg")))


def adobe(data: bytes, transform: int) -> bytes:
    """The same file with another claim of Adobe's marker about its colours (2: YCCK)."""
    at = data.index(b"Adobe") + 11
    return data[:at] + bytes([transform]) + data[at + 1 :]


def without_adobe(data: bytes) -> bytes:
    at = data.index(b"\xff\xee")
    return data[:at] + data[at + 16 :]


VARIANTS = {
    "4:4:4": JPEG(subsampling=0),
    "4:2:2": JPEG(subsampling=1),
    "4:2:0": JPEG(subsampling=2),
    "odd size": encoded(PHOTO[:101, :67], "RGB", subsampling=2),
    "progressive": JPEG(progressive=True),
    "restarts": JPEG(restart_marker_blocks=3),
    "RGB": JPEG(keep_rgb=True),
    "grey": encoded(PHOTO[..., 0], "L"),
    "CMYK": encoded(INKS, "CMYK"),
    "CMYK progressive": encoded(INKS, "CMYK", progressive=True),
    "CMYK without Adobe's marker": without_adobe(encoded(INKS, "CMYK")),
    "YCCK": adobe(encoded(INKS, "CMYK"), 2),
    "one pixel": encoded(PHOTO[:1, :1], "RGB"),
}


@pytest.mark.parametrize("data", VARIANTS.values(), ids=VARIANTS)
def test_pixels_are_those_of_pillow_to_the_bit(data):
    pixels, notes = read(data, read_markers(data), "a")
    with Image.open(io.BytesIO(data)) as image:
        np.testing.assert_array_equal(pixels.squeeze(), np.asarray(image).squeeze())
    assert notes == ()


@pytest.mark.parametrize("name", [name for name in VARIANTS if name != "one pixel"])
def test_a_file_that_only_lacks_its_end_marker_is_whole(name):
    data = VARIANTS[name]
    picture = loaded(data[:-2])
    np.testing.assert_array_equal(picture.pixels, loaded(data).pixels)
    assert "end marker missing" in picture.notes
    with pytest.raises(BadInputError, match="cut short"):
        loaded(data[: -2 - len(data) // 8])


@pytest.mark.parametrize("end", [b"", END], ids=["cut", "ended"])
@pytest.mark.parametrize("name", ["4:4:4", "4:2:0", "restarts", "grey"])
def test_the_rows_that_are_there_are_counted_and_taken_when_asked(tmp_path, name, end):
    data = VARIANTS[name]
    path = tmp_path / "a.jpg"
    path.write_bytes(data[: len(data) * 6 // 10] + end)
    with pytest.raises(
        BadInputError, match=r"a\.jpg: damaged \(cut short: \d+ of 128 rows .* --set photo\.damaged=keep"
    ) as error:
        load(path)
    rows = int(str(error.value).split()[4])
    picture = load(path, Reading.parse({"damaged": "keep"}))
    whole = loaded(data).pixels
    assert 40 < rows < 90
    np.testing.assert_array_equal(picture.pixels[:rows], whole[:rows])
    assert (picture.pixels[rows : rows + 24] != whole[rows : rows + 24]).any()
    assert picture.notes == (f"cut short: {rows} of 128 rows are there",)


@pytest.mark.parametrize("share", [0.2, 0.4, 0.6, 0.8])
@pytest.mark.parametrize("end", [b"", END], ids=["cut", "ended"])
def test_a_progressive_file_that_lacks_scans_says_so(share, end):
    data = VARIANTS["progressive"]
    with pytest.raises(BadInputError, match="cut short: ([1-9] of its scans|it ends before)"):
        loaded(data[: int(data.index(b"\xff\xda") + share * 0.6 * len(data))] + end)


def test_scans_that_are_missing_without_a_trace_are_missed():
    data = VARIANTS["progressive"]
    with pytest.raises(BadInputError, match="cut short: 9 of its scans"):
        loaded(data[: data.rindex(b"\xff\xda")] + END)


@pytest.mark.parametrize("name", ["4:2:0", "restarts", "progressive", "CMYK"])
def test_lost_bytes_of_a_scan_are_noted(name):
    """Bytes taken out near the beginning: what follows is shifted, and too little or too much."""
    data = VARIANTS[name]
    start = data.index(b"\xff\xda") + 40
    outcomes = []
    for at in range(start, start + 300, 30):
        try:
            outcomes.append("; ".join(loaded(data[:at] + data[at + 400 :]).notes))
        except BadInputError as error:
            outcomes.append(str(error))
    assert all("damaged" in outcome or "cut short" in outcome for outcome in outcomes)


def test_bytes_that_no_block_needs_are_noted_in_an_otherwise_quiet_file():
    data = VARIANTS["4:2:0"]
    at = data.index(b"\xff\xda") + 700
    picture = loaded(data[:at] + data[at : at + 300] + data[at:])
    assert any("bytes too many): parts may be wrong" in note or "Corrupt JPEG data" in note for note in picture.notes)


@pytest.mark.parametrize(("size", "most"), [((7000, 7000), 20), ((3000, 4000), 83), ((100, 100), 500)])
def test_scans_are_limited_by_the_passes_that_they_cost(size, most):
    """49 megapixels of a hundred empty scans took 11 s."""
    data = VARIANTS["progressive"]
    at, start = data.index(b"\xff\xc2") + 5, data.rindex(b"\xff\xda")
    head = data[:at] + size[1].to_bytes(2) + size[0].to_bytes(2) + data[at + 4 : start]
    scan = data[start:-2]
    check(read_markers(head + scan * (most - 9) + END), "a")
    with pytest.raises(BadInputError, match=f"a: {most + 1} scans; accepted: a JPEG of up to {most};"):
        check(read_markers(head + scan * (most - 8) + END), "a")


def test_a_thumbnail_inside_ends_nothing():
    thumbnail = encoded(PHOTO[:8, :8], "RGB")
    whole = JPEG(exif=b"Exif\0\0" + thumbnail)
    assert read_markers(whole).end == len(whole) - 2
    assert read_markers(whole[:-2]).end is None


@pytest.mark.slow
def test_files_read_at_the_same_time_keep_their_own_warnings():
    good, bad = VARIANTS["restarts"], VARIANTS["4:2:0"]
    at = bad.index(b"\xff\xda") + 50
    bad = bad[:at] + bad[at + 400 :]
    expected = loaded(bad).notes
    assert expected
    with ThreadPoolExecutor(4) as threads:
        notes = list(threads.map(lambda data: loaded(data).notes, [good, bad] * 30))
    assert notes == [(), expected] * 30
