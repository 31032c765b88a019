"""Writes files in a thread of its own, in order, while the next states are made."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self


class Writer:
    """Runs calls one after the other in a thread; the end of its `with` block waits for all of them.

    An error is raised by the next `put` or at the end of the block, and later calls are dropped: a record never lists a
    state whose predecessor is missing. limit: calls that may wait, beyond which `put` waits.
    """

    def __init__(self, limit: int = 64) -> None:
        self.limit = limit
        self._pool = ThreadPoolExecutor(1)
        self._pending: deque[Future[None]] = deque()
        self._failed = False

    def put(self, work: Callable[[], object]) -> None:
        """Append a call. Raises the error of an earlier one."""
        while self._pending and (self._pending[0].done() or len(self._pending) >= self.limit):
            self._pending.popleft().result()
        self._pending.append(self._pool.submit(self._do, work))

    def flush(self) -> None:
        """Wait until all calls are finished. Raises the error of one that failed."""
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
            self._pool.shutdown()  # waits for the file that is being written
