"""HDR pictures (PQ and HLG, ITU-R BT.2100) tone-mapped to sRGB."""

from __future__ import annotations

import numpy as np

from chain_of_zoom.imaging.colour.spaces import SRGB, Encoding, Floats, rgb_to_xyz, srgb_encode
from chain_of_zoom.imaging.raster import Samples, by_rows

WHITE = 203.0  # cd/m2 of reference white, which becomes the white of sRGB (BT.2408)
_HLG_PEAK, _HLG_GAMMA = 1000.0, 1.2  # of the reference display (BT.2100, table 5)
_M1, _M2, _C1, _C2, _C3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
_A, _B, _C = 0.17883277, 0.28466892, 0.55991073


def tone_map(colour: Samples, encoding: Encoding) -> Samples:
    """Map H x W x 3 samples of an HDR encoding to sRGB of the same depth; out-of-gamut colours are clipped.

    What is not above reference white keeps its light; above, the curve of BT.2390 (section 5.4) rolls off to the
    brightest sample of the picture, in each channel.
    """
    top = int(np.iinfo(colour.dtype).max)
    signal = np.arange(top + 1) / top
    is_hlg = encoding.hdr == "HLG"
    light = (_hlg_scene(signal) if is_hlg else _pq_decode(signal) / WHITE).astype(np.float32)
    peak = float(light[colour.max()])
    if is_hlg:
        peak = peak**_HLG_GAMMA * _HLG_PEAK / WHITE
    peak = max(peak, 1.0)
    grid = (
        peak * np.linspace(0, 1, 65536) ** 4
    )  # fine in the dark; looked up, since interpolation takes ten times as long
    rolled = (_roll_off(grid, peak) if peak > 1 else grid).astype(np.float32)
    to_xyz = rgb_to_xyz(encoding.primaries)
    to_srgb = (np.linalg.inv(rgb_to_xyz(SRGB)) @ to_xyz).T.astype(np.float32)
    luminance = to_xyz[1].astype(np.float32)

    def show(rows: Samples) -> Samples:
        linear = light[rows]
        if is_hlg:
            linear *= (linear @ luminance)[..., None] ** (_HLG_GAMMA - 1) * (_HLG_PEAK / WHITE)
        places = np.sqrt(np.sqrt(linear / peak)) * 65535 + 0.5
        display_light = rolled[places.astype(np.uint16)] @ to_srgb
        whole: Samples = np.rint(srgb_encode(np.clip(display_light, 0, 1)) * top).astype(rows.dtype)
        return whole

    return by_rows(show, colour)


def _roll_off(light: Floats, peak: float) -> Floats:
    """Bend light relative to reference white, up to `peak`, to light up to 1: the EETF of BT.2390-11."""
    top = _pq_encode(np.array(peak * WHITE))
    white = _pq_encode(np.array(WHITE)) / top
    knee = 1.5 * white - 0.5
    signal = _pq_encode(light * WHITE) / top
    t = (signal - knee) / (1 - knee)
    bent = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (3 * t**2 - 2 * t**3) * white
    return _pq_decode(np.where(signal < knee, signal, bent) * top) / WHITE


def _pq_decode(signal: Floats) -> Floats:
    """Return display light in cd/m2 (SMPTE ST 2084)."""
    root = signal ** (1 / _M2)
    light: Floats = 10000 * (np.maximum(root - _C1, 0) / (_C2 - _C3 * root)) ** (1 / _M1)
    return light


def _pq_encode(light: Floats) -> Floats:
    power = (light / 10000) ** _M1
    signal: Floats = ((_C1 + _C2 * power) / (1 + _C3 * power)) ** _M2
    return signal


def _hlg_scene(signal: Floats) -> Floats:
    """Return scene light, 0..1 (BT.2100, inverse of the HLG OETF)."""
    return np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - _C) / _A) + _B) / 12)
