"""Chains that workers of `cluster.py` build: they import this by its name."""

from __future__ import annotations

import time

from chain_of_zoom.api import ChainOfZoom
from chain_of_zoom.backbones.fake import Fake
from chain_of_zoom.imaging import sheet
from chain_of_zoom.imaging.images import RGB8, RGBF

sheet.CELL = 96


class Sleeper(Fake):
    """The fake backbone, which takes a second for a pass and no processor."""

    def _enlarge(self, windows: list[RGB8], prompts: list[str], seeds: list[int]) -> list[RGBF]:
        time.sleep(1.0)
        return super()._enlarge(windows, prompts, seeds)


def build_sleeper() -> ChainOfZoom:
    return ChainOfZoom(Sleeper())


def build_fake() -> ChainOfZoom:
    return ChainOfZoom("fake")


def build_model() -> ChainOfZoom:
    return ChainOfZoom("animevideo")
