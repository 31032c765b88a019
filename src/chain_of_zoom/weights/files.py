"""Hashes and headers of weight files; no torch, so that looking at them is cheap."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chain_of_zoom.errors import MissingError
from chain_of_zoom.weights.headers import read_header


def file_sha256(path: str | Path) -> str:
    """SHA-256 of a file, read in pieces."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def combined_sha256(paths: Sequence[Path]) -> str | None:
    """One SHA-256 over several files, in order; None when there are none."""
    if not paths:
        return None
    return hashlib.sha256("".join(file_sha256(path) for path in paths).encode()).hexdigest()


TRAINED = "pytorch_lora_weights.safetensors"
"""The file of adapters that `coz train` writes, as diffusers calls its own."""

ABOUT = "chain_of_zoom"
"""The entry of its header that says, in JSON, how the adapters were trained and are to be used."""


def trained_about(path: str | Path) -> dict[str, Any]:
    """What a file of `coz train` says of itself; nothing for any other weight file.

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
