"""From a metric's name to the metric: a table of strings, so that listing names imports nothing."""

from __future__ import annotations

from typing import cast

from chain_of_zoom.evaluation.metrics.base import Metric
from chain_of_zoom.plugins import Table, create

METRICS: Table = {
    "psnr": ("chain_of_zoom.evaluation.metrics.psnr:Psnr", {}, None),
    "psnr-y": ("chain_of_zoom.evaluation.metrics.psnr:Psnr", {"channels": "y"}, None),
}


def load_metric(name: str) -> Metric:
    """The metric called `name`, made but not yet loaded. Raises UsageError."""
    return cast(Metric, create("metric", METRICS, name))
