"""libvips, quietly: imported only for what Pillow cannot do, which is TIFF, deep colour and its profiles."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from mmap import mmap
from typing import Any

import pyvips as pyvips
from numpy.typing import NDArray

from chain_of_zoom.imaging.orientation import make_upright

_LOG = logging.getLogger("pyvips")
_LOG.setLevel(logging.WARNING)
_LOG.propagate = False  # it tells of every warning in a file on stderr
pyvips.cache_set_max(0)  # no picture is read twice
LISTENING = threading.Lock()  # to warnings, which name no file


@contextmanager
def open_image(loader: str, data: bytes | mmap, doubts: list[str] | None = None, **options: int) -> Iterator[Any]:
    """Open a file in memory by its header, to be decoded once and from top to bottom, with no copy of it.

    It must be decoded inside: libvips reads `data` when the samples are asked for, and does not hold it. What it then
    warns of, and not already of the header, is added to `doubts`.
    """
    messages: list[str] = []

    def listen(record: logging.LogRecord) -> bool:
        messages.append(record.getMessage().removeprefix("VIPS: "))
        return True

    load = getattr(pyvips.Image, f"{loader}_source")
    with LISTENING:
        _LOG.addFilter(listen)
        try:
            source = pyvips.Source.new_from_memory(data)
            image = load(source, fail_on="error", access="sequential", **options)
            usual = set(messages)
            yield image
            (doubts if doubts is not None else []).extend(text for text in messages if text not in usual)
        finally:
            _LOG.removeFilter(listen)


def decode_upright(image: Any, orientation: int) -> NDArray[Any]:
    """Decode an image to H x W x C samples, turned."""
    return make_upright(image.numpy().reshape(image.height, image.width, image.bands), orientation)


def take_log() -> list[str]:
    """Take the lines of libvips' log of errors, which is one for all threads and empty afterwards."""
    text: bytes = pyvips.ffi.string(pyvips.vips_lib.vips_error_buffer())
    pyvips.vips_lib.vips_error_clear()
    return text.decode(errors="replace").splitlines()
