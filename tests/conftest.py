"""What the tests share: one real photo, small made-up pictures, and the command line as a user calls it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:  # workers fill the cores; threads of each would wait for those of the others
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import pytest
from cluster.small import cluster  # noqa: F401 - a fixture
from hypothesis import settings
from playwright.sync_api import Browser, sync_playwright

from chain_of_zoom.imaging.images import RGB8, load

signal.signal(signal.SIGINT, signal.default_int_handler)  # jobs in the background ignore it, and what they start, too

# The suite says the same of the same code every time; `HYPOTHESIS_PROFILE=explore pytest` looks for new cases.
settings.register_profile("suite", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))

ROOT = Path(__file__).parents[1]
PHOTO = ROOT / "examples" / "astronaut.png"
PARITY = ROOT / "tests" / "data" / "parity"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave modules of slow tests unread when slow tests are not wanted: to import torch for them costs 20 seconds."""
    if "not slow" in config.option.markexpr and collection_path.suffix == ".py":
        return "\npytestmark = [pytest.mark.torch, pytest.mark.slow]\n" in collection_path.read_text("utf-8") or None
    return None


@dataclass(frozen=True)
class Done:
    """What a command left: exit code and what it printed."""

    returncode: int
    stdout: str
    stderr: str


Coz = Callable[..., Done]


@pytest.fixture(scope="session")
def astronaut() -> RGB8:
    return load(PHOTO).pixels


@pytest.fixture
def coz(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Coz:
    """Run `coz` through its own `main`, in an empty folder."""
    from chain_of_zoom.cli.app import main

    monkeypatch.chdir(tmp_path)

    def run(*args: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["coz", *map(str, args)])
        with pytest.raises(SystemExit) as end:
            main()
        return Done(int(end.value.code or 0), *capsys.readouterr())

    return run


@pytest.fixture
def coz_process(tmp_path: Path) -> Coz:
    """Run `coz` in a process of its own, in an empty folder."""

    def run(*args: object) -> Done:
        command = [sys.executable, "-m", "chain_of_zoom", *map(str, args)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
        return Done(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="module")  # its event loop is in the way of tests that run one of their own
def browser() -> Iterator[Browser]:
    """A headless Chromium, for pages: `browser.new_page()`; Debian's, or the one $CHROMIUM names."""
    path = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if not path:
        stop = pytest.fail if "CI" in os.environ else pytest.skip  # CI installs it, so that no page goes unseen
        stop("no chromium; apt-get install chromium, or set CHROMIUM")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--allow-file-access"])
        yield chromium
        chromium.close()


def noise(height: int, width: int, seed: int = 0) -> RGB8:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def invoke(*args: object) -> str:
    """What `coz` prints when run in this process (torch loads once); its error is raised."""
    from typer.testing import CliRunner

    from chain_of_zoom.cli.app import app

    result = CliRunner().invoke(app, [str(arg) for arg in args])
    if result.exception:
        raise result.exception
    return result.stdout
