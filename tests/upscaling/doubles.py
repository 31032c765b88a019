"""Backbones that count, fail or blend, so that tests see what the room asks of them."""

from __future__ import annotations

import hashlib

import numpy as np

from chain_of_zoom.backbones.base import Backbone, BackboneInfo, WholePictureBackbone, WholeTile
from chain_of_zoom.errors import BackboneError
from chain_of_zoom.imaging.geometry import Size, pixel_box
from chain_of_zoom.imaging.images import resize


class Double(Backbone):
    """Bicubic by 4 with a tint that follows the prompt; `spoil(call, result)` may damage what it returns."""

    def __init__(self, *, text_aware=False, max_pixels=48 * 48, halo=4, spoil=None):
        super().__init__()
        self.info = BackboneInfo(
            name="double", summary="", factor=4, text_aware=text_aware, licence="", max_pixels=max_pixels, halo=halo
        )
        self.spoil = spoil or (lambda call, result: result)
        self.prompts: list[str] = []
        self.shapes: list[tuple[int, int]] = []

    def _enlarge(self, windows, prompts, seeds):
        results = []
        for window, prompt in zip(windows, prompts, strict=True):
            self.prompts.append(prompt)
            self.shapes.append(window.shape[:2])
            size = Size(window.shape[1] * 4, window.shape[0] * 4)
            result = resize(window, size, "bicubic").astype(np.float32) / np.float32(255)
            results.append(self.spoil(len(self.prompts), result + np.float32(len(prompt) % 7 / 255)))
        return results


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Soft colours with some noise: neighbouring tiles differ, and clipping is rare."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    planes = [np.sin(x / 9 + y / 17), np.sin(y / 7), np.cos((x - y) / 13)]
    noise = np.random.default_rng(seed).normal(0, 6, (height, width, 3))
    return np.clip(np.stack(planes, axis=-1) * 80 + 120 + noise, 0, 255).astype(np.uint8)


class Banded(WholePictureBackbone):
    """Bicubic by 4 in rows of tiles, each tinted by its prompt; pieces go through the store, as with latents.

    "published" drops what fills no 8 pixels, and comes in two columns.
    """

    def __init__(self, spoil=None):
        super().__init__()
        self.info = BackboneInfo(name="banded", summary="", factor=4, text_aware=True, licence="")
        self.spoil = spoil or (lambda number: None)
        self.made: list[int] = []

    def whole_size(self, size, blend="smooth"):
        width, height = size.width * 4, size.height * 4
        return Size(width // 8 * 8, height // 8 * 8) if blend == "published" else Size(width, height)

    def tiles(self, size, *, tile=64, overlap=16, blend="smooth"):
        width, height = self.whole_size(size, blend)
        side = tile * 8
        return [
            WholeTile(row, col, pixel_box(x, y, min(x + side, width), min(y + side, height)))
            for row, y in enumerate(range(0, height, side))
            for col, x in enumerate(range(0, width, side))
        ]

    def _enlarge(self, windows, prompts, seeds):
        return [self._plain(window) for window in windows]

    def _plain(self, picture):
        return resize(picture, Size(picture.shape[1] * 4, picture.shape[0] * 4), "bicubic").astype(np.float32) / 255

    def _enlarge_whole(self, picture, prompts, seed, tile, overlap, blend, batch, store, on_fallback):
        plain = self._plain(np.asarray(picture))
        width, height = self.whole_size(Size(picture.shape[1], picture.shape[0]), blend)
        tiles = self.tiles(Size(picture.shape[1], picture.shape[0]), tile=tile, overlap=overlap, blend=blend)
        whole = np.empty((height, width, 3), np.float32)
        for number, (each, prompt) in enumerate(zip(tiles, prompts, strict=True)):
            x0, y0, x1, y1 = each.box.whole()
            part = plain[y0:y1, x0:x1]
            digest = hashlib.sha256(part.tobytes() + f"{prompt} {seed}".encode()).hexdigest()[:16]
            name = f"decoded-r{each.row}c{each.col}-{digest}"
            piece = store.get(name)
            if piece is None:
                if why := self.spoil(number):
                    raise BackboneError(f"tile {number} {why}")
                self.made.append(number)
                store[name] = piece = part + np.float32(len(prompt) % 7 / 255)
            whole[y0:y1, x0:x1] = piece
            if on_fallback and number == 0:
                on_fallback(0, "the first tile went another way")
        for y in range(0, height, tile * 8):
            for x0, x1 in [(0, width)] if blend == "smooth" else [(0, width // 2), (width // 2, width)]:
                y1 = min(y + tile * 8, height)
                yield pixel_box(x0, y, x1, y1), whole[y:y1, x0:x1]
