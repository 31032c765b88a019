"""Killed at any moment, a run goes on where it was and ends with the same bytes."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
import warnings
from pathlib import Path

import pytest

from chain_of_zoom import upscale
from chain_of_zoom.errors import OutputError
from upscaling.doubles import Double, picture

SCALE = 12  # two steps, the last one reduced by area
TILE = 40
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")


def enlarge(out: Path, backbone=None, on_progress=None):
    return upscale(
        picture(40, 50), SCALE, out=out, backbone=backbone or Double(), tile=TILE, on_progress=on_progress
    ).record


def start(out: Path) -> tuple[int, int]:
    """A run in a child of this process, everything imported; and a pipe with a byte for every tile it finishes."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python 3.12 warns of threads, of which the child uses none
        child = os.fork()
    if child:
        os.close(writer)
        return child, reader
    try:
        enlarge(out, on_progress=lambda progress: os.write(writer, b"." if progress.stage == "tiles" else b"w"))
    finally:
        sys.stderr.flush()
        os._exit(0)


@pytest.mark.slow
def test_twenty_kills_at_random_moments(tmp_path):
    began = time.perf_counter()
    record = enlarge(tmp_path / "whole.png")
    long = time.perf_counter() - began
    expected = (tmp_path / "whole.png").read_bytes()
    tiles = sum(step.tiles for step in record.steps)
    assert tiles > 20
    moments = random.Random(0)
    stages = set()
    for number in range(20):
        out = tmp_path / f"{number}" / "a.png"
        child, pipe = start(out)
        time.sleep(long * moments.random() * 1.1)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        with open(pipe, "rb") as told:  # noqa: PTH123 - a descriptor, not a path
            heard = told.read()
        finished = max(heard.count(b".") - len(record.steps), 0)  # each step begins by telling how many there are
        stages.add("done" if (out.parent / "a.png.json").exists() else "writing" if b"w" in heard else "tiles")
        backbone = Double()
        again = enlarge(out, backbone)
        assert out.read_bytes() == expected
        assert again.output.sha256 == record.output.sha256
        if again.complete and backbone.shapes:
            assert len(backbone.shapes) <= tiles - finished
            assert sum(step.kept for step in again.steps) == tiles - len(backbone.shapes)
        assert sorted(path.name for path in out.parent.iterdir()) == ["a.png", "a.png.json"]
    assert "tiles" in stages


@pytest.mark.slow
def test_a_kill_before_its_record_is_whole(tmp_path):
    (tmp_path / "a.png.work").mkdir()
    (tmp_path / "a.png.work" / ".0123456789abcdef.coz.tmp").write_bytes(b"{")
    assert enlarge(tmp_path / "a.png").complete
    assert not (tmp_path / "a.png.work").exists()


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["png", "dzi", "tif"])
def test_a_kill_between_the_output_and_its_record(tmp_path, suffix, monkeypatch):
    from chain_of_zoom.upscaling.folder import UpscaleFolder

    out = tmp_path / f"a.{suffix}"
    with monkeypatch.context() as patch:
        patch.setattr(UpscaleFolder, "finish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            enlarge(out)
    data = out.read_bytes()
    backbone = Double()
    enlarge(out, backbone)
    assert not backbone.shapes
    assert suffix == "tif" or out.read_bytes() == data  # libvips writes the tiles of a TIFF in any order


@pytest.mark.slow
def test_an_interrupted_network_goes_on_to_the_same_bytes(astronaut, tmp_path):
    def stop(progress):
        if progress.done == 2:
            raise KeyboardInterrupt

    photo = astronaut[100:160, 100:190]
    settings = {"backbone": "animevideo", "tile": 64}
    with pytest.raises(KeyboardInterrupt):
        upscale(photo, 3, out=tmp_path / "a.png", on_progress=stop, **settings)
    record = upscale(photo, 3, out=tmp_path / "a.png", **settings).record
    upscale(photo, 3, out=tmp_path / "b.png", **settings)
    assert record.steps[0].kept == 2
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["png", "jpg", "dzi"])
def test_ctrl_c_while_writing_leaves_no_half_output(tmp_path, suffix):
    def stop(progress):
        if progress.stage == "writing":
            raise KeyboardInterrupt

    out = tmp_path / f"a.{suffix}"
    with pytest.raises(KeyboardInterrupt):
        enlarge(out, on_progress=stop)
    assert [path.name for path in tmp_path.iterdir()] == [f"{out.name}.work"]
    backbone = Double()
    assert enlarge(out, backbone).complete
    assert not backbone.shapes


@pytest.mark.slow
def test_a_disk_that_fills_up_while_writing_is_said(tmp_path, monkeypatch):
    from chain_of_zoom.upscaling import writers

    def full(*_, **__):
        raise OSError(28, "No space left on device")
        yield

    monkeypatch.setattr(writers, "stream_png", full)
    for name in ("a.png", "a.jpg"):
        with pytest.raises(OutputError, match=r"No space left on device"):
            enlarge(tmp_path / name)
        assert not (tmp_path / name).exists()
