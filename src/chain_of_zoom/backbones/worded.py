"""The backbone `zoom`: a true network, and fine texture over what it cannot know: of the material in the words."""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace

import numpy as np

from chain_of_zoom.backbones.base import WindowPlace
from chain_of_zoom.backbones.feedforward import FeedForward
from chain_of_zoom.errors import UsageError
from chain_of_zoom.imaging.images import RGB8, RGBF
from chain_of_zoom.texture.contrast import BASE_LAW, NATURAL_LAW, SOFT_LAW, ContrastLaw
from chain_of_zoom.texture.field import REACH, make_texture
from chain_of_zoom.texture.fine import FACTOR, Floats
from chain_of_zoom.texture.materials import TABLE, find_material, read_table
from chain_of_zoom.texture.tiles import GRAIN, hash_tiles

FIRST_SCALE = 4.0
"""Pixels of a window per pixel of the photo from which it gets a material's texture: before, the network is truer."""
LAST_SCALE = 16.0
"""Those of the deepest result of the network with evidence; beyond, windows get grain where no material is named."""


class WordedBackbone(FeedForward):
    """Enlarges by `span` and adds fine texture where the window itself is an enlargement.

    From 4 pixels of the window per pixel of the photo on, it is that of the material in the prompt; where that
    names none, results of more than 16, for which `span` has no evidence, get grain, so that no zoom ends in a blur.
    What is added vanishes when the result is reduced again, follows contrast and direction of the window, and is fixed
    in the picture: the seed means nothing. Where a window is even, as out of focus, there is none. Without a place
    (`WindowPlace`) a window counts as the photo's own pixels, which get none.
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
            summary="SPAN, and far beyond the photo fine texture, of the material that the words name",
            text_aware=True,
            evidence_limit=FIRST_SCALE,  # from there on the texture is invented
            vocabulary=tuple(sorted(set(read_table().values()))),
            wordless=self.info,
            chained_halo=max(self.info.chained_halo, REACH),
        )

    def weights_sha256(self) -> str | None:
        """Return the SHA-256 over the network, the tiles and the table of words."""
        parts = (super().weights_sha256() or "", hash_tiles(), hashlib.sha256(TABLE.read_bytes()).hexdigest())
        return hashlib.sha256("".join(parts).encode()).hexdigest()

    def uses(self, prompt: str, place: WindowPlace, window: RGB8 | None = None) -> bool:
        """Whether the prompt names a material whose texture the window gets, by half a grey level or more.

        An even window gets none. Without the window: whether it names one that a window at this place may get.
        """
        if not self.texture or place.scale < FIRST_SCALE or find_material(prompt) is None:
            return False
        if window is None:
            return True
        texture, wordless = (self._make_texture(window, text, place) for text in (prompt, ""))
        return bool(np.abs(texture - wordless).max() * 255 >= 0.5)

    def _add_detail(self, window: RGB8, result: RGBF, prompt: str, place: WindowPlace) -> RGBF:
        if not self.texture or self._choose_texture(prompt, place.scale) is None:
            return result
        return result + self._make_texture(window, prompt, place)[..., None]

    def _make_texture(self, window: RGB8, prompt: str, place: WindowPlace) -> Floats:
        """Make what is added to the result for a window: float32, 4h x 4w, in units of [0, 1]."""
        choice = self._choose_texture(prompt, place.scale)
        if choice is None:
            return np.zeros((window.shape[0] * FACTOR, window.shape[1] * FACTOR), np.float32)
        material, law = choice
        level = round(math.log(place.scale, FACTOR))
        texture = make_texture(window, material, place.left, place.top, level=level, law=law)
        return np.float32(self.texture) * texture

    def _choose_texture(self, prompt: str, scale: float) -> tuple[str, ContrastLaw] | None:
        """Choose the texture of a window with so many pixels per pixel of the photo, and how strong it is."""
        material = find_material(prompt)
        if material and scale >= FIRST_SCALE:
            return material, NATURAL_LAW if scale >= LAST_SCALE else BASE_LAW
        if scale * FACTOR <= LAST_SCALE:
            return None
        return GRAIN, NATURAL_LAW if scale > LAST_SCALE else SOFT_LAW
