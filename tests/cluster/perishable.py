"""A backbone that takes its process along, for tests on a cluster, whose workers import this."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from chain_of_zoom.api import ChainOfZoom
from chain_of_zoom.backbones.fake import Fake
from chain_of_zoom.imaging.images import RGB8, RGBF

ONCE, ALWAYS = 500, 600
"""Seeds from which on a process dies the first time, and every time."""


class Perishable(Fake):
    """The fake backbone, which dies for some seeds."""

    def __init__(self, home: str) -> None:
        super().__init__()
        self.home = Path(home)

    def _enlarge(self, windows: list[RGB8], prompts: list[str], seeds: list[int]) -> list[RGBF]:
        grave = self.home / f"died for {seeds[0] // 100}"
        if seeds[0] >= ALWAYS or (seeds[0] >= ONCE and not grave.exists()):
            grave.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super()._enlarge(windows, prompts, seeds)


def build(home: str) -> ChainOfZoom:
    return ChainOfZoom(Perishable(home))


def read_pid(chain: ChainOfZoom) -> int:
    return os.getpid()
