"""Names of metrics and the classes behind them, as strings, so that listing names imports nothing."""

from __future__ import annotations

from typing import cast

from chain_of_zoom.evaluation.metrics.base import Metric
from chain_of_zoom.plugins import Table, create

_HERE = "chain_of_zoom.evaluation.metrics"
METRICS: Table = {
    "detail": (f"{_HERE}.gradients:Detail", {}, None),
    "sharpness": (f"{_HERE}.gradients:Sharpness", {}, None),
    "niqe": (f"{_HERE}.niqe:Niqe", {}, "eval"),
    "piqe": (f"{_HERE}.piqe:Piqe", {}, "eval"),
    "psnr": (f"{_HERE}.psnr:Psnr", {}, None),
    "psnr-y": (f"{_HERE}.psnr:Psnr", {"channels": "y"}, None),
    "ssim": (f"{_HERE}.ssim:Ssim", {}, "eval"),
    "ms-ssim": (f"{_HERE}.ssim:MsSsim", {}, "eval"),
    "ssimulacra2": (f"{_HERE}.ssimulacra2:Ssimulacra2", {}, "eval"),
    "st-lpips": (f"{_HERE}.stlpips:StLpips", {}, "eval-torch"),
    **{
        name: (f"{_HERE}.research:ResearchMetric", {"name": name}, "eval-research")
        for name in ("musiq", "maniqa-pipal", "clipiqa", "lpips", "dists")
    },
    **{
        f"consistency.{name}": (
            "chain_of_zoom.evaluation.consistency:ConsistencyMetric",
            {"name": f"consistency.{name}"},
            "eval",
        )
        for name in ("psnr", "color", "gradient", "shift", "color-shift", "1x-psnr", "1x-color-shift", "1x-drift")
    },
}


def load_metric(name: str) -> Metric:
    """Return the metric called `name`, made but not yet loaded. Raises UsageError."""
    return cast(Metric, create("metric", METRICS, name))
