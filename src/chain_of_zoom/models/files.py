"""Hashes of weight files; no torch, so that looking at them is cheap."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path


def file_sha256(path: str | Path) -> str:
    """SHA-256 of a file, read in pieces."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def combined_sha256(paths: Sequence[Path]) -> str | None:
    """One SHA-256 over several files, in order; None when there are none."""
    if not paths:
        return None
    return hashlib.sha256("".join(file_sha256(path) for path in paths).encode()).hexdigest()
