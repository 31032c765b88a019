"""Pictures as the bytes of a PNG, JPEG or WebP file, with the label that says what made them.

The label travels with the file, as PNG text chunks and as an XMP packet with IPTC's DigitalSourceType. Its words
are those of the room that writes: `chain/folder.py`, `upscaling/job.py`, `explorer/maker.py` and
`alignment/pairs/make.py`.
"""

from __future__ import annotations

import io
import mmap
import re
import zlib
from dataclasses import dataclass
from html import escape, unescape
from typing import Any, BinaryIO

from PIL import Image

from chain_of_zoom.errors import BadInputError
from chain_of_zoom.imaging import metadata
from chain_of_zoom.imaging.images import RGB8
from chain_of_zoom.imaging.metadata import NO_METADATA, PROGRAM, EmbeddedMetadata

# IPTC: made by a trained model; and put together from several pictures, some of them so made.
TRAINED_MODEL = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
COMPOSITE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
THUMBNAIL_SIDE = 320

Label = tuple[dict[str, str], str]
"""PNG texts and XMP packet."""

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_PACKET = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" \
xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" \
xmp:CreatorTool="{tool}"{source_type}>
<dc:description><rdf:Alt><rdf:li xml:lang="x-default">{description}</rdf:li></rdf:Alt></dc:description>
</rdf:Description></rdf:RDF></x:xmpmeta>
<?xpacket end="w"?>"""


def label(description: str, source_type: str | None) -> Label:
    """Build the PNG texts and the XMP packet for one picture.

    source_type: TRAINED_MODEL, COMPOSITE, or None to claim nothing.
    """
    description = _NOT_XML.sub("\ufffd", description)
    attribute = f' Iptc4xmpExt:DigitalSourceType="{source_type}"' if source_type else ""
    texts = {"Software": PROGRAM, "Description": description}
    if source_type:
        texts["DigitalSourceType"] = source_type
    xmp = _PACKET.format(tool=PROGRAM, source_type=attribute, description=escape(description))
    return texts, xmp


@dataclass(frozen=True, kw_only=True)
class FileLabel:
    """Holds what the label inside a file says."""

    description: str
    """What made it, and from what."""
    source_type: str | None
    """TRAINED_MODEL, COMPOSITE, or None where nothing is claimed."""


def read_label(file: BinaryIO) -> FileLabel:
    """Read the label of a file that this program wrote, of any format: the packet lies in all of them as plain text.

    Raises BadInputError for a file without one.
    """
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        packet = re.search(rb"<x:xmpmeta.*?</x:xmpmeta>", data, re.DOTALL)
        text = packet[0].decode("utf-8", "replace") if packet else ""
    description = re.search(r'<rdf:li xml:lang="x-default">(.*?)</rdf:li>', text, re.DOTALL)
    if description is None:
        raise BadInputError(
            f"{file.name} has no label of this program; accepted: files of coz zoom, coz animate and coz upscale; "
            "make it again"
        )
    source_type = re.search(r' Iptc4xmpExt:DigitalSourceType="([^"]+)"', text)
    return FileLabel(description=unescape(description[1]), source_type=source_type[1] if source_type else None)


def encode_png(
    pixels: RGB8,
    texts: dict[str, str] | None = None,
    xmp: str | None = None,
    kept: EmbeddedMetadata = NO_METADATA,
    *,
    fast: bool = False,
) -> bytes:
    """Encode uint8 pixels (H x W x 3, or H x W for grey) as a PNG; the same input gives the same bytes.

    fast: in about half of the time; for files by the thousand.
    """
    from PIL import PngImagePlugin  # slow to import, and not needed until the first state is written

    info = PngImagePlugin.PngInfo()
    for key, text in (texts or {}).items():
        info.add_itxt(key, text)
    if xmp:
        info.add_itxt("XML:com.adobe.xmp", xmp)
    # Filtered pixels of photos repeat bytes, not strings of them: runs alone are as small, and found sooner.
    # Else level 4: half the time of zlib's usual 6, for 1 to 3% more bytes.
    options: dict[str, Any] = {"compress_level": 1, "compress_type": zlib.Z_RLE} if fast else {"compress_level": 4}
    if kept.profile:
        options["icc_profile"] = kept.profile
    if kept.exif:
        options["exif"] = metadata.label_exif(kept.exif, (texts or {}).get("Description", ""))
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", pnginfo=info, **options)
    return buffer.getvalue()


def encode_jpeg(pixels: RGB8, xmp: str) -> bytes:
    """Encode uint8 pixels as a labelled JPEG, for sheets of many photographs: a tenth of a PNG."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=88, xmp=xmp.encode())
    return buffer.getvalue()


def make_thumbnail(png: bytes) -> bytes:
    """Encode a WebP of at most THUMBNAIL_SIDE x THUMBNAIL_SIDE pixels, with the label (XMP) of the PNG."""
    with Image.open(io.BytesIO(png), formats=("PNG",)) as image:
        small = image.convert("RGB")
        small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        profile = {key: value for key, value in image.info.items() if key == "icc_profile"}
        small.save(buffer, "WEBP", quality=80, method=4, xmp=image.info.get("xmp", b""), **profile)
    return buffer.getvalue()
