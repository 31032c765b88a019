"""The table of the paper, to stand beside ours when the same pictures were measured, and never otherwise.

Source: Table 1 of the paper (DIV2K train, 800 pictures, 512x512 px crops).
"""

from __future__ import annotations

from chain_of_zoom.datasets.manifest import DIV2K_TRAIN
from chain_of_zoom.evaluation.results import MethodNote, NotMeasured, Results

METRICS = ("niqe", "musiq", "maniqa-pipal", "clipiqa")

# (backbone, recursion, prompter) -> depth -> numbers in the order of METRICS.
TABLE: dict[tuple[str, str, str | None], dict[int, tuple[float, float, float, float]]] = {
    ("nearest", "chain", None): {
        4: (12.13, 39.96, 0.340, 0.263),
        16: (22.12, 24.01, 0.338, 0.235),
        64: (27.41, 37.69, 0.380, 0.369),
        256: (34.85, 27.01, 0.418, 0.526),
    },
    ("osediff-sd3", "direct", "dape"): {
        4: (4.73, 67.00, 0.634, 0.701),
        16: (7.22, 51.25, 0.541, 0.608),
        64: (16.59, 22.54, 0.400, 0.431),
        256: (16.17, 28.89, 0.447, 0.520),
    },
    ("osediff-sd3", "chain", None): {
        4: (4.77, 66.99, 0.631, 0.698),
        16: (6.50, 59.19, 0.586, 0.669),
        64: (8.35, 51.82, 0.563, 0.631),
        256: (10.05, 46.28, 0.551, 0.586),
    },
    ("osediff-sd3", "chain", "dape"): {
        4: (4.73, 67.01, 0.634, 0.700),
        16: (6.55, 58.83, 0.595, 0.661),
        64: (8.66, 51.77, 0.573, 0.626),
        256: (10.46, 46.22, 0.556, 0.589),
    },
    ("osediff-sd3", "chain", "vlm-adapter"): {
        4: (4.66, 67.10, 0.636, 0.702),
        16: (6.40, 58.81, 0.597, 0.657),
        64: (8.23, 52.13, 0.579, 0.632),
        256: (9.83, 47.83, 0.569, 0.599),
    },
}


def find_published(results: Results, method: MethodNote, depth: int, metric: str) -> float | None:
    """Return the paper's number for the same pictures, method and metric, or None where there is none."""
    if results.protocol != "paper" or results.known != DIV2K_TRAIN or metric not in METRICS:
        return None
    if method.options.get("prompter", {}).get("multi_scale") == "False":
        return None
    writer = None if method.writer == "null" else method.writer
    numbers = TABLE.get((method.backbone, method.mode, writer), {}).get(depth)
    return numbers[METRICS.index(metric)] if numbers else None


def explain_absence(results: Results) -> NotMeasured | None:
    """Return why the published table does not stand beside ours; None where it does, or would not belong."""
    if results.protocol != "paper" or results.known == DIV2K_TRAIN:
        return None
    return NotMeasured(
        what="the published table",
        why=f"is of the 800 pictures of DIV2K train, and these are {results.known or 'others'}; "
        f"type: --data DIV2K_train_HR --metrics {','.join(METRICS)}",
    )
