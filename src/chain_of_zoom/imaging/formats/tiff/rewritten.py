"""TIFFs that libvips does not read, or not rightly, described to it anew and put together here.

Channels in planes are read one by one; samples of 12 or 64 bits as the bytes that they lie in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chain_of_zoom.imaging.formats.deep import stretch_to_16_bits
from chain_of_zoom.imaging.formats.tiff import directories as tag
from chain_of_zoom.imaging.formats.tiff.directories import Directory, Structure
from chain_of_zoom.imaging.formats.tiff.unread import BLACK_IS_0, CIELAB, RGB
from chain_of_zoom.imaging.raster import by_rows


def read(structure: Structure, page: Directory, channels: int, doubts: list[str]) -> NDArray[Any]:
    """Read the first `channels` of a page, H x W x C: 8, 16 or 32 bits as they are, less than 16 in full scale.

    What the decoder doubts is added to `doubts`. Raises what libvips raises.
    """
    from chain_of_zoom.imaging.formats.vips import decode_upright, open_image

    data = _rewrite(structure, page, channels)
    unpack = _unpacking(structure.order, page) if page.is_packed else None
    result: NDArray[Any] | None = None
    for plane in range(channels if page.is_in_planes else 1):
        with open_image("tiffload", data, doubts, page=plane) as image:
            samples = decode_upright(image, 1)
        samples = by_rows(unpack, samples) if unpack else samples
        if not page.is_in_planes:
            return samples[..., :channels]
        result = np.empty((*samples.shape[:2], channels), samples.dtype) if result is None else result
        result[..., plane] = samples[..., 0]
    assert result is not None
    return result


def _rewrite(structure: Structure, page: Directory, channels: int) -> bytes:
    """Describe this page as RGB, grey or bytes, with one page for each plane; return the file."""
    apart = page.is_in_planes or page.is_packed
    is_lab = page.read_first(tag.PHOTOMETRIC) == CIELAB  # whose signed numbers would be refused beside unsigned ones
    changes: dict[int, tuple[int, ...]] = {
        tag.PHOTOMETRIC: (BLACK_IS_0 if apart or page.samples < 3 else RGB,),
        tag.FORMAT: (1 if is_lab and page.kind != "f" else page.read_first(tag.FORMAT, 1),),
        tag.EXTRA: () if apart else (0,) * len(page.read_numbers(tag.EXTRA)),  # premultiplied ones are left as they are
    }
    if apart:
        changes |= {tag.SAMPLES: (1,), tag.BITS: (8 if page.is_packed else page.bits,), tag.PLANES: (1,)}
    if page.is_packed:
        _, across, size = _blocks(page)
        changes |= {tag.FORMAT: (), tag.PREDICTOR: (), tag.WIDTH: (across * size,)}
        changes |= {tag.TILE_WIDTH: (size,)} if page.read_numbers(tag.TILE_WIDTH) else {}
    if not page.is_in_planes:
        return structure.rewrite(page, [changes])
    places = {key: page.read_numbers(key) for key in (tag.STRIPS, tag.STRIP_SIZES, tag.TILES, tag.TILE_SIZES)}
    parts = {key: (values, len(values) // page.samples) for key, values in places.items() if values}
    planes = [
        {key: values[plane * count : (plane + 1) * count] for key, (values, count) in parts.items()}
        for plane in range(channels)
    ]
    return structure.rewrite(page, [changes | plane for plane in planes])


def _blocks(page: Directory) -> tuple[tuple[int, int], int, int]:
    """Return pixels and channels of a strip's or tile's row, such blocks across, and bytes of such a row."""
    width = page.read_first(tag.WIDTH)
    block = max(1, page.read_first(tag.TILE_WIDTH, width))
    channels = 1 if page.is_in_planes else page.samples
    return (block, channels), -(-width // block), -(-block * channels * page.bits // 8)


def _unpacking(order: str, page: Directory) -> Callable[[NDArray[np.uint8]], NDArray[Any]]:
    """Build the function from rows of a packed page's bytes to its samples."""
    (block, channels), across, size = _blocks(page)
    width, bits, predictor = page.read_first(tag.WIDTH), page.bits, page.read_first(tag.PREDICTOR, 1)
    number = np.dtype(f"{page.kind}8")
    weights = 1 << np.arange(bits)[::-1].astype(np.uint16) if bits < 17 else None

    def unpack(rows: NDArray[np.uint8]) -> NDArray[Any]:
        rows = rows.reshape(len(rows), across, size)
        if weights is not None:  # from the highest bit on, in both byte orders
            digits = np.unpackbits(rows, axis=2)[..., : block * channels * bits].reshape(len(rows), -1, channels, bits)
            return stretch_to_16_bits((digits @ weights << (16 - bits)).astype(np.uint16)[:, :width], bits)
        if predictor == 3:  # differences of bytes, and all of the highest ones first (Adobe's technote 3)
            sums = rows.reshape(len(rows), across, -1, channels).cumsum(axis=2, dtype=np.uint8)
            rows, sorted_order = sums.reshape(len(rows), across, 8, -1).swapaxes(2, 3), ">"
        else:
            sorted_order = order
        numbers = np.ascontiguousarray(rows).reshape(len(rows), across, -1).view(sorted_order + number.str[1:])
        if predictor == 2:
            whole = numbers.reshape(len(rows), across, -1, channels).astype("u8" if number.kind != "f" else number)
            numbers = whole.view("u8").cumsum(axis=2, dtype=np.uint64).view(number)
        return numbers.reshape(len(rows), -1, channels)[:, :width].astype(number)

    return unpack
