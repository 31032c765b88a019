"""JPEG, read by libvips: the same pixels as Pillow's, and libjpeg's warnings, which Pillow keeps to itself."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from chain_of_zoom.errors import BadInputError
from chain_of_zoom.imaging.formats.blocks import MAX_BLOCKS, check_count
from chain_of_zoom.imaging.formats.signatures import ACCEPTED, explain_cut_short, explain_unread

# Of a progressive JPEG. Each is a pass over the whole picture, of 2 ns a pixel if it is empty; encoders make 10 to 20.
MAX_SCANS, USUAL_SCANS, SCANNED_PIXELS = 500, 20, 10**9

PIXELS = NDArray[np.uint8]

_END = b"\xff\xd9"
_MARKER = re.compile(rb"\xff[^\x00\x01\xff\xd0-\xd7]", re.DOTALL)  # neither stuffing, nor fill bytes, nor a restart
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC} | {0xF7}
_PROGRESSIVE = (0xC2, 0xCA)
_UNREAD = {**dict.fromkeys((0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF), "a hierarchical JPEG"), 0xF7: "a JPEG-LS"}
_ALL = (1 << 64) - 1  # coefficients of a block
_STRIP = 8  # rows that libvips hands out together
_LAST = 64  # bytes that are handed out one by one, so that it shows how many are used
_SAYS = "VipsJpeg: "


@dataclass(frozen=True, kw_only=True)
class Markers:
    """The structure of a JPEG as its markers tell it (ITU-T T.81, annex B)."""

    count: int
    """Markers in all."""
    kind: int
    """Code of the frame header."""
    pixels: int
    """Width times height, as the frame header says."""
    bits: int
    """Of a sample."""
    components: int
    """Of the frame."""
    scans: int
    """Scans that begin."""
    is_simple: bool
    """Whether one scan holds everything."""
    is_complete: bool
    """Whether the scans hold all coefficients."""
    stop: int
    """Offset of the segment that is not whole, or the end of the file."""
    end: int | None
    """Offset of the end marker; None where it is missing."""

    @property
    def rare(self) -> str | None:
        """Name the file's kind if libjpeg does not read it."""
        if self.kind in _UNREAD:
            return _UNREAD[self.kind]
        if self.bits != 8:
            return f"a {self.bits}-bit JPEG"
        return f"a JPEG of {self.components} channels" if self.components not in (0, 1, 3, 4) else None


def is_jpeg(data: bytes) -> bool:
    """Whether the file begins like a JPEG."""
    return data[:3] == b"\xff\xd8\xff"


def read_markers(data: bytes) -> Markers:
    """Read the markers of the first picture in a file, up to the most that are accepted."""
    at, count, kind, pixels, bits, scans, first, stop = 2, 0, 0, 0, 8, 0, 0, len(data)
    end: int | None = None
    coded: dict[int, int] = {}  # a bit for every coefficient of a component that is there to its last bit
    while count < MAX_BLOCKS and end is None and (marker := _MARKER.search(data, at)):
        count += 1
        code, start = data[marker.start() + 1], marker.end()
        length = max(int.from_bytes(data[start : start + 2]), 2)
        body = data[start + 2 : start + length]
        at = start + length
        if code == 0xD9:
            end = marker.start()
        elif at > len(data):
            stop = marker.start()
        elif code in _FRAMES and len(body) > 5:
            pixels = int.from_bytes(body[1:3]) * int.from_bytes(body[3:5])
            kind, bits, coded = code, body[0], dict.fromkeys(body[6::3][: body[5]], 0)
        elif code == 0xDA and len(body) > 3:
            scans, first = scans + 1, first or body[0]
            low, high, approximation = body[-3:]
            share = (1 << high % 64 + 1) - (1 << low % 64) if kind in _PROGRESSIVE else _ALL
            if kind not in _PROGRESSIVE or not approximation & 15:
                for component in body[1 : 1 + 2 * body[0] : 2]:
                    coded[component] = coded.get(component, 0) | share
    return Markers(
        count=count,
        kind=kind,
        pixels=pixels,
        bits=bits,
        components=len(coded),
        scans=scans,
        is_simple=kind not in _PROGRESSIVE and first == len(coded),
        is_complete=all(share == _ALL for share in coded.values()),
        stop=stop,
        end=end,
    )


