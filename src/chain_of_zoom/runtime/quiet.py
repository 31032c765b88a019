"""Keep what libraries print of themselves away from the user, and from the JSON that others read."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def silence(descriptor: int) -> Iterator[None]:
    """Write nothing to stdout (1) or stderr (2) meanwhile, not even from C."""
    (sys.stdout if descriptor == 1 else sys.stderr).flush()
    try:
        copy = os.dup(descriptor)
    except OSError:  # there is no such stream
        yield
        return
    try:
        with Path(os.devnull).open("wb") as nothing:
            os.dup2(nothing.fileno(), descriptor)
        yield
    finally:
        with suppress(OSError, AttributeError, TypeError):  # C holds its lines back where nobody types
            ctypes.CDLL(None).fflush(None)
        os.dup2(copy, descriptor)
        os.close(copy)
