"""Colour spaces given by numbers, chromaticities and a transfer function, and an ICC profile of each."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from chain_of_zoom.imaging.raster import Samples, by_rows

Floats = NDArray[np.floating]
Primaries = tuple[tuple[float, float], ...]  # chromaticities (x, y) of red, green, blue and white
HDR = Literal["PQ", "HLG"]

D50 = np.array([0.9642, 1.0, 0.8249])  # as ICC's connection space has it
_D65, _C = (0.3127, 0.3290), (0.310, 0.316)
SRGB: Primaries = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06), _D65)
ADOBE: Primaries = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06), _D65)
ADOBE_GAMMA = 563 / 256
_SMPTE: Primaries = ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65)
BT2020 = 9
PRIMARIES: dict[int, tuple[str, Primaries]] = {  # ITU-T H.273, table 2
    1: ("BT.709", SRGB),
    4: ("BT.470 M", ((0.67, 0.33), (0.21, 0.71), (0.14, 0.08), _C)),
    5: ("BT.601 625", ((0.64, 0.33), (0.29, 0.60), (0.15, 0.06), _D65)),
    6: ("BT.601 525", _SMPTE),
    7: ("SMPTE 240M", _SMPTE),
    8: ("film", ((0.681, 0.319), (0.243, 0.692), (0.145, 0.049), _C)),
    BT2020: ("BT.2020", ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), _D65)),
    10: ("XYZ", ((1.0, 0.0), (0.0, 1.0), (0.0, 0.0), (1 / 3, 1 / 3))),
    11: ("DCI-P3", ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.314, 0.351))),
    12: ("Display P3", ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), _D65)),
    22: ("EBU 3213", ((0.630, 0.340), (0.295, 0.605), (0.155, 0.077), _D65)),
}
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])

_SIGNAL = np.linspace(0, 1, 4096)


def srgb_decode(signal: Floats) -> Floats:
    """Return the linear light of an sRGB signal (IEC 61966-2-1), both 0..1."""
    return np.where(signal <= 0.04045, signal / 12.92, ((signal + 0.055) / 1.055) ** 2.4)


def srgb_encode(linear: Floats) -> Floats:
    """Return the sRGB signal of linear light, both 0..1."""
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


CURVES: dict[int, Floats | None] = {  # ITU-T H.273, table 3, without HDR and the BT.709 family; None: that of sRGB
    2: None,
    4: _SIGNAL[None] ** 2.2,
    5: _SIGNAL[None] ** 2.8,
    8: _SIGNAL[None],
    9: np.where(_SIGNAL > 0, 10 ** (2 * (_SIGNAL - 1)), 0)[None],
    10: np.where(_SIGNAL > 0, 10 ** (2.5 * (_SIGNAL - 1)), 0)[None],
    13: None,
    17: np.minimum(_SIGNAL**2.6 * 52.37 / 48, 1)[None],
}


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """How the numbers of RGB samples become light."""

    name: str = "sRGB"
    """For notes and for the profile."""
    primaries: Primaries = SRGB
    """Chromaticities of red, green, blue and white."""
    curves: Floats | None = None
    """Linear light, 0..1, at equal steps of the signal, 1 or 3 x N; None for that of sRGB."""
    hdr: HDR | None = None
    """The transfer function of HDR, which has no such curve."""
    black: float = 0.0  # the samples, as shares of full scale, of black and white, which narrow range has within
    """The sample of black as a share of full scale; above 0 in narrow range."""
    white: float = 1.0
    """The sample of white as a share of full scale; below 1 in narrow range."""

    @property
    def profile(self) -> bytes | None:
        """Build an ICC profile of this space (ICC.1:2001-04, matrix and curves); None for sRGB and HDR."""
        if self.hdr or (self.primaries == SRGB and self.curves is None):
            return None
        tables = srgb_decode(_SIGNAL)[None] if self.curves is None else self.curves
        curves = [_curve(np.interp(_SIGNAL, np.linspace(0, 1, len(table)), table)) for table in tables]
        columns = [_xyz(column) for column in rgb_to_xyz(self.primaries).T]
        text = self.name.encode("ascii", "replace")
        tags = {
            b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(text) + 1) + text + bytes(1 + 12 + 67),
            b"cprt": b"text\0\0\0\0none\0",
            b"wtpt": _xyz(D50),
            **dict(zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns, strict=True)),
            **dict(zip((b"rTRC", b"gTRC", b"bTRC"), curves * (3 // len(curves)), strict=True)),
        }
        return _icc(tags)

    def full_range(self, samples: Samples) -> Samples:
        """Stretch samples to black at 0 and white at full scale; return the same where they are so already."""
        if self.white == 1:
            return samples
        top = int(np.iinfo(samples.dtype).max)
        shares = (np.arange(top + 1) / top - self.black) / (self.white - self.black)
        table: Samples = np.rint(np.clip(shares, 0, 1) * top).astype(samples.dtype)
        return by_rows(lambda rows: table[rows], samples)


def from_calibration(
    source: str, primaries: Primaries | None, gammas: Sequence[float], table: Floats | None = None
) -> tuple[Encoding | None, tuple[str, ...]]:
    """Build the space of measured primaries and exponents (1 or 3, or a table of curves), with notes.

    None when nothing is usable. Without primaries they are sRGB's, and without exponents the curve is. An exponent of
    2.2 with sRGB's primaries is what sRGB's own curve is called where only exponents can be said: the picture is sRGB.
    """
    notes: list[str] = []
    if primaries and not _is_usable(primaries):
        notes.append(f"{source}: impossible primaries ignored")
        primaries = None
    if gammas and not all(0.1 <= gamma <= 10 for gamma in gammas):
        notes.append(f"{source}: impossible gamma ignored")
        gammas = ()
    if not primaries and not gammas and table is None:
        return None, tuple(notes)
    if primaries is None or np.allclose(primaries, SRGB, rtol=0, atol=0.002):
        primaries = SRGB
    is_srgb = primaries == SRGB and all(abs(gamma - 2.2) < 0.02 for gamma in gammas)
    if table is None and gammas and not is_srgb:
        table = np.stack([_SIGNAL**gamma for gamma in gammas])
    return Encoding(name=source, primaries=primaries, curves=table), tuple(notes)


def rgb_to_xyz(primaries: Primaries) -> Floats:
    """Return the matrix from linear RGB to XYZ of D50: columns red, green and blue, adapted by Bradford."""
    xyz = np.array([(x, y, 1 - x - y) for x, y in primaries])
    white = xyz[3] / xyz[3, 1]
    matrix = xyz[:3].T * np.linalg.solve(xyz[:3].T, white)
    scale = (_BRADFORD @ D50) / (_BRADFORD @ white)
    adapted: Floats = np.linalg.solve(_BRADFORD, scale[:, None] * (_BRADFORD @ matrix))
    return adapted


def _is_usable(primaries: Primaries) -> bool:
    """Whether there is a white inside a triangle."""
    xyz = np.array([(x, y, 1 - x - y) for x, y in primaries])
    if not np.isfinite(xyz).all() or np.abs(xyz).max() > 2 or xyz[3].min() < 0.01 or abs(np.linalg.det(xyz[:3])) < 1e-3:
        return False
    return bool((np.linalg.solve(xyz[:3].T, xyz[3]) > 0.001).all())


def _xyz(values: Floats) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(float(value) * 65536) for value in values))


def _curve(values: Floats) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">I", len(values)) + np.rint(values * 65535).astype(">u2").tobytes()


def _icc(tags: dict[bytes, bytes]) -> bytes:
    """Pack a display profile of these tags; equal ones are there once."""
    start = 128 + 4 + 12 * len(tags)
    places: dict[bytes, int] = {}
    body, table = b"", b""
    for key, data in tags.items():
        if data not in places:
            places[data] = start + len(body)
            body += data + bytes(-len(data) % 4)
        table += key + struct.pack(">II", places[data], len(data))
    head = struct.pack(">I4xI4s4s4s12x4s28x", start + len(body), 0x02400000, b"mntr", b"RGB ", b"XYZ ", b"acsp")
    return (head + _xyz(D50)[8:]).ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body
