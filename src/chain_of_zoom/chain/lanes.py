"""Lanes of pictures, for two GPUs: while the backbone enlarges one picture, the prompter looks at another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import Queue
from threading import Event

from chain_of_zoom.chain.engine import Engine
from chain_of_zoom.chain.enlargement import ZoomJob
from chain_of_zoom.chain.state import ScaleState


def run_in_lanes(engine: Engine, jobs: Sequence[ZoomJob], lanes: int) -> Iterator[tuple[int, ScaleState]]:
    """Yield what `engine.run` yields, from threads that take turns at the prompter and at the backbone.

    The states of one job come in order; those of different lanes as they come. The first error ends it.
    """
    results: Queue[tuple[int, ScaleState] | BaseException | None] = Queue()
    stopped = Event()

    def run(numbers: Sequence[int]) -> None:
        try:
            for index, state in engine.run([jobs[number] for number in numbers]):
                results.put((numbers[index], state))
                if stopped.is_set():
                    break
        except BaseException as error:
            results.put(error)
        finally:
            results.put(None)

    with ThreadPoolExecutor(lanes) as pool:
        for lane in range(lanes):
            pool.submit(run, range(lane, len(jobs), lanes))
        try:
            running = lanes
            while running:
                result = results.get()
                if isinstance(result, BaseException):
                    raise result
                if result is None:
                    running -= 1
                else:
                    yield result
        finally:
            stopped.set()
