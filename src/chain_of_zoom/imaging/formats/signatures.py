"""What a file is, by its first bytes, so that a refusal can name it and say what to do."""

from __future__ import annotations

import re

from chain_of_zoom.errors import BadInputError

ACCEPTED = "accepted: JPEG, PNG, WebP, TIFF, BMP, GIF, AVIF, HEIF"

_SAVE = "save it as PNG first"
_DEVELOP = "develop it to TIFF or JPEG first"
_FRAME = "save one frame of it as PNG first"
_UNPACK = "unpack it, and name a picture of it"
_EXPORT = "export it as PNG first"
_OTHER = "try another file"
_PICTURE = "save the picture itself, not what it is shown in"

# Beginnings of files (regular expressions), what such a file is, and what to do with it; the first that fits counts.
_OTHERS = [
    (rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL", _SAVE),
    (rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51", "a JPEG 2000", _SAVE),
    (rb"II\xbc[\0\x01]", "a JPEG XR", _SAVE),
    (rb"....ftypcrx |II\x1a\0\0\0HEAPCCDR", "a camera raw (Canon CR3 or CRW)", _DEVELOP),
    (rb"FUJIFILMCCD-RAW", "a camera raw (Fujifilm RAF)", _DEVELOP),
    (rb"FOVb", "a camera raw (Sigma X3F)", _DEVELOP),
    (rb"IIR[OS]|MMOR", "a camera raw (Olympus ORF)", _DEVELOP),
    (rb"IIU\0", "a camera raw (Panasonic RW2)", _DEVELOP),
    (rb"\0MRM", "a camera raw (Minolta MRW)", _DEVELOP),
    (rb"(\xef\xbb\xbf)?[\s\0]{0,1000}%PDF-", "a PDF", "export its page or picture as PNG first"),
    (rb"%!PS|\xc5\xd0\xd3\xc6", "a PostScript or EPS file", _EXPORT),
    (rb"8BPS", "a Photoshop file (PSD)", _EXPORT),
    (rb"gimp xcf", "a GIMP file (XCF)", _EXPORT),
    (rb"P[14]\s", "a Netpbm bitmap (PBM)", _SAVE),
    (rb"P[25]\s", "a Netpbm greymap (PGM)", _SAVE),
    (rb"P[36]\s", "a Netpbm pixmap (PPM)", _SAVE),
    (rb"P7\s", "a Netpbm map (PAM)", _SAVE),
    (rb"P[Ff]4?\s", "a float map (PFM)", _SAVE),
    (rb"v/1\x01", "an OpenEXR", "save it as 16-bit TIFF first"),
    (rb"#\?(RADIANCE|RGBE)", "a Radiance HDR", "save it as 16-bit TIFF first"),
    (rb"\0\0[\x01\x02]\0[\x01-\xff]\0.{6}\0*.{4}", "an icon (ICO or CUR)", _SAVE),
    (rb"icns", "an icon (ICNS)", _SAVE),
    (rb".{128}DICM", "a medical picture (DICOM)", "export it as 16-bit PNG first"),
    (rb"SIMPLE  =", "an astronomical picture (FITS)", "export it as 16-bit TIFF first"),
    (rb"AT&TFORM", "a DjVu", "export its page as PNG first"),
    (rb"qoif", "a QOI", _SAVE),
    (rb"DDS |\xabKTX ", "a texture (DDS or KTX)", _SAVE),
    (rb"\n[\0-\x05][\0\x01][\x01\x02\x04\x08]", "a PCX", _SAVE),
    (rb"\x01\xda[\0\x01][\x01\x02]", "an SGI picture", _SAVE),
    (rb"\x59\xa6\x6a\x95", "a Sun raster", _SAVE),
    (rb"BPG\xfb", "a BPG", _SAVE),
    (rb"FLIF", "a FLIF", _SAVE),
    (rb"\x8a[MJ]NG|\x8bJNG", "an MNG or JNG", _SAVE),
    (rb"FORM....(ILBM|PBM )", "an Amiga picture (ILBM)", _SAVE),
    (rb"\xd7\xcd\xc6\x9a|\x01\0\0\0.{36} EMF", "a Windows metafile (WMF or EMF)", _EXPORT),
    (rb"/\* XPM|#define \w+_width", "an X bitmap (XPM or XBM)", _SAVE),
    (rb"\x93NUMPY", "a numpy array", "hand it over in Python, or save it as PNG"),
    (rb"\x89HDF|CDF[\x01\x02]", "an HDF or NetCDF file", "export its picture as 16-bit PNG first"),
    (rb"....(ftyp(M4A|M4B))|ID3|OggS|fLaC|RIFF....WAVE|\xff[\xfb\xf3\xf2]", "a sound file", _OTHER),
    (rb"....(ftyp|moov|mdat|wide|free|skip)|\x1aE\xdf\xa3|RIFF....AVI |\0\0\x01[\xba\xb3]|FLV\x01|0&\xb2u",
     "a video", _FRAME),
    (rb"version https://git-lfs", "a pointer of Git LFS, not the file itself", "type: git lfs pull"),
    (rb"\0\x05\x16\x07", "what macOS stores beside a file (AppleDouble)", "name the file without ._"),
    (rb"PK\x03\x04.{26,60}(word|xl|ppt)/|\xd0\xcf\x11\xe0|PK\x03\x04.{26}(\[Content_Types|mimetypeapplication/vnd)",
     "an Office document", _PICTURE),
    (rb"PK\x03\x04.{26}mimetypeimage/", "a Krita or OpenRaster file", _EXPORT),
    (rb"PK\x03\x04|PK\x05\x06|7z\xbc\xaf|Rar!|\x1f\x8b|BZh|\xfd7zXZ|\x28\xb5\x2f\xfd|.{257}ustar",
     "an archive (ZIP or alike)", _UNPACK),
    (rb"SQLite format 3|MZ|\x7fELF|\xcf\xfa\xed\xfe|\xca\xfe\xba\xbe", "a program or data base", _OTHER),
    (rb"(\xef\xbb\xbf)?\s*(<\?xml.{0,2000}|<!--.{0,2000}|<!DOCTYPE svg.{0,1000})?<svg", "an SVG", _EXPORT),
    (rb"(\xef\xbb\xbf)?\s*(<!--.{0,2000})?<(?i:!doctype html|html|head|body|script|title)",
     "a web page (HTML)", _PICTURE),
    (rb"(\xef\xbb\xbf)?\s*<\?xml", "an XML file", _OTHER),
]  # fmt: skip
_READ = {
    b"\xff\xd8": "JPEG", b"\x89PNG": "PNG", b"GIF8": "GIF", b"II*\0": "TIFF", b"MM\0*": "TIFF",
    b"II+\0": "TIFF", b"MM\0+": "TIFF",
}  # fmt: skip
_HEAD = 4096


def name_format(data: bytes) -> str | None:
    """Name the accepted format that a file begins like, in the words of `ACCEPTED`."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    if data[4:8] == b"ftyp" and data[8:11] in (b"avi", b"hei", b"hev", b"mif", b"msf"):
        return "AVIF" if b"avi" in data[8:64] else "HEIF"
    if data[:2] == b"BM" and 12 <= int.from_bytes(data[14:18], "little") <= 124:
        return "BMP"
    return next((name for start, name in _READ.items() if data.startswith(start)), None)


def explain_refusal(data: bytes, name: str) -> BadInputError:
    """Make the error for a file that no decoder takes, with the name of its kind where that is known."""
    head = data[:_HEAD]
    if kind := name_format(data):
        return BadInputError(f"{name}: a damaged {kind}; {ACCEPTED}; copy it again, or try another file")
    for beginning, kind, remedy in _OTHERS:
        if re.match(beginning, head, re.DOTALL):
            return explain_unread(name, kind, remedy)
    if data[-18:-2] == b"TRUEVISION-XFILE":
        return explain_unread(name, "a Targa (TGA)", _SAVE)
    if not head.strip(b"\0"):
        return BadInputError(f"{name}: damaged (it begins with nothing but zeros); {ACCEPTED}; copy it again")
    return BadInputError(f"{name}: not a picture; {ACCEPTED}; try another file")


def explain_unread(name: str, kind: str, remedy: str = _SAVE) -> BadInputError:
    """Make the error for a file that is whole, but of a kind that is not read."""
    return BadInputError(f"{name}: {kind}, which is not read; {ACCEPTED}; {remedy}")


def explain_cut_short(name: str, lack: str, kind: str, remedy: str = "copy it again") -> BadInputError:
    """Make the error for a file whose end is missing."""
    return BadInputError(f"{name}: damaged (cut short: {lack}); accepted: a whole {kind}; {remedy}")
