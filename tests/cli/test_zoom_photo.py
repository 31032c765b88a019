"""`coz zoom` on photos with a profile, alpha and metadata, and how it may be told to read them."""

from __future__ import annotations

import io
import json
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from conftest import noise
from PIL import Image, ImageCms

from chain_of_zoom import Reading, load, zoom

FAST = ("--backbone", "fake", "--size", "32x32", "--no-animate")
REDDISH = noise(64, 64) // 4 + np.array([150, 20, 20], np.uint8)
ALPHA = noise(64, 64, 1)[..., :1]


@cache
def swapped() -> bytes:
    """sRGB with red and green exchanged."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for at in range(132, 132 + 12 * int.from_bytes(data[128:132]), 12):
        data[at : at + 4] = {b"rXYZ": b"gXYZ", b"gXYZ": b"rXYZ"}.get(bytes(data[at : at + 4]), data[at : at + 4])
    return bytes(data)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    exif = Image.Exif()
    exif.update({0x0112: 1, 0x010F: "Camera", 0x010E: "A cat", 0x8825: {1: "N", 2: (52.0, 30.0, 0.0)}})
    path = tmp_path / "photo.png"
    Image.fromarray(np.dstack([REDDISH, ALPHA])).save(path, exif=exif.tobytes(), icc_profile=swapped())
    return path


def opened(path: Path) -> Image.Image:
    return Image.open(io.BytesIO(path.read_bytes()))


@pytest.mark.slow
def test_metadata_comes_along_only_when_asked(coz, photo, tmp_path):
    assert coz("zoom", photo, "--zoom", 8, "-o", "a", *FAST).returncode == 0
    assert coz("zoom", photo, "--zoom", 8, "-o", "b", "--keep-metadata", *FAST).returncode == 0
    for state in json.loads((tmp_path / "b" / "record.json").read_bytes())["states"]:
        with opened(tmp_path / "b" / state["file"]) as image:
            exif = image.getexif()
            assert exif[0x010F] == "Camera"
            assert exif.get_ifd(0x8825) == {1: "N", 2: (52.0, 30.0, 0.0)}
            assert exif[0x010E].startswith("GENERATED" if state["origin"] == "generated" else "Pixels of the photo")
            assert 0x0112 not in exif
            assert (b"trainedAlgorithmicMedia" in image.info["xmp"]) == (state["origin"] == "generated")
            plain = opened(tmp_path / "a" / state["file"])
            assert not plain.getexif()
            np.testing.assert_array_equal(np.asarray(image), np.asarray(plain))
    assert not opened(tmp_path / "b" / "sheet.png").getexif()


@pytest.mark.slow
def test_the_profile_is_kept_with_its_pixels_when_asked(coz, photo, tmp_path):
    (tmp_path / "settings.toml").write_text('[photo]\nprofile = "keep"\nmatte = "black"\n')
    args = ("zoom", photo, "--zoom", 1, "--size", "64x64", "--backbone", "fake")
    assert coz(*args, "-o", "a", "--config", "settings.toml").returncode == 0
    assert coz(*args, "-o", "b").returncode == 0
    state = opened(tmp_path / "a" / "00_1x.png")
    np.testing.assert_allclose(np.asarray(state), REDDISH * (ALPHA / 255), atol=0.5)
    assert state.info["icc_profile"] == swapped()
    assert opened(tmp_path / "a" / "sheet.png").info["icc_profile"] == swapped()
    assert "icc_profile" not in opened(tmp_path / "b" / "00_1x.png").info
    record = json.loads((tmp_path / "a" / "record.json").read_bytes())
    assert record["options"]["photo"] == {"profile": "keep", "matte": "black"}
    assert any("left in the space of profile" in note for note in record["input"]["notes"])
    assert any(
        "converted to sRGB" in n for n in json.loads((tmp_path / "b" / "record.json").read_bytes())["input"]["notes"]
    )


@pytest.mark.slow
def test_an_animation_is_srgb_whatever_the_states_are_in(coz, photo, tmp_path):
    coz("zoom", photo, "--zoom", 4, "-o", "a", "--set", "photo.profile=keep", *FAST)
    assert coz("animate", "a").returncode == 0
    state = np.asarray(opened(tmp_path / "a" / "00_1x.png")).mean((0, 1))
    with opened(tmp_path / "a" / "zoom.webp") as film:
        assert "icc_profile" not in film.info
        shown = np.asarray(film.convert("RGB"))[:16].mean((0, 1))
    assert state[0] > state[1] + 20  # red in a space where red and green are exchanged
    assert shown[1] > shown[0] + 20


@pytest.mark.slow
def test_a_run_read_otherwise_is_another_run(coz, photo):
    assert coz("zoom", photo, "--zoom", 4, "-o", "a", *FAST).returncode == 0
    done = coz("zoom", photo, "--zoom", 4, "-o", "a", "--set", "photo.matte=black", *FAST)
    assert done.returncode == 4
    assert "alpha laid on black" in done.stderr
    assert coz("zoom", photo, "--zoom", 4, "-o", "a", "--set", "photo.pixels=1e6", *FAST).returncode == 0


@pytest.mark.slow
def test_a_batch_reads_as_it_is_told(coz, photo, tmp_path):
    (tmp_path / "second.png").write_bytes(photo.read_bytes())
    args = ("zoom", photo, "second.png", "--zoom", 1, "--set", "photo.matte=#102030", "-o", "out", "--backbone", "fake")
    assert coz(*args).returncode == 0
    for name in ("photo", "second"):
        record = next((tmp_path / "out").glob(f"{name}*/record.json"))
        assert "alpha laid on #102030" in json.loads(record.read_bytes())["input"]["notes"]
    again = coz(*args, "--skip-done")
    assert "kept" in again.stdout
    anew = coz(*args[:-1], "fake", "--skip-done", "--set", "photo.matte=black")
    assert anew.returncode != 0  # other states lie there


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sets", "code", "says"),
    [
        ("photo.pixels=100", 3, "64x64 pixels; accepted: pixels up to 100"),
        (
            "photo.pixel=100",
            2,
            "accepted: matte, profile, metadata, damaged, pixels, side, bytes, frames, aspect",
        ),
        ("photo.matte=pink", 2, "white, black, grey, #rrggbb"),
        ("photo.profile=no", 2, "accepted: keep"),
    ],
)
def test_what_makes_no_sense_is_one_line(coz, photo, sets, code, says):
    done = coz("zoom", photo, "--set", sets, *FAST)
    assert done.returncode == code
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


def test_heif_without_its_extra(coz, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    done = coz("zoom", "a.heic", *FAST)
    assert done.returncode == 5
    assert "pip install 'chain-of-zoom[heif]'" in done.stderr


@pytest.mark.slow
def test_in_python_the_same(photo, tmp_path):
    size = {"size": (32, 32), "magnification": 4, "backbone": "fake"}
    result = zoom(photo, out=tmp_path / "a", photo_options={"metadata": "keep"}, **size)
    assert opened(tmp_path / "a" / result.record.states[1].file).getexif()[0x010F] == "Camera"
    zoom(load(photo, Reading(keep_metadata=True)), out=tmp_path / "b", **size)
    for entry in result.record.states:
        assert (tmp_path / "b" / entry.file).read_bytes() == (tmp_path / "a" / entry.file).read_bytes()
