"""Training runs in processes of their own: one killed in its middle, and two that share the work.

python runs.py PICTURES FOLDER
A process of its own, since only one without threads may fork; everything is imported once, before.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.utils.tensorboard
from diffusers import AutoencoderKL, SD3Transformer2DModel, StableDiffusion3Pipeline  # noqa: F401
from transformers import CLIPTextModelWithProjection, CLIPTokenizer, T5EncoderModel, T5Tokenizer  # noqa: F401

from chain_of_zoom.distillation.settings import Settings, read_settings
from chain_of_zoom.distillation.trainer import Trainer

TINY = Path(__file__).parents[1] / "data" / "parity" / "tiny_sd3"


def settings(pictures: Path, **tables: dict[str, Any]) -> Settings:
    """A short run on tiny weights; `tables` go on top."""
    tiny: dict[str, dict[str, Any]] = {
        "data": {"source": str(pictures), "size": 64, "workers": 0},
        "model": {"base": str(TINY), "t5_tokens": 16, "checkpointing": False},
        "losses": {"network": "none"},
        "optimizer": {"lr": 1e-3, "batch": 2, "accumulate": 1},
        "run": {"steps": 8, "save": 3, "sheet": 100, "device": "cpu"},
    }
    return read_settings(tiny, tables)


def losses(folder: Path) -> list[str]:
    """The lines of losses.csv, without the header."""
    path = folder / "losses.csv"
    return path.read_text().splitlines()[1:] if path.exists() else []


def fork(work: Callable[[], object]) -> int:
    """Start `work` in a process of its own."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    return pid


def train(pictures: Path, folder: Path, stop: int | None = None, **tables: dict[str, Any]) -> None:
    """Train; with `stop`, hang after that step."""

    def on_step(step: int, steps: int, found: object) -> None:
        while step == stop:
            time.sleep(1)

    Trainer(settings(pictures, **tables), folder, say=lambda line: None).run(on_step)


def killed(pictures: Path, folder: Path) -> None:
    """Killed after the fifth step, two steps after a checkpoint."""
    pid = fork(lambda: train(pictures, folder, stop=5))
    while len(losses(folder)) < 5:
        assert os.waitpid(pid, os.WNOHANG) == (0, 0), "it ended by itself"
        time.sleep(0.05)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def shared(pictures: Path, folder: Path) -> None:
    """Two processes with a picture each."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]

    def work(rank: int) -> None:
        os.environ |= {
            "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2",
            "MASTER_ADDR": "localhost", "MASTER_PORT": str(port), "ACCELERATE_USE_CPU": "true",
        }  # fmt: skip
        train(pictures, folder, optimizer={"batch": 1}, run={"steps": 3})

    pids = [fork(lambda rank=rank: work(rank)) for rank in (0, 1)]
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids] == [0, 0]


if __name__ == "__main__":
    torch.set_num_threads(1)
    killed(Path(sys.argv[1]), Path(sys.argv[2]) / "killed")
    shared(Path(sys.argv[1]), Path(sys.argv[2]) / "shared")
