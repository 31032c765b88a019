"""Making pairs: what prompters would be shown, filters, splits, and folders that stopped runs left."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from batch_files import contents, save
from conftest import PHOTO, noise
from PIL import Image

from chain_of_zoom import ChainOfZoom
from chain_of_zoom.alignment.pairs import make as maker
from chain_of_zoom.alignment.pairs.folder import PairSetRecord, PairSettings
from chain_of_zoom.alignment.pairs.make import make_pairs
from chain_of_zoom.alignment.pairs.read import METADATA, read_pairs
from chain_of_zoom.alignment.pairs.views import PairView, cut_views, list_crops
from chain_of_zoom.api import load_backbone
from chain_of_zoom.datasets import photos
from chain_of_zoom.datasets.manifest import Dataset, make_manifest, read_data
from chain_of_zoom.errors import BadInputError, OccupiedError, UsageError
from chain_of_zoom.imaging import spots
from chain_of_zoom.imaging.geometry import Size, pixel_box
from chain_of_zoom.imaging.images import RGB8, decode_png, load, resize
from chain_of_zoom.prompters.base import Prompter

SMALL = PairSettings(side=64, min_detail=1, min_entropy=1)


class Witness(Prompter):
    """Remembers what it was shown."""

    name = "witness"

    def __init__(self) -> None:
        self.shown: list[Any] = []

    def __call__(self, contexts):
        self.shown += contexts
        return [""] * len(contexts)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spots, "CELL", 64)
    monkeypatch.setattr(maker, "MAX_PAIRS", 3)


def photo(seed: int, height: int = 260, width: int = 300) -> RGB8:
    """Soft blobs: another at every place and scale."""
    grains = [noise(height // step + 1, width // step + 1, seed * 9 + step) for step in (4, 16, 64)]
    layers = [resize(grain, Size(width, height), "bicubic").astype(float) for grain in grains]
    return np.clip(sum(layers) / 2 - 60, 0, 255).astype(np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(4):
        save(photo(number), tmp_path / "photos" / f"train {number}.png")
    return tmp_path / "photos"


def made(folder: Path, out: Path, settings: PairSettings = SMALL, backbone: str = "fake", **more: Any) -> PairSetRecord:
    return make_pairs(read_data(folder), out, settings, load_backbone(backbone), **more)


def rows(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / METADATA).read_text().splitlines()]


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_a_pair_is_what_a_prompter_sees_in_a_chain(astronaut, depth):
    """Compared with a zoom through the public API, into a photo that is the crop."""
    backbone = load_backbone("fake")
    crop = list_crops(Size(512, 512), [(300, 130)], 64)[2]
    assert (crop.frame, crop.box.whole()) == (128, (236, 66, 364, 194))
    [view] = cut_views(astronaut, [(crop, depth)], 64, backbone, 0)
    witness = Witness()
    frame = resize(astronaut, Size(64, 64), "lanczos", pixel_box(236, 66, 364, 194))
    list(ChainOfZoom(backbone, witness).zoom(frame, at="32px,32px", magnification=4 ** (depth + 1), size=(64, 64)))
    context = witness.shown[depth]
    assert np.array_equal(view.parent, context.states[-1])
    assert np.array_equal(view.zoomed, context.zoomed)
    width = 128 / 4**depth
    assert view.box.width == width
    assert view.zoomed_box.width == width / 4
    assert abs(float(view.zoomed_box.centre.x) - 300) <= width / 64


def test_windows_near_a_border_lie_off_the_centre_of_their_parent():
    crop = list_crops(Size(100, 80), [(4, 76)], 64)[0]
    assert crop.box.whole() == (0, 0, 80, 80)
    [view] = cut_views(photo(0, 80, 100), [(crop, 0)], 64, load_backbone("bicubic"), 0)
    assert view.zoomed_box.floats() == (0, 60, 20, 80)


def test_scales_go_down_while_the_photo_has_the_pixels():
    frames = [crop.frame for crop in list_crops(Size(3000, 2050), [(1500, 1000)], 512)]
    assert frames == [2050, 1025, 512]


@pytest.mark.slow
def test_pictures_and_lines_agree(folder, tmp_path):
    about = made(folder, tmp_path / "out")
    found = rows(tmp_path / "out")
    assert len(found) == about.counts["pairs"] == about.counts["train"] + about.counts["held-out"] > 30
    for row in found:
        pixels = np.asarray(Image.open(folder / row["photo"]))
        box = pixel_box(*map(int, row["box"]))
        parent = decode_png((tmp_path / "out" / row["parent_file_name"]).read_bytes())
        assert np.array_equal(parent, resize(pixels, Size(64, 64), "lanczos", box))
        assert row["source_scale"] == 64 / (row["box"][2] - row["box"][0])
        assert hashlib.sha256((folder / row["photo"]).read_bytes()).hexdigest() == row["photo_sha256"]
    assert {row["source_scale"] for row in found} == {64 / 260, 64 / 130, 64 / 65}
    assert load(tmp_path / "out" / "contact.jpg").size.width > 1000
    assert len(read_pairs(tmp_path / "out").pairs) == len(found)


@pytest.mark.slow
def test_no_photo_is_in_both_splits(folder, tmp_path):
    settings = msgspec.structs.replace(SMALL, held_out=0.5)
    about = made(folder, tmp_path / "out", settings)
    splits = {(row["photo_sha256"], row["split"]) for row in rows(tmp_path / "out")}
    assert sorted(split for _, split in splits) == ["held-out", "held-out", "train", "train"]
    held_out = {photo.sha256 for photo in about.photos if photo.split == "held-out"}
    save(photo(9), folder / "one more.png")
    made(folder, tmp_path / "more", settings)
    later = {row["photo_sha256"] for row in rows(tmp_path / "more") if row["split"] == "held-out"}
    assert len(held_out & later) >= 1  # most stay what they were


@pytest.mark.slow
def test_a_small_share_holds_out_one_photo_of_several_and_none_of_one(folder, tmp_path):
    about = made(folder, tmp_path / "out", msgspec.structs.replace(SMALL, held_out=0.01))
    assert [photo.split for photo in about.photos].count("held-out") == 1
    assert made(folder / "train 0.png", tmp_path / "one").counts["held-out"] == 0


@pytest.mark.slow
def test_the_datasets_library_reads_two_pictures_a_row(folder, tmp_path, monkeypatch):
    """Also when photos have names that are splits to it: these are called "train 0.png" and so on."""
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    datasets = pytest.importorskip("datasets", reason="needs the extra [train]")
    made(folder, tmp_path / "out")
    read = datasets.load_dataset("imagefolder", data_dir=str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert list(read) == ["train"]
    lines = rows(tmp_path / "out")
    assert len(read["train"]) == len(lines)
    row = read["train"][3]
    assert (row["name"], row["split"], row["box"]) == tuple(lines[3][key] for key in ("name", "split", "box"))
    for key in ("parent", "zoomed"):
        stored = decode_png((tmp_path / "out" / lines[3][f"{key}_file_name"]).read_bytes())
        assert np.array_equal(np.asarray(row[key]), stored)


def test_flat_views_are_left_out_and_listed(tmp_path):
    pixels = photo(1)
    pixels[:, 150:] = 128  # no detail, and one grey
    rng = np.random.default_rng(0)
    pixels[:, 150:] += rng.integers(0, 4, (260, 150, 1), dtype=np.uint8)  # grain is no detail either
    file = save(pixels, tmp_path / "half.png")
    item = replace(read_data(file).items[0], spots=((60, 130), (225, 130)))
    settings = msgspec.structs.replace(SMALL, min_detail=1.0, min_entropy=1.5)
    about = make_pairs(Dataset(name="half", items=(item,)), tmp_path / "out", settings, load_backbone("bicubic"))
    assert {row["name"] for row in rows(tmp_path / "out")} == {f"half_{frame}px_1" for frame in (260, 130, 65)}
    flat = {each.name: each.value for each in about.filtered if each.why == "flat"}
    assert flat.keys() == {f"half_{frame}px_2" for frame in (260, 130, 65)}
    assert max(flat.values()) < 1.5


def test_flatness_is_that_of_the_window_by_gradient_and_by_histogram():
    def view(window: RGB8) -> PairView:
        return PairView(
            parent=window, zoomed=window, window=window, box=pixel_box(0, 0, 1, 1), zoomed_box=pixel_box(0, 0, 1, 1)
        )

    flat = view(np.full((32, 32, 3), 90, np.uint8))
    assert (flat.detail, flat.entropy) == (0, 0)
    ramp = view(np.broadcast_to(np.arange(0, 256, 8, dtype=np.uint8)[None, :, None], (32, 32, 3)).copy())
    assert ramp.detail == pytest.approx(8 / 2**0.5)  # 8 levels across, none down
    assert ramp.entropy == pytest.approx(5)  # 32 greys, each in a class of its own
    checks = view(np.where(np.indices((32, 32)).sum(axis=0)[..., None] % 2, 255, 0).astype(np.uint8).repeat(3, 2))
    assert (checks.detail, checks.entropy) == (255, 1)


@pytest.mark.slow
def test_repeated_views_are_left_out_across_photos_and_sizes(tmp_path):
    """The second file is the first, smaller and as a JPEG: other bytes, the same pictures."""
    pixels = photo(1, 512, 512)
    save(pixels, tmp_path / "p" / "a.png")
    Image.fromarray(pixels).resize((256, 256)).save(tmp_path / "p" / "b.jpg", quality=90)
    settings = msgspec.structs.replace(SMALL, spots=0)
    about = made(tmp_path / "p", tmp_path / "out", settings)
    repeated = [each for each in about.filtered if each.why == "duplicate"]
    assert {each.name: each.like for each in repeated} == {
        "b_256px_1": "a_512px_1",
        "b_128px_1": "a_256px_1",
        "b_64px_1": "a_128px_1",
    }
    lax = made(tmp_path / "p", tmp_path / "all", msgspec.structs.replace(settings, min_distance=0))
    assert lax.counts["duplicate"] == 0


@pytest.mark.slow
def test_the_same_file_twice_counts_once(folder, tmp_path):
    (folder / "copy.png").write_bytes((folder / "train 2.png").read_bytes())
    about = made(folder, tmp_path / "out")
    assert about.skipped == (("train 2.png", "the same photo as copy.png"),)
    assert len(about.photos) == 4


@pytest.mark.slow
def test_bad_photos_are_skipped_and_listed(folder, tmp_path):
    (folder / "cut.png").write_bytes((folder / "train 2.png").read_bytes()[:2000])
    (folder / "text.jpg").write_text("no picture")
    save(photo(3, 60, 300), folder / "low.png")
    about = made(folder, tmp_path / "out")
    why = dict(about.skipped)
    assert "damaged" in why["cut.png"]
    assert "not a picture" in why["text.jpg"]
    assert "300x60 px; accepted: a short side of 64" in why["low.png"]
    assert about.counts["skipped"] == 3


@pytest.mark.slow
def test_odd_names_of_photos(tmp_path):
    for number, name in enumerate(("a b.png", "a?b.png", "a_b.png", "train.png", "é" * 90 + ".png", "-.png")):
        save(photo(number), tmp_path / "p" / name)
    about = made(tmp_path / "p", tmp_path / "out", msgspec.structs.replace(SMALL, spots=1))
    names = [photo.name for photo in about.photos]
    assert len(set(names)) == 6 == len({row["photo_sha256"] for row in rows(tmp_path / "out")})
    assert {"a_b", "a_b-2", "a_b-3"} <= set(names)


@pytest.mark.slow
def test_some_parents_come_from_a_chain(folder, tmp_path):
    settings = msgspec.structs.replace(SMALL, chain_share=0.5, backbone="fake", min_detail=0, min_entropy=0)
    about = made(folder, tmp_path / "out", settings)
    found = rows(tmp_path / "out")
    assert 0.25 < about.counts["chain"] / about.counts["pairs"] < 0.75
    assert {row["depth"] for row in found} == {0, 1, 2}
    for row in found:
        assert (row["origin"] == "chain") == (row["depth"] > 0) == ("chain" in row["name"])
        data = (tmp_path / "out" / row["parent_file_name"]).read_bytes()
        assert (b"GENERATED by the model fake" in data) == (row["depth"] > 0)
        frame = int(row["name"].split("px_")[0].rsplit("_", 1)[1])
        assert row["box"][2] - row["box"][0] == pytest.approx(frame / 4 ** row["depth"])


@pytest.mark.slow
def test_a_backbone_of_another_factor_is_refused(folder, tmp_path, monkeypatch):
    backbone = load_backbone("fake")
    monkeypatch.setattr(backbone, "info", replace(backbone.info, factor=2))
    settings = msgspec.structs.replace(SMALL, chain_share=1.0, backbone="fake")
    with pytest.raises(UsageError, match="enlarges 2 times; accepted: a backbone of factor 4"):
        make_pairs(read_data(folder), tmp_path / "out", settings, backbone)


@pytest.mark.slow
def test_spots_of_a_manifest(folder, tmp_path):
    manifest = make_manifest(str(folder), folder / "set.json", spots=2)
    pinned = [msgspec.structs.replace(each, spots=((100 + i, 100),)) for i, each in enumerate(manifest.pictures)]
    (folder / "set.json").write_bytes(msgspec.structs.replace(manifest, pictures=tuple(pinned)).to_json())
    made(folder / "set.json", tmp_path / "out")
    for row in rows(tmp_path / "out"):
        centre = (row["zoomed_box"][0] + row["zoomed_box"][2]) / 2
        assert centre == pytest.approx(100 + int(row["photo"][6]), abs=2)


@pytest.mark.slow
def test_equal_settings_make_equal_bytes_and_the_seed_decides(folder, tmp_path):
    settings = msgspec.structs.replace(SMALL, chain_share=0.3, backbone="fake")
    for name in ("a", "b"):
        made(folder, tmp_path / name, settings)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    made(folder, tmp_path / "c", msgspec.structs.replace(settings, seed=1))
    assert rows(tmp_path / "a") != rows(tmp_path / "c")


@pytest.mark.slow
def test_a_second_run_does_nothing(folder, tmp_path, monkeypatch):
    first = made(folder, tmp_path / "out")
    times = {file: file.stat().st_mtime_ns for file in (tmp_path / "out").rglob("*")}
    monkeypatch.setattr(maker, "load", None)
    assert made(folder, tmp_path / "out") == first
    assert times == {file: file.stat().st_mtime_ns for file in (tmp_path / "out").rglob("*")}


@pytest.mark.slow
@pytest.mark.parametrize("stop", [1, 3])
def test_a_stopped_run_goes_on_and_ends_with_the_same_bytes(folder, tmp_path, monkeypatch, stop):
    settings = msgspec.structs.replace(SMALL, chain_share=0.3, backbone="fake", min_distance=20)
    made(folder, tmp_path / "whole", settings)
    loaded: list[str] = []

    def stopping(path: Path) -> Any:
        loaded.append(path.name)
        if len(loaded) == stop + 1:
            raise KeyboardInterrupt
        return load(path)

    monkeypatch.setattr(maker, "load", stopping)
    with pytest.raises(KeyboardInterrupt):
        made(folder, tmp_path / "out", settings)
    assert not (tmp_path / "out" / METADATA).exists()
    monkeypatch.setattr(maker, "load", lambda path: (loaded.append(path.name), load(path))[1])
    made(folder, tmp_path / "out", settings)
    assert len(loaded) == 5  # the stopped photo twice
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


@pytest.mark.slow
def test_lost_pictures_are_made_again(folder, tmp_path):
    made(folder, tmp_path / "out")
    before = contents(tmp_path / "out")
    next((tmp_path / "out" / "pictures").iterdir()).unlink()
    made(folder, tmp_path / "out")
    assert contents(tmp_path / "out") == before


@pytest.mark.slow
def test_a_row_from_elsewhere_shows_no_file_outside(folder, tmp_path):
    made(folder, tmp_path / "out")
    before = contents(tmp_path / "out")
    shutil.copy(next((tmp_path / "out" / "pictures").iterdir()), tmp_path / "secret.png")
    metadata = tmp_path / "out" / "metadata.jsonl"
    first, *rows = metadata.read_text().splitlines()
    first = json.dumps({**json.loads(first), "parent_file_name": "../secret.png"})
    metadata.write_text("\n".join([first, *rows]))
    made(folder, tmp_path / "out")
    assert contents(tmp_path / "out") == before


@pytest.mark.slow
def test_other_pairs_and_other_files_are_not_overwritten_unasked(folder, tmp_path):
    out = tmp_path / "out"
    made(folder, out)
    before = contents(out)
    other = msgspec.structs.replace(SMALL, seed=1)
    with pytest.raises(OccupiedError, match=r"holds other pairs: seed is 0, not 1;.*--force"):
        made(folder, out, other)
    save(photo(8), folder / "more.png")
    with pytest.raises(OccupiedError, match="4 photos"):
        made(folder, out)
    assert contents(out) == before
    (out / "notes.txt").write_text("mine")
    made(folder, out, other, force=True)
    made(folder, tmp_path / "fresh", other)
    (out / "notes.txt").unlink()
    assert contents(out) == contents(tmp_path / "fresh")
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / METADATA).write_text("theirs")
    with pytest.raises(OccupiedError, match="is there already"):
        made(folder, tmp_path / "theirs")
    assert (tmp_path / "theirs" / METADATA).read_text() == "theirs"


def test_nothing_left_says_what_became_of_the_views(tmp_path):
    save(np.full((200, 200, 3), 90, np.uint8), tmp_path / "grey.png")
    with pytest.raises(BadInputError, match=r"no pair is left of 1 photos \(\d+ flat, 0 duplicate.*--min-detail"):
        made(tmp_path / "grey.png", tmp_path / "out")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("side", 66),
        ("side", 32),
        ("chain_share", 1.1),
        ("chain_depth", 0),
        ("held_out", 1.0),
        ("held_out", float("nan")),
    ]
    + [("min_detail", -1.0), ("min_entropy", 7.0), ("min_distance", 65)],
)
def test_numbers_that_make_no_sense(folder, tmp_path, field, value):
    with pytest.raises(UsageError, match=f"--{field.replace('_', '-')} .*accepted"):
        made(folder, tmp_path / "out", msgspec.structs.replace(SMALL, **{field: value}))


@pytest.mark.slow
def test_real_photos(tmp_path, monkeypatch):
    """Two real ones: sky and blur are left out, what is kept has detail; and the astronaut, whose short side is 512."""
    monkeypatch.setattr(spots, "CELL", 512)
    paths = {**photos.SETS["photos"], **photos.SETS["more-photos"]}
    files = [Path(paths[name]) for name in ("LadyBird", "Aqua")]
    if not all(file.is_file() for file in files):
        pytest.skip(f"no photos; {photos.COMMAND}")
    (tmp_path / "p").mkdir()
    for file in (*files, PHOTO):
        (tmp_path / "p" / file.name).symlink_to(file)
    about = make_pairs(read_data(tmp_path / "p"), tmp_path / "out", PairSettings(), load_backbone("bicubic"))
    assert about.counts["pairs"] >= 8
    assert about.counts["flat"] >= 3
    found = rows(tmp_path / "out")
    assert [row["name"] for row in found if row["photo"] == "astronaut.png"] == ["astronaut_512px_1"]
    assert {row["source_scale"] for row in found} == {512 / 1600, 512 / 800, 1.0}
    for row in found:
        zoomed = decode_png((tmp_path / "out" / row["zoomed_file_name"]).read_bytes())
        assert zoomed.std() > 5
