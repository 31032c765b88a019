"""When a GPU has no room: fewer pictures at once, and then whatever else the caller knows, each said aloud."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import torch

from chain_of_zoom.errors import BackboneError
from chain_of_zoom.imaging.images import RGB8

T = TypeVar("T")


def group_by_size(pictures: Sequence[RGB8]) -> list[list[int]]:
    """Which pictures can go together: their places, by shape."""
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
    """Compute items `batch` at a time, half as many after each lack of memory; and the batch that was found to fit.

    alone: what to do for an item that does not fit even by itself. tell(item, what) hears of every step down.
    """
    made: dict[int, T] = {}
    left = list(items)
    while left:
        some = left[:batch]
        results = try_in_memory(partial(compute, some))
        if results is None and len(some) > 1:
            batch = len(some) // 2
            for item in some:
                tell(item, f"out of GPU memory with {len(some)} at once; {batch} at once")
            continue
        made.update(zip(some, [alone(some[0])] if results is None else results, strict=True))
        left = left[len(some) :]
    return made, batch


def make_full_error() -> BackboneError:
    """The error when nothing helps."""
    return BackboneError(
        "one picture alone does not fit into the memory of the GPU; accepted: smaller pictures, other programs off the "
        "GPU, or the CPU; type: --memory low, or --device cpu"
    )


def try_in_memory(compute: Callable[[], T]) -> T | None:
    """The result, or None for lack of memory; by then the failed attempt has let go of all it held."""
    try:
        return compute()
    except torch.OutOfMemoryError:
        pass
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return None
