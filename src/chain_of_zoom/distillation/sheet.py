"""Draws a sheet of a picture after every operation of its degradations."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from chain_of_zoom.distillation.operations import Operation, apply
from chain_of_zoom.imaging.geometry import Box, Size
from chain_of_zoom.imaging.images import RGB8, resize, size_of, to_uint8
from chain_of_zoom.imaging.sheet import BACKGROUND, CELL, FAINT, Panel, draw_sheet

_TRUTH = (90, 200, 120)
_RESULT = (244, 114, 182)


def draw_degradation_sheet(picture: RGB8, samples: Sequence[tuple[str, Sequence[Operation]]]) -> RGB8:
    """Draw a row for each sample (a heading and its operations): the picture, and its middle after every operation.

    picture: uint8, side x side x 3. The middle is shown pixel by pixel; where an operation reduced the picture, pixels
    are repeated. Returns uint8, H x W x 3.
    """
    columns = 1 + max(len(operations) for _, operations in samples)
    rows = [draw_sheet(heading, _make_panels(picture, operations), (), columns) for heading, operations in samples]
    width = max(row.shape[1] for row in rows)
    return np.concatenate([_widen(row, width) for row in rows])


def _make_panels(picture: RGB8, operations: Sequence[Operation]) -> list[Panel]:
    size = size_of(picture)
    share = min(Fraction(1), Fraction(CELL, min(size)))
    low, high = float((1 - share) / 2), float((1 + share) / 2)
    truth = Panel(
        image=resize(picture, Size(CELL, CELL), "lanczos"),
        title="truth",
        lines=[f"{size}; the frame is shown on the right"],
        colour=_TRUTH,
        next_window=(low, low, high, high),
    )
    panels = [truth]
    for number, (operation, result) in enumerate(zip(operations, apply(picture, operations), strict=True), start=1):
        title, _, text = str(operation).partition(": ")
        is_last = number == len(operations)
        panels.append(
            Panel(
                image=_cut_middle(to_uint8(result), share),
                title=title,
                lines=[text, "what the backbone is given"] if is_last else [text],
                colour=_RESULT if is_last else FAINT,
            )
        )
    return panels


def _cut_middle(pixels: RGB8, share: Fraction) -> RGB8:
    """Cut the middle of a picture, `share` of it along each axis, enlarged or reduced to a cell of the sheet."""
    width, height = size_of(pixels)
    margin = (1 - share) / 2
    box = Box(width * margin, height * margin, width * (1 - margin), height * (1 - margin))
    return resize(pixels, Size(CELL, CELL), "nearest", box)


def _widen(row: RGB8, width: int) -> RGB8:
    wide = np.empty((len(row), width, 3), np.uint8)
    wide[:] = BACKGROUND
    wide[:, : row.shape[1]] = row
    return wide
