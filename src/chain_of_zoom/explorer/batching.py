"""Collect tiles that are wanted at the same moment, so that a GPU far away makes them in one pass."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from functools import cached_property

from chain_of_zoom.api import ChainOfZoom
from chain_of_zoom.cluster.working import WorkerBackbone
from chain_of_zoom.errors import BackboneError
from chain_of_zoom.explorer.painting import TileJob, paint_tiles

PATIENCE = 0.01
"""Seconds that the first tile of a batch waits for others."""


def paint(chain: ChainOfZoom, jobs: list[TileJob]) -> list[bytes]:
    """Paint tiles in one pass."""
    chain.load(words=False)
    return paint_tiles(chain.backbone, jobs)


def count_together(chain: ChainOfZoom, most: int) -> int:
    """Count how many tiles pay in one pass: one on a CPU."""
    return chain.pictures_at_once(most)


class TileBatcher:
    """Has tiles painted by a backbone elsewhere, several at a time where that pays there. Call it from any thread."""

    def __init__(self, backbone: WorkerBackbone, size: int | None = None) -> None:
        """Take whom to ask. size: tiles of a batch; by default as many as pay there."""
        self._ask = backbone.ask
        self._lanes = backbone.lanes
        self._chosen_size = size
        self._full = threading.Condition()
        self._open: list[tuple[TileJob, Future[bytes]]] = []

    @cached_property
    def size(self) -> int:
        """How many tiles make a batch, at most; asks for it once."""
        if self._chosen_size is not None or self._lanes == 1:
            return self._chosen_size or 1
        return int(self._ask(count_together, self._lanes))

    def paint(self, job: TileJob) -> bytes:
        """Paint a tile, alone or with those that other threads want meanwhile. Raises what went wrong with it."""
        if self.size == 1:
            return self._paint([job])[0]
        future: Future[bytes] = Future()
        with self._full:
            self._open.append((job, future))
            if len(self._open) == 1:  # the first one of a batch has it painted
                self._full.wait_for(lambda: len(self._open) >= self.size, PATIENCE)
                batch, self._open = self._open, []
            else:
                batch = []
                self._full.notify_all()
        if batch:
            self._paint_batch(batch)
        return future.result()

    def _paint_batch(self, batch: list[tuple[TileJob, Future[bytes]]]) -> None:
        try:
            for (_, future), data in zip(batch, self._paint([job for job, _ in batch]), strict=True):
                future.set_result(data)
        except BackboneError as error:
            if len(batch) == 1:
                batch[0][1].set_exception(error)
                return
            for entry in batch:  # it may have been too much memory, or one of them
                self._paint_batch([entry])
        except BaseException as error:
            for _, future in batch:
                future.set_exception(error)

    def _paint(self, jobs: list[TileJob]) -> list[bytes]:
        tiles: list[bytes] = self._ask(paint, jobs)
        return tiles
