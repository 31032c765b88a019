"""Page-locked host memory for weights that wait: copies from there to a GPU run at the full speed of the bus."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from chain_of_zoom.resources import total_memory

CHUNK = 1 << 30
"""Bytes that are locked at once: a power of two, to which torch's allocator of such memory rounds up anyway."""
_ALIGNMENT = 512


def lock_weights(tensors: Iterable[Tensor], locked: int = 0) -> int:
    """Move the memory under host tensors into page-locked chunks. Returns the bytes that are locked afterwards.

    locked: bytes that are already. At most half of the machine's memory is locked, since nothing else can use it; what
    is beyond that, or refused by the system, stays where it is and is copied more slowly.
    """
    total = total_memory()
    for group in _group_by_chunk(tensors):
        size = sum(_padded(tensor) for tensor in group)
        if total is None or 2 * (locked + size) > total:
            return locked
        try:
            chunk = torch.empty(size, dtype=torch.uint8, pin_memory=True)
        except RuntimeError:  # the system allows no more, or none at all
            return locked
        start = 0
        for tensor in group:
            place = chunk[start : start + tensor.nbytes].view(tensor.dtype).view(tensor.shape)
            place.copy_(tensor.data)
            tensor.data = place
            start += _padded(tensor)
        locked += size
    return locked


def _group_by_chunk(tensors: Iterable[Tensor]) -> list[list[Tensor]]:
    """Group tensors that fill a chunk; each tensor once, and none that is laid out in another way than row by row."""
    groups: list[list[Tensor]] = []
    room = 0
    for tensor in {id(tensor): tensor for tensor in tensors}.values():
        if tensor.device.type != "cpu" or not tensor.is_contiguous() or not tensor.nbytes:
            continue
        if _padded(tensor) > room:
            groups.append([])
            room = CHUNK
        groups[-1].append(tensor)
        room -= _padded(tensor)
    return groups


def _padded(tensor: Tensor) -> int:
    return -(-tensor.nbytes // _ALIGNMENT) * _ALIGNMENT
