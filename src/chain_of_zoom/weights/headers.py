"""Headers of safetensors files: read within bounds, and believed only where they fit the file."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec

LONGEST = 100_000_000  # bytes, as in the library

_Count = Annotated[int, msgspec.Meta(ge=0)]


class Header(NamedTuple):
    """The shape of every tensor by its name, and the texts that stand beside them."""

    shapes: dict[str, tuple[int, ...]]
    texts: dict[str, str]


class _Tensor(msgspec.Struct):
    shape: tuple[_Count, ...]
    data_offsets: tuple[_Count, _Count]


def read_header(path: Path) -> Header:
    """The header of a whole file. Raises OSError, and ValueError for one that is damaged or does not fit the file."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        data = file.read(min(length, LONGEST))
        size = file.seek(0, 2)
    if len(data) != length:
        raise ValueError("its header is cut off")
    try:
        entries = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
        texts = msgspec.json.decode(entries.pop("__metadata__", b"{}"), type=dict[str, str])
        tensors = {name: msgspec.json.decode(entry, type=_Tensor) for name, entry in entries.items()}
    except RecursionError:
        raise ValueError("its header is nested too deeply") from None
    for name, tensor in tensors.items():
        begin, end = tensor.data_offsets
        if prod(tensor.shape) > 2 * (end - begin):  # the smallest numbers take half a byte
            raise ValueError(f"{name} is larger than its bytes")
    if size != 8 + length + max((tensor.data_offsets[1] for tensor in tensors.values()), default=0):
        raise ValueError("it is not as long as its header says")
    return Header({name: tensor.shape for name, tensor in tensors.items()}, texts)
