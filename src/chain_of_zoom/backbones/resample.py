"""Plain resampling as a backbone: it invents nothing, and is the baseline of every comparison."""

from __future__ import annotations

import numpy as np

from chain_of_zoom.backbones.base import Backbone, BackboneInfo
from chain_of_zoom.imaging.geometry import Size
from chain_of_zoom.imaging.images import RGB8, RGBF, Filter, resize


class Resample(Backbone):
    """Enlarge by a filter: "nearest", "bicubic" or "lanczos"."""

    def __init__(self, filter: Filter, factor: int = 4) -> None:
        super().__init__()
        self.info = BackboneInfo(
            name=filter,
            summary="plain resampling: no model, nothing invented",
            factor=factor,
            text_aware=False,
            licence="Apache-2.0",
            evidence_limit=None,
            resample=filter,
        )
        self.filter = filter

    def _enlarge(self, windows: list[RGB8], prompts: list[str], seeds: list[int]) -> list[RGBF]:
        f = self.info.factor
        return [
            resize(w, Size(w.shape[1] * f, w.shape[0] * f), self.filter).astype(np.float32) / np.float32(255)
            for w in windows
        ]
