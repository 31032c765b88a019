"""What the tests share: one real photo, small made-up pictures, and the command line as a user calls it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from chain_of_zoom.imaging.images import RGB8, load

ROOT = Path(__file__).parents[1]
PHOTO = ROOT / "examples" / "astronaut.png"
PARITY = ROOT.parent / "shared" / "parity"

Coz = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def astronaut() -> RGB8:
    return load(PHOTO).pixels


@pytest.fixture
def coz(tmp_path: Path) -> Coz:
    """Run `coz` in a process of its own, in an empty folder."""

    def run(*args: object, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "chain_of_zoom", *map(str, args)],
            cwd=tmp_path,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


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
