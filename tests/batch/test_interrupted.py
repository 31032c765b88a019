"""Kills and full disks: what is there is whole, and going on ends in the same bytes."""

from __future__ import annotations

import errno
import io
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from batch_files import check_unfinished, contents, save
from conftest import PHOTO, ROOT, Coz, noise

from chain_of_zoom import OccupiedError, OutputError, zoom, zoom_many
from chain_of_zoom.backbones.fake import Fake
from chain_of_zoom.batch.summary import Summary
from chain_of_zoom.imaging import sheet
from chain_of_zoom.runs.lock import lock_folder

pytestmark = [pytest.mark.torch, pytest.mark.slow]


TINY = {"backbone": "fake", "size": (24, 16)}


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.parametrize(
    ("args", "says"),
    [(["random", "100", "7"], "100 kills"), (["every", "default"], "killed at each"), (["every", "published"], "each")],
    ids=["at 100 random moments", "at every step", "at every step, published folders"],
)
def test_a_batch_that_is_killed_and_goes_on_ends_in_the_same_bytes(args: list[str], says: str) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("COVERAGE")}  # slow, and lost
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, ROOT / "tests" / "kills.py", *args],
        env=environment, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert says in done.stdout


@pytest.fixture(autouse=True)
def small_sheets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing is most of the time otherwise, and not what these are about."""
    monkeypatch.setattr(sheet, "CELL", 96)


Limit = Callable[[int | None], None]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[tuple[Path, Limit]]:
    """A file system of its own and how to set its size in bytes (None: plenty), where one may be mounted."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(disk)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("may not mount a file system")

    def limit(size: int | None) -> None:
        subprocess.run(["mount", "-o", f"remount,size={size or 64_000_000}", str(disk)], check=True)

    yield disk, limit
    subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    return [save(noise(32, 48, seed), tmp_path / "photos" / f"{seed}.png") for seed in range(2)]


@pytest.fixture
def whole(tmp_path: Path, photos: list[Path]) -> dict[str, object]:
    run(photos, tmp_path / "whole" / "out")
    return contents(tmp_path / "whole" / "out")


def run(photos: list[Path], out: Path) -> None:
    assert [outcome.error for outcome in zoom_many(photos, out=out, magnification=6, **TINY)] == [None, None]


def check_full(run: Callable[[], None], out: Path, whole: dict[str, object], refill: Callable[[], None]) -> None:
    """The disk is full: one error and nothing half; with space again it goes on to the same end."""
    with pytest.raises(OutputError, match="No space left on device"):
        run()
    assert not list(out.rglob("*.tmp"))
    check_unfinished(out, whole)
    refill()
    run()
    assert contents(out) == whole
    shutil.rmtree(out)


@pytest.mark.slow
def test_a_full_disk(small_disk: tuple[Path, Limit], photos: list[Path], whole: dict[str, object]) -> None:
    disk, limit = small_disk
    run(photos, disk / "out")
    pages = sum(-(-file.stat().st_size // 4096) for file in (disk / "out").rglob("*") if file.is_file())
    shutil.rmtree(disk / "out")
    for tenth in range(10):
        limit(4096 * (1 + pages * tenth // 10))
        check_full(lambda: run(photos, disk / "out"), disk / "out", whole, lambda: limit(None))


@pytest.mark.slow
def test_a_disk_that_fills_up_within_a_write(
    tmp_path: Path, photos: list[Path], whole: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same where nothing may be mounted: half a write succeeds, as on a real disk."""
    total = sum(len(data) for data in whole.values() if isinstance(data, bytes))
    real_open, left = io.open, 0

    class Disk(io.FileIO):
        def write(self, data: bytes) -> int:  # type: ignore[override]
            nonlocal left
            left -= super().write(data[: max(0, left)])
            if left <= 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return len(data)

    def opened(file: Any, mode: str = "r", *args: Any, **options: Any) -> Any:
        return Disk(file, "x") if "x" in mode else real_open(file, mode, *args, **options)

    def refill() -> None:
        nonlocal left
        left = 10**9

    monkeypatch.setattr(io, "open", opened)
    for tenth in range(10):
        left = total * tenth // 10
        check_full(lambda: run(photos, tmp_path / "here" / "out"), tmp_path / "here" / "out", whole, refill)


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_complete_and_says_what_waits(
    tmp_path: Path, photos: list[Path], whole: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, real = tmp_path / "here" / "out", Fake._enlarge
    calls = 0

    def interrupted(self: Fake, *args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        return real(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Fake, "_enlarge", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(photos, out)
    assert [run.status for run in Summary.from_json((out / "summary.json").read_bytes()).runs] == ["done", "waiting"]
    page = (out / "index.html").read_text()
    assert "1 waiting" in page
    assert "reload" not in page
    check_unfinished(out, whole)
    run(photos, out)
    assert contents(out) == whole


def start_batch(folder: Path) -> subprocess.Popen[str]:
    """A batch of two zooms in a process of its own, which has written the second state of the first by now."""
    command = [sys.executable, "-m", "chain_of_zoom", "zoom", PHOTO, "--at", "0.4,0.2", "--at", "0.6,0.6", "-q"]
    command += ["--zoom", "128", "--size", "256x256", "--backbone", "animevideo", "-o", "out"]
    process = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)
    while not (folder / "out" / "astronaut" / "01_2x.png").exists():
        assert process.poll() is None
        time.sleep(0.005)
    return process


@pytest.mark.slow
def test_a_batch_process_that_is_interrupted_ends_with_130(tmp_path: Path) -> None:
    process = start_batch(tmp_path)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (
        130,
        "error: interrupted; complete states are kept: run the same command again to go on\n",
    )
    assert not Summary.from_json((tmp_path / "out" / "summary.json").read_bytes()).complete


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no locks on folders")
def test_one_process_at_a_time(tmp_path: Path, photos: list[Path]) -> None:
    release = lock_folder(small_sheets, tmp_path)
    with pytest.raises(OccupiedError, match="another process is writing"):
        zoom(photos[0], out=tmp_path, **TINY)
    with pytest.raises(OccupiedError, match="another process is writing"):
        run(photos, tmp_path)
    assert not (tmp_path / "record.json").exists()
    release()
    zoom(photos[0], out=tmp_path / "a", **TINY)
    run(photos, tmp_path / "a")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no locks on folders")
def test_a_second_process_is_refused_at_once_and_the_first_goes_on(tmp_path: Path, coz: Coz) -> None:
    process = start_batch(tmp_path)
    process.send_signal(signal.SIGSTOP)  # so that it cannot end before the second is there
    done = coz("zoom", PHOTO, ROOT / "examples", "--backbone", "fake", "-o", "out")
    assert (done.returncode, done.stdout) == (4, "")
    assert "error: another process is writing to out; wait for it to end" in done.stderr
    done = coz("zoom", PHOTO, "--backbone", "fake", "-o", "out/astronaut")
    assert (done.returncode, done.stdout) == (4, "")
    process.send_signal(signal.SIGCONT)
    assert process.communicate(timeout=60)[1] == ""
    assert process.returncode == 0
    assert Summary.from_json((tmp_path / "out" / "summary.json").read_bytes()).done == 2
