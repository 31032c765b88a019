"""How much memory this process may use."""

from __future__ import annotations

import os
from pathlib import Path


def memory() -> int | None:
    """Bytes of memory that this process may use: the machine's, or its container's; None where nobody says."""
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return None
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text())
    except (OSError, ValueError):
        return total
    return min(total, limit)
