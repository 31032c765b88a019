"""Work ahead: several pieces of work at a time, whose results come in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def work_ahead(
    act: Callable[[Item], Result], items: Iterable[Item], lanes: int, stop: Callable[[], object] = int
) -> Iterator[tuple[Item, Result]]:
    """Yield every item with its result, in order; `lanes` of them are at work at a time, each in a thread.

    With one lane everything happens in the calling thread. Items are taken as they are needed. The first error is
    raised in its turn, after which nothing more is begun; then, or where the caller goes away, `stop` is called so that
    what is at work ends.
    """
    if lanes == 1:
        for item in items:
            yield item, act(item)
        return
    pending: deque[tuple[Item, Future[Result]]] = deque()
    with ThreadPoolExecutor(lanes) as threads:
        try:
            for item in items:
                pending.append((item, threads.submit(act, item)))
                while pending and (len(pending) >= lanes or pending[0][1].done()):
                    first, future = pending.popleft()
                    yield first, future.result()
            while pending:
                first, future = pending.popleft()
                yield first, future.result()
        except BaseException:
            for _, future in pending:
                future.cancel()
            stop()
            raise
