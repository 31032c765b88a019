"""Compute the reward `sr`: with the prompt, is the next state truer to its parent than without one?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from chain_of_zoom import plugins
from chain_of_zoom.alignment.rewards.base import Reward, Sample, Unscored
from chain_of_zoom.backbones.base import Backbone
from chain_of_zoom.errors import UsageError
from chain_of_zoom.imaging.geometry import whole_picture
from chain_of_zoom.imaging.images import RGB8, RGBF, area_reduce, size_of

FLOOR = 1.0
"""Levels of inconsistency below which a state has nothing to gain."""


def inconsistency(state: RGBF, window: RGB8) -> float:
    """Return how far a state (float32 in [0, 1]) is from the window it was made from (uint8), in levels.

    Root mean square over the window's pixels, each against the exact mean of the state over its area.
    """
    reduced = area_reduce(state, whole_picture(size_of(state)), size_of(window)) * 255
    return float(np.sqrt(np.square(reduced - window.astype(np.float32)).mean()))


def sr_gain(empty: float, prompted: float) -> float:
    """Return the gain of a prompt, -1 to 1, from the inconsistencies (levels) without and with it.

    It is 0 where the prompt changes none.
    """
    return (empty - prompted) / max(empty, prompted, FLOOR)


class SrFeedback(Reward):
    """Rewards each text by its `sr_gain`; the state without a prompt is made once per pair and call.

    backbone: one that reads prompts; other options are its own. seed: of every pass. The window that is enlarged is
    the zoomed view reduced by the backbone's factor. Raises UsageError for a backbone that ignores texts.
    """

    name = "sr"

    def __init__(self, backbone: str = "osediff-sd3", seed: int = 0, **options: object) -> None:
        self.backbone: Backbone = plugins.create("backbone", plugins.BACKBONES, backbone, **options)
        self.seed = seed
        if not self.backbone.info.text_aware:
            raise UsageError(
                f"reward sr: the backbone {backbone} does not read prompts, so every text would get 0; accepted: a "
                "text-aware backbone; for example osediff-sd3, see coz backbones"
            )

    def load(self) -> None:
        """Read the backbone's weights."""
        self.backbone.load()

    def __call__(self, samples: Sequence[Sample]) -> list[float | Unscored]:
        """Return -1 to 1 for each."""
        factor = self.backbone.info.factor
        windows: dict[str, RGB8] = {sample.pair: _reduce_view(sample.zoomed, factor) for sample in samples}
        empty = dict(zip(windows, self._measure(list(windows.values()), [""] * len(windows)), strict=True))
        prompted = self._measure([windows[sample.pair] for sample in samples], [sample.text for sample in samples])
        return [sr_gain(empty[sample.pair], error) for sample, error in zip(samples, prompted, strict=True)]

    def _measure(self, windows: list[RGB8], prompts: list[str]) -> list[float]:
        states = self.backbone(windows, prompts, [self.seed] * len(windows))
        return [inconsistency(state, window) for state, window in zip(states, windows, strict=True)]


def _reduce_view(zoomed: RGB8, factor: int) -> RGB8:
    """Reduce the zoomed view to the window it enlarges: exact means of its blocks (sides cut to whole blocks)."""
    height, width = (side // factor * factor for side in zoomed.shape[:2])
    blocks = zoomed[:height, :width].reshape(height // factor, factor, width // factor, factor, 3)
    window: RGB8 = np.rint(blocks.mean(axis=(1, 3))).astype(np.uint8)
    return window
