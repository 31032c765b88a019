"""Files are written in a thread of their own, in order, while the next states are made."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self


class Writer:
    """Does what it is given, one after the other; used as a `with` block, whose end waits for all of it.

    What fails is raised by the next `put` or at the end of the block, and nothing after it is done: a record never
    lists a state whose predecessor is not there. limit: how much may wait; then `put` waits.
    """

    def __init__(self, limit: int = 64) -> None:
        self.limit = limit
        self._pool = ThreadPoolExecutor(1)
        self._pending: deque[Future[None]] = deque()
        self._failed = False

    def put(self, work: Callable[[], object]) -> None:
        """Have something done. Raises what was wrong with something before."""
        while self._pending and (self._pending[0].done() or len(self._pending) >= self.limit):
            self._pending.popleft().result()
        self._pending.append(self._pool.submit(self._do, work))

    def flush(self) -> None:
        """Wait until all is done. Raises what was wrong."""
        while self._pending:
            self._pending.popleft().result()

    def _do(self, work: Callable[[], object]) -> None:
        if self._failed:
            return
        try:
            work()
        except BaseException:
            self._failed = True
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *error: object) -> None:
        try:
            if kind is None:
                self.flush()
        finally:
            self._pool.shutdown()  # what is on its way to the disk is let through
