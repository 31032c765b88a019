"""Kills batches and explorers, many a second: forks a process that has imported everything, and kills the fork.

python kills.py random COUNT SEED [TOGETHER] | every LAYOUT [TOGETHER] | tiles COUNT SEED
Run as a process of its own, since only one without threads may fork.
"""

from __future__ import annotations

import io
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from batch_files import check_unfinished, contents, save

from chain_of_zoom.backbones import fake  # noqa: F401 - everything that a batch imports, before the forks
from chain_of_zoom.batch import index  # noqa: F401
from chain_of_zoom.batch import together as _together  # noqa: F401
from chain_of_zoom.batch.many import zoom_many
from chain_of_zoom.chain import sheet as _  # noqa: F401
from chain_of_zoom.imaging import sheet
from chain_of_zoom.prompters import fixed  # noqa: F401

KILLED = 9


def batch(folder: Path, out: Path, **settings: Any) -> None:
    """One photo and one that is broken."""
    for outcome in zoom_many([folder / "a.png", folder / "broken.png"], out=out, backbone="fake", **settings):
        assert outcome.error is None or "broken" in str(outcome.error)


def photos(folder: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    save(pixels, folder / "a.png")
    (folder / "broken.png").write_bytes((folder / "a.png").read_bytes()[:600])
    batch(folder, folder / "warm", size=(24, 16), magnification=4)  # fonts, templates and versions are read once


def fork(work: Callable[[], None]) -> int:
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


def ended(pid: int) -> int:
    """How a process ended: its exit code, or minus the signal."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def at_random(scratch: Path, count: int, seed: int, together: int = 1) -> None:
    """Kill at random moments, and go on from where the kill left off until it is complete; then from nothing again."""

    def work(name: str) -> int:
        settings = {"size": (24, 16), "at": [(0.3, 0.5), (0.7, 0.5)], "magnification": 16, "together": together}
        return fork(lambda: batch(scratch, scratch / name, **settings))

    started = time.perf_counter()
    assert ended(work("whole")) == 0
    span = time.perf_counter() - started
    whole, pictures = contents(scratch / "whole"), len(list((scratch / "whole").rglob("*.png")))
    out, chance = scratch / "out", random.Random(seed)
    kills = completed = early = 0
    while kills < count:
        pid = work("out")
        time.sleep(chance.uniform(0, span))
        os.kill(pid, signal.SIGKILL)
        if ended(pid) == 0:  # it was faster
            assert contents(out) == whole
            completed += 1
            shutil.rmtree(out)
            continue
        kills += 1
        early += len(list(out.rglob("*.png"))) < pictures
        check_unfinished(out, whole)
    assert ended(work("out")) == 0
    assert contents(out) == whole
    print(f"{kills} kills, {early} of them before the last picture, {completed} times complete in between")
    assert early > count / 4, "most kills came too late to show anything"


def at_every_step(scratch: Path, layout: str, together: int = 1) -> None:
    """Kill before the n-th change to the file system, for every n, and half-way through every file."""

    def work(name: str, step: int = 0) -> int:
        def run() -> None:
            _die_at(step)
            batch(scratch, scratch / name, size=(24, 16), magnification=4, layout=layout, together=together)

        return fork(run)

    assert ended(work("whole")) == 0
    whole, out, step = contents(scratch / "whole"), scratch / "out", 1
    while (code := ended(work("out", step))) != 0:
        assert code == KILLED, code
        check_unfinished(out, whole)
        assert ended(work("out")) == 0
        assert contents(out) == whole, f"another result after a kill at step {step}"
        shutil.rmtree(out)
        step += 1
    print(f"killed at each of {step - 1} steps")
    assert step > 4 * len(whole), "a file takes at least open, write, sync and rename"


def tiles_at_random(scratch: Path, count: int, seed: int) -> None:
    """Kill what makes tiles of the explorer; after every kill each is whole, and the next one goes on from there."""
    from explorer.sessions import SmallTiles, opened_session, photo_pixels

    from chain_of_zoom.explorer.grid import SightRect
    from chain_of_zoom.imaging.images import decode_png

    def work(name: str) -> int:
        def make() -> None:
            with opened_session(scratch / name, photo_pixels(40, 30), SmallTiles()) as session:
                (photo,) = session.photos.values()
                session.look(session.join(lambda event: None), session.plant(photo), 2, SightRect(0, 0, 1, 1))
                while session.count_waiting():
                    time.sleep(0.01)

        return fork(make)

    def read_tiles(name: str) -> dict[str, bytes]:
        return {path.stem: path.read_bytes() for path in (scratch / name).rglob("*.png")}

    started = time.perf_counter()
    assert ended(work("whole")) == 0
    span, whole = time.perf_counter() - started, read_tiles("whole")
    assert all(decode_png(data).shape[2] == 3 for data in whole.values())
    out, chance = scratch / "tiles", random.Random(seed)
    kills = early = 0
    while kills < count:
        before = len(read_tiles("tiles"))
        pid = work("tiles")
        time.sleep(chance.uniform(0, span))
        os.kill(pid, signal.SIGKILL)
        code, tiles = ended(pid), read_tiles("tiles")
        assert tiles.items() <= whole.items(), "a tile is broken, or another one than without kills"
        assert len(tiles) >= before, "a tile that was there is gone"
        kills += code != 0
        early += len(tiles) < len(whole)
        if len(tiles) == len(whole):
            shutil.rmtree(out)
    assert ended(work("tiles")) == 0
    assert read_tiles("tiles") == whole
    print(f"{kills} kills, {early} of them before the last of {len(whole)} tiles")
    assert early > count / 2, "most kills came too late to show anything"


def _die_at(step: int) -> None:
    left = step

    def tick() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os._exit(KILLED)

    def before(module: Any, name: str) -> None:
        real = getattr(module, name)

        def call(*args: Any, **options: Any) -> Any:
            tick()
            return real(*args, **options)

        setattr(module, name, call)

    class Torn(io.FileIO):
        """Writes half, may die, and writes the rest."""

        def write(self, data: Any) -> int:
            super().write(data[: len(data) // 2])
            tick()
            super().write(data[len(data) // 2 :])
            return len(data)

    real_open = io.open

    def opened(file: Any, mode: str = "r", *args: Any, **options: Any) -> Any:
        if "x" not in mode:
            return real_open(file, mode, *args, **options)
        tick()
        assert mode in ("xb", "x+b")
        return Torn(file, mode.replace("b", ""))

    io.open = opened  # type: ignore[assignment]
    for name in ("fsync", "replace", "rename", "mkdir", "unlink"):
        before(os, name)


if __name__ == "__main__":
    # Small sheets in memory: these are about files and the order of writing them, not about drawing or a disk's speed.
    sheet.CELL = 96
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as name:
        photos(Path(name))
        if sys.argv[1] == "random":
            at_random(Path(name), *map(int, sys.argv[2:]))
        elif sys.argv[1] == "tiles":
            tiles_at_random(Path(name), *map(int, sys.argv[2:]))
        else:
            at_every_step(Path(name), sys.argv[2], *map(int, sys.argv[3:]))
