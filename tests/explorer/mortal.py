"""A backbone that takes its process along, for tests of workers, which import this and little else."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace

from chain_of_zoom.api import ChainOfZoom
from chain_of_zoom.backbones.fake import Fake
from chain_of_zoom.errors import ShortageError
from chain_of_zoom.imaging.images import RGB8, RGBF


class Mortal(Fake):
    """The fake backbone with small tiles, which the corner of a window tells what to do."""

    info = replace(Fake.info, max_pixels=32 * 32, halo=4, text_aware=False, seeded=False)  # no tile needs another

    def _enlarge(self, windows: list[RGB8], prompts: list[str], seeds: list[int]) -> list[RGBF]:
        corner = tuple(windows[0][0, 0])
        if corner == (255, 255, 255):
            os.kill(os.getpid(), signal.SIGKILL)
        if corner == (255, 0, 0):
            raise ShortageError("no room for this; choose another --backbone")
        if corner == (0, 255, 0):
            time.sleep(60)
        if corner == (0, 0, 255):
            raise ZeroDivisionError("a fault of the network")
        return super()._enlarge(windows, prompts, seeds)


def build() -> ChainOfZoom:
    return ChainOfZoom(Mortal())
