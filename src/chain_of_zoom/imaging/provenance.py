"""The label inside a picture: that a model made it, which one, and from what.

Written as PNG text chunks and as an XMP packet with IPTC's DigitalSourceType, so that it travels with the file.
"""

from __future__ import annotations

import re
from html import escape

# IPTC: made by a trained model; and put together from several pictures, some of them so made.
TRAINED_MODEL = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
COMPOSITE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
SOFTWARE = "Chain-of-Zoom"

Label = tuple[dict[str, str], str]

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
    """PNG texts and XMP packet for one picture; source_type: TRAINED_MODEL, COMPOSITE, or None to claim nothing."""
    description = _NOT_XML.sub("\ufffd", description)
    attribute = f' Iptc4xmpExt:DigitalSourceType="{source_type}"' if source_type else ""
    texts = {"Software": SOFTWARE, "Description": description}
    if source_type:
        texts["DigitalSourceType"] = source_type
    xmp = _PACKET.format(tool=SOFTWARE, source_type=attribute, description=escape(description))
    return texts, xmp
