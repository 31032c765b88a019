"""Tiles that are wanted at the same moment: one pass, and each on its own where that fails."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from explorer.sessions import photo_pixels

from chain_of_zoom.api import ChainOfZoom
from chain_of_zoom.backbones.base import WindowPlace
from chain_of_zoom.chain.restraint import Restraint
from chain_of_zoom.errors import BackboneError, ShortageError
from chain_of_zoom.explorer.batching import TileBatcher
from chain_of_zoom.explorer.painting import TileJob, paint_tile
from chain_of_zoom.imaging.geometry import PixelRect

CHAIN = ChainOfZoom("fake")


class Host:
    """A backbone elsewhere that counts its passes, and has memory for so many windows."""

    lanes = 4

    def __init__(self, memory: int) -> None:
        self.memory = memory
        self.passes: list[int] = []

    def ask(self, task, jobs):
        self.passes.append(len(jobs))
        if len(jobs) > self.memory:
            raise ShortageError("too many")
        return task(CHAIN, jobs)


def list_jobs() -> list[TileJob]:
    places, core = [WindowPlace(0, 0, 1.0)] * 4, PixelRect(4, 4, 30, 30)
    return [
        TileJob(photo_pixels(10 + number, 12), place, f"words {number}", number, "none", Restraint(), core, False, "")
        for number, place in enumerate(places)
    ]


@pytest.mark.parametrize(("memory", "passes"), [(4, [4]), (3, [4, 1, 1, 1, 1])])
def test_tiles_wanted_together_are_one_pass_or_made_alone(monkeypatch, memory, passes):
    monkeypatch.setattr("chain_of_zoom.explorer.batching.PATIENCE", 10.0)  # until the batch is full
    host = Host(memory)
    batcher = TileBatcher(host, size=4)
    with ThreadPoolExecutor(4) as threads:
        tiles = list(threads.map(batcher.paint, list_jobs()))
    assert tiles == [paint_tile(CHAIN.backbone, job) for job in list_jobs()]
    assert host.passes == passes


def test_one_that_comes_alone_waits_a_moment():
    host = Host(4)
    assert TileBatcher(host, size=4).paint(list_jobs()[0]) == paint_tile(CHAIN.backbone, list_jobs()[0])
    assert host.passes == [1]


def test_what_no_other_pass_would_do_is_an_error_for_all():
    with pytest.raises(BackboneError, match="too many"):
        TileBatcher(Host(0), size=4).paint(list_jobs()[0])
