"""A cluster that a command begins for itself, and Ctrl-C."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from batch_files import save
from conftest import noise
from explorer.sessions import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.filterwarnings("ignore")]

ZOOM = ("--backbone", "fake", "--size", "24x16", "--zoom", "16", "--quiet")


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder for Ray with a name short enough for its sockets; whatever is at work in it is ended."""
    folder = Path(tempfile.mkdtemp(prefix="cz", dir="/tmp"))
    yield folder
    for pid in list_processes(folder):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)


def list_processes(home: Path) -> list[int]:
    """List the processes, but for zombies, that have the folder in their environment."""
    pids = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if f"COZ_TEST_HOME={home}".encode() in (process / "environ").read_bytes():
                pids.append(int(process.name))
    return pids


def settle(home: Path) -> dict[str, str]:
    """The environment of a command that knows no other cluster of this machine."""
    ours = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    return {**ours, "COZ_TEST_HOME": str(home), "RAY_TMPDIR": str(home), "RAY_USAGE_STATS_ENABLED": "0"}


def test_ctrl_c_ends_everything_and_what_is_finished_stays(home, tmp_path):
    """The terminal sends it to the whole group of processes."""
    for number in range(100):
        save(noise(32, 48, number % 3), tmp_path / "photos" / f"{number:03}.png")
    command = [sys.executable, "-m", "chain_of_zoom", "zoom", "photos", "-o", "zooms", *ZOOM]
    with subprocess.Popen(
        [*command, "--on", "ray", "--workers", "1"],
        cwd=tmp_path, env=settle(home), stderr=subprocess.PIPE, text=True, start_new_session=True,
    ) as process:  # fmt: skip
        wait_for(lambda: process.poll() is not None or len(list(tmp_path.glob("zooms/*/sheet.png"))) > 3, 120)
        os.killpg(process.pid, signal.SIGINT)
        _, message = process.communicate(timeout=60)
    assert process.returncode == 130, message
    assert "Traceback" not in message
    wait_for(lambda: not list_processes(home), 30)
    summary = json.loads((tmp_path / "zooms" / "summary.json").read_bytes())
    assert 3 <= summary["done"] < 100
    assert summary["failed"] == 0
    records = [json.loads(path.read_bytes()) for path in tmp_path.glob("zooms/*/record.json")]
    assert sum(record["complete"] for record in records) >= summary["done"]
    assert not list(tmp_path.rglob("*.tmp"))
