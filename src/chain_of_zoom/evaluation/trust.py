"""Compare the trust map of states with their true error, where the truth is there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chain_of_zoom.chain.record import StateRecord
from chain_of_zoom.evaluation.finished import FinishedZoom
from chain_of_zoom.evaluation.results import ShownFile, TrustCheck
from chain_of_zoom.files import relate, write_atomic
from chain_of_zoom.imaging.encode import encode_png
from chain_of_zoom.imaging.images import RGB8, decode_png
from chain_of_zoom.truth.trust import BLOCK, NOTICEABLE, Blocks, draw_trust, overlay_trust, read_trust

TENTHS = 10
MARKED, TRUST, ERROR = "marked", "trust", "true error"
"""What is shown of a state beside it: blocks in red, how likely each is right, and how right each is."""


def check_trust(zooms: Sequence[FinishedZoom], out: Path) -> tuple[tuple[TrustCheck, ...], tuple[ShownFile, ...]]:
    """Compare all states that have a map and a truth; write pictures of both beside them. Raises OutputError.

    out: the folder that the names of pictures are relative to.
    """
    blocks: dict[tuple[str, int], list[tuple[str, Blocks, Blocks]]] = defaultdict(list)
    files: list[ShownFile] = []
    for zoom in zooms:
        for depth, state in zoom.states().items():
            if state.trust_file is None or zoom.case.truth is None:
                continue
            image, trust = _read_state(zoom, state, state.trust_file)
            truth = decode_png(zoom.case.truth.read_bytes())
            differences = measure_difference(read_luma(image), read_luma(truth))
            rows, columns = differences.shape
            trust = trust[:rows, :columns]
            blocks[zoom.method.name, depth].append((zoom.case.picture, trust.ravel(), differences.ravel()))
            names = {TRUST: state.trust_file}
            for about, pixels in (
                (MARKED, overlay_trust(trust, image)),
                (ERROR, draw_trust(np.clip(1 - differences / (2 * NOTICEABLE), 0, 1), image)),
            ):
                names[about] = f"{about.replace(' ', '_')}_{depth}x.png"
                write_atomic(zoom.run.folder / names[about], encode_png(pixels))
            for about, name in names.items():
                place = {**zoom.place(depth), "method": f"{zoom.method.name}: {about}"}
                files.append(ShownFile(**place, file=relate(zoom.run.folder / name, out)))
    return tuple(_summarise(*key, entries) for key, entries in blocks.items()), tuple(files)


def _read_state(zoom: FinishedZoom, state: StateRecord, trust_file: str) -> tuple[RGB8, Blocks]:
    image, grey = (decode_png((zoom.run.folder / name).read_bytes()) for name in (state.file, trust_file))
    return image, read_trust(grey[..., 0])


def _summarise(method: str, depth: int, entries: Sequence[tuple[str, Blocks, Blocks]]) -> TrustCheck:
    trust, differences = (np.concatenate([entry[part] for entry in entries]) for part in (1, 2))
    differs, flagged = differences > NOTICEABLE, trust < 0.5
    tenth = np.minimum((trust * TENTHS).astype(int), TENTHS - 1)
    return TrustCheck(
        method=method,
        depth=depth,
        pictures=len({entry[0] for entry in entries}),
        blocks=len(trust),
        differ=float(differs.mean()),
        flagged=float(flagged.mean()),
        caught=float(flagged[differs].mean()) if differs.any() else None,
        auroc=measure_auroc(-trust, differs),
        tenths=tuple((int((tenth == step).sum()), int((~differs)[tenth == step].sum())) for step in range(TENTHS)),
    )


def read_luma(pixels: RGB8) -> NDArray[np.uint8]:
    """Return the luma of a picture in levels, H x W."""
    luma: NDArray[np.uint8] = np.rint(pixels @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)
    return luma


def measure_difference(state: NDArray[np.uint8], truth: NDArray[np.uint8]) -> Blocks:
    """Return the root mean square difference of every whole block, in levels; state and truth: luma, H x W."""
    rows, columns = (length // BLOCK for length in state.shape)
    off = np.square(state.astype(np.float32) - truth)[: rows * BLOCK, : columns * BLOCK]
    differences: Blocks = np.sqrt(off.reshape(rows, BLOCK, columns, BLOCK).mean(axis=(1, 3)))
    return differences


def measure_auroc(scores: Blocks, is_positive: NDArray[np.bool_]) -> float | None:
    """Return the chance that a positive one scores higher than a negative one; ties count half. None without both."""
    positives, negatives = int(is_positive.sum()), int((~is_positive).sum())
    if not positives or not negatives:
        return None
    _, places, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]
    return float((ranks[is_positive].sum() - positives * (positives + 1) / 2) / (positives * negatives))
