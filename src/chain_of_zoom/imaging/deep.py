"""16-bit PNG and TIFF, which Pillow reads as 8 bits or not at all: read by libvips."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from chain_of_zoom.errors import BadInputError
from chain_of_zoom.imaging.limits import Limits
from chain_of_zoom.imaging.raster import Layers, Samples, Space

Tags = dict[int, tuple[Any, ...]]

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PNG = b"\x89PNG\r\n\x1a\n"
_BITS, _PHOTOMETRIC, _EXTRA, _FORMAT = 258, 262, 338, 339
_KINDS: dict[int, tuple[Space, int]] = {0: ("grey", 1), 1: ("grey", 1), 2: ("rgb", 3), 5: ("cmyk", 4), 8: ("lab", 3)}
_PREMULTIPLIED, _PLAIN = 1, 2


def tiff_tags(data: bytes) -> Tags | None:
    """The first directory of a TIFF; None when the file is none."""
    if data[:4] not in _TIFF:
        return None
    from PIL import TiffImagePlugin  # slow to import

    file = io.BytesIO(data)
    tags = TiffImagePlugin.ImageFileDirectory_v2(file.read(16 if 43 in data[2:4] else 8))
    file.seek(tags.next)
    tags.load(file)
    return {tag: value if isinstance(value, tuple) else (value,) for tag, value in tags.items()}


def is_deep(data: bytes, tags: Tags | None) -> bool:
    """Whether this is a PNG or TIFF of unsigned 16-bit samples."""
    if tags is None:
        return data[:8] == _PNG and data[24:25] == b"\x10"
    return set(tags.get(_BITS, (1,))) == {16} and set(tags.get(_FORMAT, (1,))) == {1}


def read(data: bytes, tags: Tags | None, orientation: int, name: str, limits: Limits) -> Layers:
    """The oriented pixels of such a file. Raises BadInputError and what libvips raises."""
    from chain_of_zoom.imaging.vips import pyvips

    if tags is None:
        image = pyvips.Image.pngload_buffer(data, fail_on="error")
        space, colours = _KINDS[1 if image.bands < 3 else 2]
        extra = _PLAIN
    else:
        kind = tags.get(_PHOTOMETRIC, (1,))[0]
        if kind not in _KINDS:
            raise BadInputError(f"{name}: a 16-bit TIFF of photometric kind {kind}; accepted: grey, RGB, CMYK, CIELAB")
        image = pyvips.Image.tiffload_buffer(data, fail_on="error")
        space, colours = _KINDS[kind]
        extra = tags.get(_EXTRA, (0,))[0]
    limits.check_size(image.width, image.height, name)
    if image.bands < colours:
        raise BadInputError(f"{name}: damaged ({image.bands} channels for {space}); try another file")
    image = image.copy()
    image.set_type(pyvips.GValue.gint_type, "orientation", orientation)
    pixels = image.autorot().numpy().reshape(-1, image.height if orientation > 4 else image.width, image.bands)
    samples = pixels[..., :colours]
    notes: tuple[str, ...] = ()
    if space == "lab":
        samples = _shifted(samples)
    alpha: Samples | None = None
    if image.bands > colours and extra in (_PREMULTIPLIED, _PLAIN):
        alpha = np.ascontiguousarray(pixels[..., colours])
        if extra == _PREMULTIPLIED:
            samples = _divided(samples, alpha)
    elif image.bands > colours:
        notes = ("extra channels without a meaning left out",)
    return Layers(samples=np.ascontiguousarray(samples), space=space, alpha=alpha, notes=notes)


def _shifted(lab: Any) -> Samples:
    """libvips' LABS (signed; L to 32767, a and b in 256ths) in the encoding of Layers."""
    light = lab[..., :1] * (65535 / 32767)
    chroma = (lab[..., 1:] / 256 + 128) * (65535 / 255)
    shifted: Samples = np.rint(np.clip(np.concatenate([light, chroma], axis=-1), 0, 65535)).astype(np.uint16)
    return shifted


def _divided(samples: Samples, alpha: Samples) -> Samples:
    """Samples that were multiplied with alpha, without it; where alpha is 0, 0."""
    whole = samples.astype(np.uint64) * 65535 + alpha[..., None] // 2
    divided: Samples = np.minimum(whole // np.maximum(alpha, 1)[..., None], 65535).astype(np.uint16)
    return divided
