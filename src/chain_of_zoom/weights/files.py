"""Look at weight files without reading their weights: SHA-256, headers of safetensors, sizes; no torch.

Headers are read within bounds, and believed only where they fit the file.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from contextlib import suppress
from math import prod
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec

from chain_of_zoom.errors import MissingError

TRAINED = "pytorch_lora_weights.safetensors"
"""The file of adapters that `coz train` writes, as diffusers calls its own."""
ABOUT = "chain_of_zoom"
"""The entry of its header that says, in JSON, how the adapters were trained and are to be used."""
LONGEST = 100_000_000
"""Bytes of a header, as in the library."""

# Other files of a folder are the same weights once more, in another precision.
_WEIGHTS = re.compile(r"(model|diffusion_pytorch_model)(-\d+-of-\d+)?\.safetensors")
_NOT_QUANTISED = ("shared", "embed_tokens", "lm_head", "relative_attention_bias", "norm", "patch_embed")

_Count = Annotated[int, msgspec.Meta(ge=0)]


def file_sha256(path: str | Path) -> str:
    """Compute the SHA-256 of a file, read in pieces."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Header(NamedTuple):
    """Holds the header of a safetensors file."""

    shapes: dict[str, tuple[int, ...]]
    """Shape of every tensor, by name."""
    texts: dict[str, str]
    """Texts beside the tensors (`__metadata__`)."""


class _Tensor(msgspec.Struct):
    shape: tuple[_Count, ...]
    data_offsets: tuple[_Count, _Count]


def read_header(path: Path) -> Header:
    """Read the header of a safetensors file.

    Raises OSError, and ValueError for one that is damaged or does not fit the length of the file.
    """
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


def trained_about(path: str | Path) -> dict[str, Any]:
    """Return what a file of `coz train` says of itself; nothing for any other weight file.

    Raises MissingError for a damaged one.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        return {}
    try:
        about = json.loads(read_header(path).texts.get(ABOUT, "{}"))
    except (OSError, ValueError, RecursionError) as error:
        raise MissingError(f"{path} is damaged ({error}); accepted: a file of tensors; get it again") from error
    return about if isinstance(about, dict) else {}


def count_parameters(folder: Path, counts: Callable[[str], bool] = bool) -> int:
    """Count the parameters in a folder's safetensors files, of tensors whose names `counts`; 0 where none is readable.

    Whoever reads the weights themselves reports files that are absent or damaged.
    """
    total = 0
    for file in folder.glob("*.safetensors"):
        if _WEIGHTS.fullmatch(file.name):
            with suppress(OSError, ValueError):
                total += sum(prod(shape) for name, shape in read_header(file).shapes.items() if counts(name))
    return total


def is_quantisable(name: str) -> bool:
    """Tell whether int8 stores a tensor of this name well: weights of linear layers, not tables of embeddings."""
    return name.endswith(".weight") and not any(word in name for word in _NOT_QUANTISED)
