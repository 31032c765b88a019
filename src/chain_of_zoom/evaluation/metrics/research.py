"""Run the paper's learned metrics through pyiqa and lpips, where the user has installed them: for research only."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import Any

from chain_of_zoom.errors import MissingError
from chain_of_zoom.evaluation.metrics.base import Direction, MetricInfo, PictureMetric
from chain_of_zoom.imaging.images import RGB8

_PYIQA = "NON-COMMERCIAL: pyiqa is PolyForm-Noncommercial-1.0.0; weights under their authors' licences"


def _describe(
    name: str, direction: Direction, top: float, source: str, *, reference: bool, licence: str = _PYIQA, note: str = ""
) -> MetricInfo:
    return MetricInfo(
        name=name,
        direction=direction,
        range=(0, top),
        reference=reference,
        source=source,
        licence=licence,
        extra="eval-research",
        note=note,
    )


_MUSIQ = "Ke et al.: MUSIQ: Multi-scale Image Quality Transformer, ICCV 2021"
_MANIQA = "Yang et al.: MANIQA, CVPR Workshops 2022"
_CLIPIQA = "Wang, Chan, Loy: Exploring CLIP for Assessing the Look and Feel of Images, AAAI 2023"
_DISTS = "Ding et al.: Image Quality Assessment: Unifying Structure and Texture Similarity, TPAMI 2022"
_LPIPS = "Zhang et al.: The Unreasonable Effectiveness of Deep Features as a Perceptual Metric, CVPR 2018"
_ALEXNET = "BSD-2-Clause; AlexNet's weights come from torchvision (BSD-3-Clause)"
_RISES = "rises with scale even for nearest-neighbour enlargements"
INFOS = {
    info.name: info
    for info in (
        _describe("musiq", "higher", 100, _MUSIQ, reference=False, note="trained on KonIQ-10k"),
        _describe("maniqa-pipal", "higher", 1, _MANIQA, reference=False, note=f"trained on PIPAL; {_RISES}"),
        _describe("clipiqa", "higher", 1, _CLIPIQA, reference=False, note=_RISES),
        _describe("dists", "lower", 1, _DISTS, reference=True),
        _describe(
            "lpips", "lower", float("inf"), _LPIPS, reference=True, licence=_ALEXNET, note="AlexNet, version 0.1"
        ),
    )
}


class ResearchMetric(PictureMetric):
    """One learned metric of another package; it may download its weights at the first call."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.info = INFOS[name]
        self._package = "lpips" if name == "lpips" else "pyiqa"
        self.needs = ("torch", "torchvision", self._package)  # torch and torchvision come with both

    def _load(self) -> None:
        try:
            # "Downloading ..." is none of what `--json` prints, and torchvision's advice is for the authors of lpips.
            with redirect_stdout(sys.stderr), warnings.catch_warnings(action="ignore"):
                self._score: Callable[..., Any] = _lpips() if self._package == "lpips" else _pyiqa(self.info.name)
        except Exception as error:  # a download, a licence wall, torchvision beside another torch: anything
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise MissingError(
                f"metric {self.info.name}: {self._package} does not load ({reason}); once it does in Python, try again"
            ) from error

    def _measure(self, image: RGB8, reference: RGB8 | None) -> float:
        import torch

        pictures = [
            torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 255
            for picture in (image, reference)
            if picture is not None
        ]
        with torch.inference_mode():
            return float(self._score(*pictures))


def _pyiqa(name: str) -> Callable[..., Any]:
    import pyiqa

    score: Callable[..., Any] = pyiqa.create_metric(name)
    return score


def _lpips() -> Callable[..., Any]:
    import lpips

    network = lpips.LPIPS(net="alex", verbose=False)
    network.eval()

    def score(image: Any, reference: Any) -> Any:
        return network(image, reference, normalize=True)

    return score
