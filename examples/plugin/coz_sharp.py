"""A backbone and a prompter for Chain-of-Zoom, in one package."""

import numpy as np
from PIL import Image, ImageFilter

from chain_of_zoom import Backbone, BackboneInfo, Prompter

NAMES = {"red": (200, 50, 40), "green": (70, 140, 60), "blue": (60, 100, 180), "dark": (25, 25, 25), "pale": (225,) * 3}


class Sharp(Backbone):
    """Bicubic enlargement and an unsharp mask of `amount` percent."""

    info = BackboneInfo(
        name="sharp", summary="sharpened bicubic", factor=4, text_aware=False, licence="MIT", evidence_limit=1.0
    )

    def __init__(self, amount: int = 80):
        super().__init__()
        self.mask = ImageFilter.UnsharpMask(radius=4, percent=amount, threshold=0)

    def _enlarge(self, windows, prompts, seeds):
        return [self._one(Image.fromarray(window)) for window in windows]

    def _one(self, window):
        large = window.resize((window.width * 4, window.height * 4), Image.Resampling.BICUBIC)
        return np.asarray(large.filter(self.mask), np.float32) / np.float32(255)


class Colours(Prompter):
    """The name of the colour that the zoomed picture comes closest to."""

    name = "colours"

    def __call__(self, contexts):
        """One text per context."""
        means = [context.zoomed.mean(axis=(0, 1)) for context in contexts]
        return [min(NAMES, key=lambda name: np.abs(mean - NAMES[name]).sum()) for mean in means]
