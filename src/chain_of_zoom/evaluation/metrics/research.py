"""The paper's learned metrics, through pyiqa and lpips where the user has installed them: for research only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chain_of_zoom.errors import MissingError
from chain_of_zoom.evaluation.metrics.base import Metric, MetricInfo
from chain_of_zoom.imaging.images import RGB8

_PYIQA = "NON-COMMERCIAL: pyiqa is PolyForm-Noncommercial-1.0.0; weights under their authors' licences"
_INFOS = {
    info.name: info
    for info in (
        MetricInfo(
            name="musiq",
            direction="higher",
            range=(0, 100),
            reference=False,
            source="Ke et al.: MUSIQ: Multi-scale Image Quality Transformer, ICCV 2021",
            licence=_PYIQA,
            extra="eval-research",
            note="trained on KonIQ-10k",
        ),
        MetricInfo(
            name="maniqa-pipal",
            direction="higher",
            range=(0, 1),
            reference=False,
            source="Yang et al.: MANIQA, CVPR Workshops 2022",
            licence=_PYIQA,
            extra="eval-research",
            note="trained on PIPAL; rises with scale even for nearest-neighbour enlargements",
        ),
        MetricInfo(
            name="clipiqa",
            direction="higher",
            range=(0, 1),
            reference=False,
            source="Wang, Chan, Loy: Exploring CLIP for Assessing the Look and Feel of Images, AAAI 2023",
            licence=_PYIQA,
            extra="eval-research",
            note="rises with scale even for nearest-neighbour enlargements",
        ),
        MetricInfo(
            name="dists",
            direction="lower",
            range=(0, 1),
            reference=True,
            source="Ding et al.: Image Quality Assessment: Unifying Structure and Texture Similarity, TPAMI 2022",
            licence=_PYIQA,
            extra="eval-research",
        ),
        MetricInfo(
            name="lpips",
            direction="lower",
            range=(0, float("inf")),
            reference=True,
            source="Zhang et al.: The Unreasonable Effectiveness of Deep Features as a Perceptual Metric, CVPR 2018",
            licence="BSD-2-Clause; AlexNet's weights come from torchvision (BSD-3-Clause)",
            extra="eval-research",
            note="AlexNet, version 0.1",
        ),
    )
}


class Research(Metric):
    """One learned metric of another package; it may download its weights at the first call."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.info = _INFOS[name]
        self._package = "lpips" if name == "lpips" else "pyiqa"
        self.needs = ("torch", "torchvision", self._package)  # torch and torchvision come with both

    def _load(self) -> None:
        try:
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
