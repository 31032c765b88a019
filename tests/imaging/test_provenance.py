from __future__ import annotations

from xml.etree import ElementTree

from chain_of_zoom.imaging.encode import TRAINED_MODEL, label

ATTRIBUTE = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"


def _description(xmp: str) -> ElementTree.Element:
    body = xmp.split("?>", 1)[1].rsplit("<?", 1)[0]
    found = ElementTree.fromstring(body).find(".//{http://www.w3.org/1999/02/22-rdf-syntax-ns#}Description")
    assert found is not None
    return found


def test_a_generated_picture_says_so_twice():
    texts, xmp = label("made of <a&b>", TRAINED_MODEL)
    assert texts["DigitalSourceType"] == TRAINED_MODEL
    element = _description(xmp)
    assert element.get(ATTRIBUTE) == TRAINED_MODEL
    assert "made of <a&b>" in "".join(element.itertext())


def test_a_measured_picture_claims_no_model():
    texts, xmp = label("photo", None)
    assert "DigitalSourceType" not in texts
    assert _description(xmp).get(ATTRIBUTE) is None


def test_a_name_that_xml_cannot_hold_does_not_break_the_packet():
    _, xmp = label("bell\x07 and \udcff", TRAINED_MODEL)
    assert "bell\ufffd and \ufffd" in "".join(_description(xmp).itertext())
