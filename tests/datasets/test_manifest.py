"""Folders, manifests and the known sets."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from conftest import PHOTO, noise
from PIL import Image

from chain_of_zoom.datasets import photos
from chain_of_zoom.datasets.manifest import make_manifest, read_data, read_manifest
from chain_of_zoom.errors import BadInputError, MissingError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    home = tmp_path / "set"
    home.mkdir()
    shutil.copy(PHOTO, home / "b.png")
    Image.fromarray(noise(40, 60)).save(home / "a.jpg")
    Image.fromarray(noise(40, 60, 1)).save(home / "a.png")
    (home / "notes.txt").write_text("not a picture")
    return home


def test_a_folder_in_order_with_ids_that_differ(folder):
    data = read_data(folder)
    assert [item.id for item in data.items] == ["a", "a-2", "b"]
    assert [item.path.name for item in data.items] == ["a.jpg", "a.png", "b.png"]
    assert (data.name, data.published_as) == ("set", None)
    assert len(read_data(folder, 2).items) == 2
    assert read_data(folder / "b.png").items[0].id == "b"


def test_a_manifest_pins_files_and_spots_and_moves_with_its_folder(folder, tmp_path):
    path = folder / "set.json"
    path.write_bytes(make_manifest(str(folder), path, spots=2).to_json())
    written = read_manifest(path).pictures
    assert [picture.path for picture in written] == ["a.jpg", "a.png", "b.png"]
    assert written[2].size == (512, 512)
    assert written[2].spots == ((256, 256),)
    moved = tmp_path / "moved"
    folder.rename(moved)
    data = read_data(moved / "set.json")
    assert data.items[2].spots == ((256, 256),)
    assert data.items[2].sha256 == written[2].sha256


def test_another_file_under_a_pinned_name_is_an_error(folder):
    path = folder / "set.json"
    path.write_bytes(make_manifest(str(folder), path).to_json())
    Image.fromarray(noise(40, 60, 2)).save(folder / "a.png")
    with pytest.raises(BadInputError, match=r"a\.png is not the file"):
        read_data(path)
    (folder / "a.png").unlink()
    with pytest.raises(BadInputError, match="is not there"):
        read_data(path)


@pytest.mark.parametrize("change", ["version", "unknown", "twice", "outside", "text"])
def test_a_broken_manifest_is_an_error(folder, change):
    path = folder / "set.json"
    manifest = json.loads(make_manifest(str(folder), path).to_json())
    if change == "version":
        manifest["version"] = 2
    if change == "unknown":
        manifest["pictures"][0]["weight"] = 1
    if change == "twice":
        manifest["pictures"][1]["id"] = "a"
    if change == "outside":
        manifest["pictures"][0]["id"] = "../a"
    path.write_text("hello" if change == "text" else json.dumps(manifest))
    with pytest.raises(BadInputError, match="manifest|twice|plain file name"):
        read_data(path)


def test_div2k_is_recognised_whole_and_only_whole(tmp_path):
    home = tmp_path / "DIV2K_valid_HR"
    home.mkdir()
    for number in range(801, 901):
        (home / f"{number:04}.png").write_bytes(b"x")
    assert read_data(home).published_as == "DIV2K validation"
    assert read_data(home, 99).published_as is None
    (home / "0850.png").rename(home / "1850.png")
    assert read_data(home).published_as is None
    eight = tmp_path / "DIV8K" / "train_HR"
    eight.mkdir(parents=True)
    (eight / "0001.png").write_bytes(b"x")
    assert read_data(eight).published_as == "DIV8K"
    with pytest.raises(BadInputError, match="name one of DIV2K_valid_HR in it"):
        read_data(tmp_path)


@pytest.mark.parametrize(
    ("name", "says"),
    [("DIV2K_train_HR", "data.vision.ee.ethz.ch"), ("DIV8K", "codalab"), ("nowhere", "coz eval data photos")],
)
def test_what_is_absent_says_where_to_get_it(tmp_path, name, says):
    with pytest.raises(BadInputError, match=says):
        read_data(tmp_path / name)


def test_absent_photos_name_the_packages(tmp_path, monkeypatch):
    monkeypatch.setitem(photos.SETS, "photos", {"a": str(tmp_path / "a.jpg")})
    with pytest.raises(MissingError, match="sudo apt-get install -y --no-install-recommends lomiri-wallpapers-16.04"):
        make_manifest("photos", tmp_path / "photos.json")


def test_the_sets_have_twelve_and_nineteen_photos_and_none_twice():
    one, other = photos.SETS["photos"], photos.SETS["more-photos"]
    assert (len(one), len(other)) == (12, 19)
    assert len({*one.values(), *other.values()}) == len({*one, *other}) == 31
