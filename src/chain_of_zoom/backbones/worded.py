"""The backbone `zoom`: a true network, and over what it cannot know the texture of the material that the words name."""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace

import numpy as np

from chain_of_zoom.backbones.base import WindowPlace
from chain_of_zoom.backbones.feedforward import FeedForward
from chain_of_zoom.errors import UsageError
from chain_of_zoom.imaging.images import RGB8, RGBF
from chain_of_zoom.texture.field import FACTOR, REACH, make_texture
from chain_of_zoom.texture.materials import TABLE, find_material
from chain_of_zoom.texture.tiles import hash_tiles

FIRST_SCALE = 4.0
"""Pixels of a window per pixel of the photo from which it gets texture: before, the network is truer without it."""
NATURAL_SCALE = 16.0
"""The same from which a window has texture already, and so detail as strong as a photo's."""


class WordedBackbone(FeedForward):
    """Enlarges by `span` and adds the texture of the material in the prompt where the window itself is an enlargement.

    Windows with fewer than 4 pixels per pixel of the photo get none, so what is measured or nearly so stays as it is;
    nor do words that name no material with a texture. What is added vanishes when the
    result is reduced again, follows contrast and grain of the window, and is fixed in the picture: the seed means
    nothing. Without a place (`WindowPlace`) a window counts as the photo's own pixels, which get none.
    texture: share of the texture, 0 to 1. Raises UsageError for another one.
    """

    def __init__(
        self, threads: int | None = None, device: str = "auto", runtime: str = "auto", texture: float = 1.0
    ) -> None:
        super().__init__("span", threads, device, runtime)
        if not 0 <= texture <= 1:
            raise UsageError(f"texture {texture}; accepted: 0 to 1; for example --set backbone.texture=0.5")
        self.texture = float(texture)
        self.info = replace(
            self.info,
            name="zoom",
            summary="SPAN, and the texture of the material that the words name",
            text_aware=True,
            evidence_limit=FIRST_SCALE,  # from there on the texture is invented
            wordless=self.info,
            halo=max(self.info.halo, REACH),
            chained_halo=max(self.info.chained_halo, REACH),
        )

    def weights_sha256(self) -> str | None:
        """Return the SHA-256 over the network, the tiles and the table of words."""
        parts = (super().weights_sha256() or "", hash_tiles(), hashlib.sha256(TABLE.read_bytes()).hexdigest())
        return hashlib.sha256("".join(parts).encode()).hexdigest()

    def uses(self, prompt: str, place: WindowPlace) -> bool:
        """Whether the prompt names a material that a window at this place gets the texture of."""
        return self.texture > 0 and place.scale >= FIRST_SCALE and find_material(prompt) is not None

    def _add_detail(self, window: RGB8, result: RGBF, prompt: str, place: WindowPlace) -> RGBF:
        material = find_material(prompt)
        if material is None or not self.uses(prompt, place):
            return result
        level = round(math.log(place.scale, FACTOR))
        texture = make_texture(
            window, material, place.left, place.top, level=level, is_natural=place.scale >= NATURAL_SCALE
        )
        return result + np.float32(self.texture) * texture[..., None]