def check(header: Markers, name: str) -> None:
    """Raises BadInputError for mazes of segments and scans, for no scan, and for kinds that libjpeg does not read."""
    check_count(header.count, name)
    most_scans = max(min(SCANNED_PIXELS // max(header.pixels, 1), MAX_SCANS), USUAL_SCANS)
    if header.scans > most_scans:
        raise BadInputError(f"{name}: {header.scans} scans; accepted: a JPEG of up to {most_scans}; save it anew first")
    if header.rare:
        raise explain_unread(name, header.rare, "save it as 16-bit PNG first")
    if header.end is None and not header.scans:
        raise explain_cut_short(name, "it ends before its pixels", "JPEG")


def read(data: bytes, header: Markers, name: str, *, keep_damaged: bool = False) -> tuple[PIXELS, tuple[str, ...]]:
    """Read the pixels as stored, uint8, H x W x 1, 3 or 4, and notes of damage.

    header: what `read_markers` returned. Raises BadInputError for a file cut short, unless `keep_damaged` is set, and
    what libvips raises.
    """
    from chain_of_zoom.imaging.formats.vips import LISTENING, pyvips

    notes: tuple[str, ...] = ()
    if header.end is None:
        data = data[: header.stop] + _END
        notes = ("end marker missing",)
    source = _Source(data, header.end or len(data) - 2)
    try:
        with LISTENING:
            pixels, warning = source.pixels()
    except pyvips.Error as error:
        reason = [line.removeprefix(_SAYS) for line in str(error).splitlines() if line.startswith(_SAYS)]
        raise BadInputError(f"{name}: a damaged JPEG ({'; '.join(reason)}); {ACCEPTED}; copy it again") from error
    unused = source.unused
    if "premature end" in warning or not header.is_complete:
        with LISTENING:
            lack = _lack(pixels, source, header)
        if lack and not keep_damaged:
            raise explain_cut_short(
                name, lack, "JPEG", "copy it again, or take what is there: --set photo.damaged=keep"
            )
        if lack:
            return pixels, (f"cut short: {lack}",)
    if not warning and header.is_simple and unused > 1:
        warning = f"{unused} bytes too many"
    return pixels, (*notes, f"damaged ({warning}): parts may be wrong") if warning else notes


def _lack(pixels: PIXELS, source: _Source, header: Markers) -> str:
    """Say how much is there of a JPEG whose data end early; empty for damage after which little is missing."""
    height = len(pixels)
    if not header.is_simple:
        is_cut = header.end is None or not header.is_complete
        return f"{header.scans} of its scans are there, detail or colour is missing" if is_cut else ""
    rows = source.whole_rows(height)
    grey = next((row for row in range(height, 0, -1) if (pixels[row - 1] != pixels[-1, -1]).any()), 0)
    # libjpeg fills up with one colour: from the next row of blocks on if the file was cut there
    is_cut = header.end is None or (grey < height and grey <= rows + 32 + _STRIP)
    return f"{rows} of {height} rows are there" if is_cut else ""


class _Source:
    """The bytes of a JPEG, the last of its scan one by one: decoders do not tell which they did not need."""

    def __init__(self, data: bytes, end: int) -> None:
        self.data, self.end, self.at = data, end, 0

    @property
    def unused(self) -> int:
        """Count the bytes before the end marker that the decoder did not ask for."""
        return max(self.end - self.at, 0)

    def pixels(self) -> tuple[PIXELS, str]:
        """Decode all pixels; return them with libjpeg's first warning or nothing."""
        from chain_of_zoom.imaging.formats.vips import take_log

        take_log()
        image = self._image("none")
        pixels = cast("PIXELS", image.numpy()).reshape(image.height, image.width, image.bands)
        return pixels, next((line.removeprefix(_SAYS) for line in take_log() if line.startswith(_SAYS)), "")

    def whole_rows(self, height: int) -> int:
        """Count the rows that decode without a warning; libvips passes it on before the next strip."""
        from chain_of_zoom.imaging.formats.vips import pyvips

        image = self._image("warning")
        region = pyvips.Region.new(image)
        rows = 0
        try:
            while rows < height:
                region.fetch(0, rows, image.width, min(_STRIP, height - rows))
                rows += _STRIP
        except pyvips.Error:
            pass
        return max(rows - _STRIP, 0)

    def _image(self, fail_on: str) -> Any:
        from chain_of_zoom.imaging.formats.vips import pyvips

        self.at = 0
        self.source = pyvips.SourceCustom()  # held as long as an image may ask it for bytes
        self.source.on_read(self._read)
        return pyvips.Image.jpegload_source(self.source, access="sequential", fail_on=fail_on, unlimited=True)

    def _read(self, size: int) -> bytes:
        slow = self.end - _LAST
        stop = min(self.at + size, slow) if self.at < slow else self.at + 1
        piece = self.data[self.at : stop]
        self.at += len(piece)
        return piece
