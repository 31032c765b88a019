"""The one way in which JSON is written for people to read: in files and with `--json`."""

from __future__ import annotations

from typing import Any

import msgspec


def format_json(value: Any, *, indent: int = 2) -> bytes:
    """Write a Struct, dataclass, list or dict as indented UTF-8 JSON that ends in a newline."""
    return msgspec.json.format(msgspec.json.encode(value), indent=indent) + b"\n"
