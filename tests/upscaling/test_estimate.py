from __future__ import annotations

import shutil
from collections import namedtuple

import numpy as np
import pytest
from PIL import Image

from chain_of_zoom import upscale
from chain_of_zoom.api import ChainOfZoom
from chain_of_zoom.errors import OutputError
from chain_of_zoom.imaging.decode import decode
from chain_of_zoom.upscaling.estimate import disk_needed, estimate
from chain_of_zoom.upscaling.job import prepare
from chain_of_zoom.upscaling.request import UpscaleRequest
from upscaling.doubles import Double, picture


def job(tmp_path, suffix="png", scale=4.0, backbone=None, photo=None):
    Image.fromarray(picture(120, 160) if photo is None else photo).save(tmp_path / "photo.png")
    chain = ChainOfZoom(backbone or Double())
    return prepare(decode(tmp_path / "photo.png"), UpscaleRequest(scale=scale), chain, tmp_path / f"a.{suffix}")


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif", "dzi"])
def test_an_estimate_is_near_what_comes_out(tmp_path, suffix):
    planned = job(tmp_path, suffix)
    found = estimate(planned)
    record = upscale(planned.photo, 4, out=tmp_path / f"a.{suffix}", backbone=Double()).record
    assert found.size == record.output.size == (640, 480)
    assert found.tiles == record.steps[0].tiles
    assert found.steps == 1
    assert found.seconds > 0
    assert found.memory is None or 30e6 < found.memory < 10e9
    assert found.free > found.disk > found.output_bytes
    assert 0.4 < found.output_bytes / record.output.bytes < 2.5  # by one tile of thirty


def test_nothing_is_left_behind_by_an_estimate(tmp_path):
    backbone = Double()
    estimate(job(tmp_path, backbone=backbone))
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]
    assert len(backbone.shapes) == 2  # a small one to warm up, and the probe


def test_a_disk_that_cannot_hold_it_is_said_before_anything_is_computed(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9 - 10**6, 10**6))
    backbone = Double()
    with pytest.raises(
        OutputError, match=r"640x480 pixels need 2.9 MB of disk, and 1 MB are free in .*; accepted: a sm"
    ):
        estimate(job(tmp_path, backbone=backbone))
    with pytest.raises(OutputError, match="of disk"):
        upscale(picture(120, 160), 4, out=tmp_path / "new" / "a.png", backbone=backbone)
    with pytest.raises(OutputError, match="of disk"):
        upscale(picture(120, 160), 4, backbone=backbone)
    assert not backbone.shapes
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["png", "tif", "dzi", "jpg"])
def test_no_run_takes_more_disk_than_was_said(tmp_path, suffix, monkeypatch):
    from chain_of_zoom.upscaling.folder import UpscaleFolder

    photo = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)  # noise: nothing is larger
    planned = job(tmp_path, suffix, 8.0, photo=photo)
    taken: list[int] = []
    close = UpscaleFolder.finish

    def measured(folder, record):
        taken.append(sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()))
        return close(folder, record)

    monkeypatch.setattr(UpscaleFolder, "finish", measured)
    upscale(planned.photo, 8, out=planned.out, backbone=Double())
    photo_bytes = (tmp_path / "photo.png").stat().st_size
    extras = 500_000 if suffix == "dzi" else 0  # the viewer in the page
    assert taken[0] - photo_bytes <= disk_needed(planned) + extras
