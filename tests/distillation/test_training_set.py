"""Sets of training pictures: what is in them, what is left out, and that an example is a function of its number."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import PHOTO, noise
from PIL import Image

from chain_of_zoom.distillation.captions import Author, Caption, write_captions
from chain_of_zoom.distillation.data import Example, open_training_set
from chain_of_zoom.errors import BadInputError, UsageError
from chain_of_zoom.weights.files import file_sha256


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    home = tmp_path / "set"
    (home / "more").mkdir(parents=True)
    shutil.copy(PHOTO, home / "photo.png")
    Image.fromarray(noise(90, 120)).save(home / "more" / "noise.png")
    Image.fromarray(noise(40, 500, 1)).save(home / "flat.png")
    (home / "broken.jpg").write_bytes(b"no picture")
    (home / ".hidden.png").write_bytes(b"not looked at")
    (home / "notes.txt").write_text("not a picture")
    return home


def same(one: Example, other: Example) -> bool:
    return (
        (one.name, one.caption) == (other.name, other.caption)
        and np.array_equal(one.hr, other.hr)
        and np.array_equal(one.lr, other.lr)
    )


def test_a_folder_and_the_folders_in_it(folder):
    data = open_training_set(folder, size=64)
    assert len(data) == 2
    assert [name for name, _ in data.skipped] == ["broken.jpg", "flat.png"]
    assert "not a picture" in data.skipped[0][1]
    assert "500x40 pixels; accepted: at least 64x64" in data.skipped[1][1]
    assert "pictures skipped: 2, the first broken.jpg" in data.notes[0]
    assert "no captions" in data.notes[1]
    example = data.example(0, 0)
    assert (example.name, example.caption) == ("more/noise.png", "")
    assert example.hr.shape == example.lr.shape == (64, 64, 3)
    assert example.hr.dtype == example.lr.dtype == np.uint8
    assert data.example(1, 0).name == "photo.png"


def test_a_list_names_pictures_relative_to_itself(folder):
    listed = folder / "list.txt"
    listed.write_text("# the good ones\n\nphoto.png\nmore/noise.png\nabsent.png\nphoto.png\n")
    data = open_training_set(listed, size=64)
    assert [name for name, _ in data.pictures] == ["photo.png", "more/noise.png"]
    assert [(name, "no such file" in why) for name, why in data.skipped] == [("absent.png", True)]


@pytest.mark.slow
def test_an_example_is_a_function_of_seed_epoch_and_number(folder):
    data = open_training_set(folder, size=64, seed=3)
    example = data.example(1, 4)
    again = pickle.loads(pickle.dumps(open_training_set(folder, size=64, seed=3)))
    again.example(0, 0)
    again.example(1, 5)
    assert same(again.example(1, 4), example)
    assert not same(data.example(1, 5), example)
    assert not same(open_training_set(folder, size=64, seed=4).example(1, 4), example)


@pytest.mark.slow
def test_the_truth_is_cut_out_of_the_picture_and_sometimes_flipped(folder):
    source = noise(90, 120)
    windows = np.lib.stride_tricks.sliding_window_view(source, (64, 64), axis=(0, 1)).transpose(0, 1, 3, 4, 2)
    corners = {windows[y, x].tobytes(): (y, x) for y in range(27) for x in range(57)}
    data = open_training_set(folder, size=64, stage="bicubic")
    found, flipped = [], 0
    for epoch in range(60):
        hr = data.example(0, epoch).hr
        flipped += hr.tobytes() not in corners
        found.append(corners[hr.tobytes() if hr.tobytes() in corners else np.ascontiguousarray(hr[:, ::-1]).tobytes()])
    assert 15 < flipped < 45  # 60 throws of a coin, 4 deviations
    spread = np.array(found)
    assert len(set(found)) > 50
    assert spread.min() <= 2
    assert spread[:, 0].max() >= 24
    assert spread[:, 1].max() >= 52
    exact = open_training_set(folder, size=88)
    assert exact.example(0, 0).hr.shape == (88, 88, 3)


def test_both_stages_cut_the_same_and_degrade_differently(folder):
    first, second = (
        open_training_set(folder, size=64, stage=stage).example(1, 0) for stage in ("real-esrgan", "bicubic")
    )
    assert np.array_equal(first.hr, second.hr)
    assert not np.array_equal(first.lr, second.lr)
    small = Image.fromarray(second.hr).resize((16, 16), Image.Resampling.BICUBIC)
    assert np.array_equal(second.lr, np.asarray(small.resize((64, 64), Image.Resampling.BICUBIC)))


def test_damage_found_later_takes_the_next_picture_and_is_told(folder):
    whole = (folder / "photo.png").read_bytes()
    (folder / "photo.png").write_bytes(whole[: len(whole) // 2])
    data = open_training_set(folder, size=64)
    assert len(data) == 2
    example = data.example(1, 0)
    assert example.name == "more/noise.png"
    assert "damaged" in dict(data.skipped)["photo.png"]
    assert same(data.example(1, 0), example)
    (folder / "more" / "noise.png").write_bytes(whole[:1000])
    with pytest.raises(BadInputError, match="every picture of the set is damaged"):
        data.example(0, 0)


def test_captions_go_with_their_pictures(folder, tmp_path):
    path = tmp_path / "captions.jsonl"
    names = ("photo.png", "more/noise.png")
    lines = [Caption(name=name, sha256=file_sha256(folder / name), text=f"a {name}") for name in names]
    write_captions(path, Author(prompter="vlm"), lines)
    data = open_training_set(folder, size=64, captions=path)
    assert [data.example(index, 0).caption for index in range(2)] == ["a more/noise.png", "a photo.png"]
    assert not any("captions" in note for note in data.notes)
    Image.fromarray(noise(90, 120, 9)).save(folder / "more" / "noise.png")
    assert open_training_set(folder, size=64, captions=path).example(0, 0).name == "photo.png"
    write_captions(path, Author(prompter="vlm"), lines[:1])
    with pytest.raises(BadInputError, match=r"missing .*: 1, the first for more/noise\.png; .*coz train captions"):
        open_training_set(folder, size=64, captions=path)
    for text in (None, "", "{}\n", '{"prompter":"vlm"}\n{"name":"a"}\n', "\udcff"):
        path.unlink() if text is None else path.write_bytes(text.encode(errors="surrogateescape"))
        with pytest.raises(BadInputError, match="no file of captions"):
            open_training_set(folder, size=64, captions=path)


def test_what_makes_no_set(folder, tmp_path):
    with pytest.raises(BadInputError, match=r"no picture to train on, 4 skipped \(broken\.jpg"):
        open_training_set(folder, size=1024)
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInputError, match="it holds no picture"):
        open_training_set(tmp_path / "empty")
    for path in (tmp_path / "nothing", PHOTO):
        with pytest.raises(BadInputError, match="no folder and no list"):
            open_training_set(path)
    (tmp_path / "bad.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(BadInputError, match=r"bad\.txt cannot be read"):
        open_training_set(tmp_path / "bad.txt")
    with pytest.raises(UsageError, match="size 30; accepted: multiples of 4"):
        open_training_set(folder, size=30)
    with pytest.raises(UsageError, match="stage 'blur'; accepted: real-esrgan, bicubic"):
        open_training_set(folder, stage="blur")
    with pytest.raises(UsageError, match="seed -1"):
        open_training_set(folder, seed=-1)
