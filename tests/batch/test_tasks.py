from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest
from batch_files import save
from conftest import noise
from hypothesis import given
from hypothesis import strategies as st

from chain_of_zoom import UsageError, zoom, zoom_many
from chain_of_zoom.batch.tasks import RESERVED, Task, assign_folder_names, expand, plan_tasks
from chain_of_zoom.chain.request import ZoomRequest
from chain_of_zoom.imaging.decode import SUFFIXES

ONE = ZoomRequest()


def names(*photos: str) -> list[str]:
    return [task.name for task in assign_folder_names(Task(photo=Path(photo), request=ONE) for photo in photos)]


def test_a_folder_is_its_pictures_in_order(tmp_path):
    for name in ("b.jpg", "a.PNG", "c.tiff", "d.webp"):
        save(noise(4, 4), tmp_path / name)
    save(noise(4, 4), tmp_path / "inside" / "e.png")
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "._b.jpg").write_text("what macOS leaves on other disks")
    assert [path.name for path in expand(tmp_path, tmp_path / "zooms")] == ["a.PNG", "b.jpg", "c.tiff", "d.webp"]
    found = expand(tmp_path, tmp_path / "zooms", recursive=True)
    assert [path.name for path in found] == ["a.PNG", "b.jpg", "c.tiff", "d.webp", "e.png"]


@pytest.mark.slow
def test_what_coz_wrote_is_no_photo(tmp_path):
    save(noise(16, 16), tmp_path / "a.png")
    zoom(tmp_path / "a.png", out=tmp_path / "a_16x", backbone="fake", size=(16, 16))
    list(zoom_many(tmp_path / "a.png", out=tmp_path / "before", backbone="fake", size=(16, 16), layout="published"))
    save(noise(4, 4), tmp_path / "now" / "00_1x.png")
    save(noise(4, 4), tmp_path / "somebody" / "b.png")
    (tmp_path / "somebody" / "record.json").write_text('{"artist": "somebody else"}')
    found = expand(tmp_path, tmp_path / "now", recursive=True)
    assert found == [tmp_path / "a.png", tmp_path / "somebody" / "b.png"]
    with pytest.raises(UsageError, match="another folder"):
        expand(tmp_path, tmp_path, recursive=True)


def test_links_in_a_circle_end(tmp_path):
    save(noise(4, 4), tmp_path / "a.png")
    (tmp_path / "again").symlink_to(tmp_path, target_is_directory=True)
    assert expand(tmp_path, tmp_path / "zooms", recursive=True) == [tmp_path / "a.png"]


def test_what_is_no_folder_and_what_is_empty_stays_to_fail_in_its_turn(tmp_path):
    assert expand(tmp_path / "missing.jpg", tmp_path) == [tmp_path / "missing.jpg"]
    assert expand(tmp_path, tmp_path / "zooms") == [tmp_path]


def test_extensions_are_those_of_the_formats():
    assert {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".avif"} <= SUFFIXES
    assert not SUFFIXES & {".txt", ".pdf", ".psd", ".json"}


def test_every_photo_with_every_spot():
    base = ZoomRequest(zoom=64.0, seed=3)
    tasks = plan_tasks([Path("a.jpg"), Path("b.jpg")], ["0.1,0.1", "5px,5px"], base, Path("zooms"))
    assert [(task.photo.name, task.request.at) for task in tasks] == [
        ("a.jpg", "0.1,0.1"), ("a.jpg", "5px,5px"), ("b.jpg", "0.1,0.1"), ("b.jpg", "5px,5px"),
    ]  # fmt: skip
    assert {(task.request.zoom, task.request.seed) for task in tasks} == {(64.0, 3)}
    assert [task.request for task in plan_tasks([Path("a.jpg")], [], base, Path("zooms"))] == [base]
    with pytest.raises(UsageError, match="not 2 numbers"):
        plan_tasks([Path("a.jpg")], ["0.1,0.1", "there"], base, Path("zooms"))


def test_names():
    assert names("a.jpg", "x/a.jpg", "a.png", "a-2.jpg", "A.gif") == ["a", "a-2", "a-3", "a-2-2", "A-4"]
    assert names("thumbnails.jpg", "index.html.png", "per-sample.png") == [
        "thumbnails-2", "index.html-2", "per-sample-2",
    ]  # fmt: skip
    assert names("...jpg", ".hidden.jpg") == ["photo", ".hidden"]
    assert names(os.fsdecode(b"caf\xe9.jpg")) == ["caf\ufffd"]
    assert names("é.jpg", unicodedata.normalize("NFD", "é.png")) == ["é", unicodedata.normalize("NFD", "é") + "-2"]


def test_the_same_zoom_twice_is_one():
    assert names("a.jpg", "a.jpg") == ["a"]


@pytest.mark.slow
@given(st.lists(st.text("aAb-2.é ", min_size=1, max_size=5), max_size=12, unique=True))
def test_names_are_unique_plain_and_the_same_again(stems):
    photos = [f"{number}/{stem}.jpg" for number, stem in enumerate(stems)]
    once = names(*photos)
    assert once == names(*photos)
    keys = [unicodedata.normalize("NFC", name).casefold() for name in once]
    assert len(set(keys)) == len(photos)
    assert not set(keys) & set(RESERVED)
    assert not any(set(name) <= {".", " "} or "/" in name for name in once)
    assert names(*photos, "z/a.jpg")[: len(once)] == once  # a further photo at the end moves nobody
