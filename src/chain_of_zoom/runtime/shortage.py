"""When a GPU has no room: compute fewer pictures at once, and report each step down."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import torch

from chain_of_zoom.imaging.images import RGB8

T = TypeVar("T")
LACK_ON_MPS = "MPS backend out of memory"
"""How torch's error begins where Apple's GPU has no room."""


def group_by_size(pictures: Sequence[RGB8]) -> list[list[int]]:
    """Return the indices of pictures of one shape together."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, picture in enumerate(pictures):
        groups.setdefault(picture.shape, []).append(index)
    return list(groups.values())


def compute_in_batches(
    items: Sequence[int],
    batch: int,
    compute: Callable[[list[int]], Sequence[T]],
    tell: Callable[[int, str], None],
    alone: Callable[[int], T],
) -> tuple[dict[int, T], int]:
    """Compute items `batch` at a time, half as many after each lack of memory. Returns results and the last batch.

    alone: computes an item that does not fit even by itself. tell(item, note) receives every step down.
    """
    results: dict[int, T] = {}
    waiting = list(items)
    while waiting:
        batch_items = waiting[:batch]
        computed = try_in_memory(partial(compute, batch_items))
        if computed is None and len(batch_items) > 1:
            batch = len(batch_items) // 2
            for item in batch_items:
                tell(item, f"out of GPU memory with {len(batch_items)} at once; {batch} at once")
            continue
        results.update(zip(batch_items, [alone(batch_items[0])] if computed is None else computed, strict=True))
        waiting = waiting[len(batch_items) :]
    return results, batch


def try_in_memory(compute: Callable[[], T]) -> T | None:
    """Return the result, or None for lack of memory; by then the failed attempt has let go of all it held."""
    try:
        return compute()
    except RuntimeError as error:  # torch.OutOfMemoryError is one; Apple's GPU has no class for it
        if not isinstance(error, torch.OutOfMemoryError) and not str(error).startswith(LACK_ON_MPS):
            raise
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()
    return None
