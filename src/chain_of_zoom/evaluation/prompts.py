"""What prompts change in a picture, and the table of all measures of prompts.

A prompt may fill in what the parent left open. Where it changes what the parent did show, it contradicts the source.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from chain_of_zoom.errors import MetricError, MissingError
from chain_of_zoom.evaluation.metrics.base import MetricInfo
from chain_of_zoom.imaging.geometry import Size
from chain_of_zoom.imaging.images import RGB8, size_of


@dataclass(frozen=True, kw_only=True)
class PromptInfluence:
    """What a prompt changed in one step, against the same step with another prompt or none.

    energy: mean squared difference, in levels squared. contradiction: the share of it in frequencies that the parent
    has too; invention: the share above them, which the parent leaves open. Both None where nothing changed.
    """

    energy: float
    contradiction: float | None
    invention: float | None

    def values(self) -> dict[str, float | None]:
        """The numbers that INFOS describes, by name."""
        return {"prompt.contradiction": self.contradiction}


def prompt_influence(with_prompt: RGB8, without: RGB8, window: Size) -> PromptInfluence:
    """How a prompt changed a state (uint8, H x W x 3), where the parent's window had `window` pixels.

    The difference of both states is split by a cosine transform at the parent's Nyquist frequency: half a cycle per
    pixel of the parent, in each direction. Raises MetricError for sizes that do not fit, and MissingError without
    the extra [eval].
    """
    try:
        from scipy.fft import dctn
    except ImportError as error:
        raise MissingError("prompt influence lacks scipy; type: pip install 'chain-of-zoom[eval]'") from error
    size = size_of(with_prompt)
    if with_prompt.shape != without.shape or window.width > size.width or window.height > size.height:
        raise MetricError(f"states of {size} and {size_of(without)} from a window of {window} cannot be compared")
    difference = with_prompt.astype(np.float64) - without.astype(np.float64)
    spectrum = np.square(dctn(difference, axes=(0, 1), norm="ortho"))
    total = float(spectrum.sum())
    if not total:
        return PromptInfluence(energy=0.0, contradiction=None, invention=None)
    below = float(spectrum[: window.height, : window.width].sum()) / total
    return PromptInfluence(energy=total / difference.size, contradiction=below, invention=1 - below)


def _info(name: str, direction: Literal["higher", "lower"], source: str, extra: str | None, note: str) -> MetricInfo:
    return MetricInfo(
        name=f"prompt.{name}",
        direction=direction,
        range=(0, 1),
        reference=False,
        source=source,
        licence="Apache-2.0",
        extra=extra,
        note=note,
    )


_LI = "Li et al.: A Diversity-Promoting Objective Function for Neural Conversation Models, NAACL 2016"
_OURS = "this project, docs/evaluation-metrics.md"
INFOS: dict[str, MetricInfo] = {
    info.name: info
    for info in (
        _info("distinct-1", "higher", _LI, None, "different words over all words of the set; falls as the set grows"),
        _info("distinct-2", "higher", _LI, None, "the same of pairs of neighbouring words"),
        _info("repetition", "lower", "Kim, Kim, Ye: Chain-of-Zoom, NeurIPS 2025", None, "repeated 3-grams, mean"),
        _info("empty", "lower", _OURS, None, "the share of prompts without a word"),
        _info(
            "contradiction", "lower", _OURS, "eval", "the share of a prompt's change that the parent could have told"
        ),
    )
}
