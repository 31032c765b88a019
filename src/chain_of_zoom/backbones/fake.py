"""A tiny deterministic stand-in for a text-aware model: for documentation, smoke tests and users' tests."""

from __future__ import annotations

import hashlib

import numpy as np

from chain_of_zoom.backbones.base import Backbone, BackboneInfo
from chain_of_zoom.imaging.images import RGB8, RGBF, enlarge


class Fake(Backbone):
    """Adds to bicubic enlargement faint stripes whose direction and colour follow the prompt and the seed.

    It reads prompts, so that code for text-aware backbones can be tried in milliseconds. Its pictures
    mean nothing, and it says so by its name.
    """

    info = BackboneInfo(
        name="fake",
        summary="test double: bicubic plus stripes that follow prompt and seed",
        factor=4,
        text_aware=True,
        licence="Apache-2.0",
        evidence_limit=1.0,
        seeded=True,
    )

    def _enlarge(self, windows: list[RGB8], prompts: list[str], seeds: list[int]) -> list[RGBF]:
        return list(map(self._add_stripes, windows, prompts, seeds))

    def _add_stripes(self, window: RGB8, prompt: str, seed: int) -> RGBF:
        key = hashlib.sha256(f"{seed}\n{prompt}".encode()).digest()
        y, x = np.indices((window.shape[0] * 4, window.shape[1] * 4), dtype=np.float32)
        stripes = np.sin((x * (1 + key[0] % 7) + y * (1 + key[1] % 7)) * np.float32(0.1))
        colour = np.frombuffer(key[2:5], np.uint8).astype(np.float32) / np.float32(255 * 16)
        striped: RGBF = enlarge(window, 4).astype(np.float32) / np.float32(255) + stripes[..., None] * colour
        return striped
