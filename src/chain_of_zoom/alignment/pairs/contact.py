"""Draw the contact sheet of a set of pairs: parent and zoom side by side, with the window and the pair's name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from chain_of_zoom.alignment.pairs.read import FullPairRow
from chain_of_zoom.imaging.encode import COMPOSITE, encode_jpeg, label
from chain_of_zoom.imaging.images import decode_png
from chain_of_zoom.imaging.sheet import Panel, draw_sheet

MAX_PAIRS = 48
TRAIN, HELD_OUT = (90, 200, 120), (138, 184, 255)


def draw_contact_sheet(name: str, rows: Sequence[FullPairRow], counts: Mapping[str, int], home: Path) -> bytes:
    """Draw a JPEG of up to 48 pairs, evenly from all of them. home: the folder of their pictures."""
    chosen = [rows[i] for i in np.linspace(0, len(rows) - 1, min(MAX_PAIRS, len(rows))).round().astype(int)]
    summary = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    legend = [(TRAIN, "train"), (HELD_OUT, "held out, by photo; left: the parent view, right: its 4x zoom by bicubic")]
    sheet = draw_sheet(f"{name}: {summary}; {len(chosen)} shown", [_draw_panel(row, home) for row in chosen], legend)
    generated = any(row.origin == "chain" for row in chosen)
    return encode_jpeg(sheet, label(f"Contact sheet of pairs of {name}", COMPOSITE if generated else None)[1])


def _draw_panel(row: FullPairRow, home: Path) -> Panel:
    parent, zoomed = (decode_png((home / file).read_bytes()) for file in (row.parent_file_name, row.zoomed_file_name))
    x0, y0, x1, y1 = row.box
    width, height = x1 - x0, y1 - y0
    window_x0, window_y0, window_x1, window_y1 = row.zoomed_box
    frame = (
        (window_x0 - x0) / width / 2,
        (window_y0 - y0) / height,
        (window_x1 - x0) / width / 2,
        (window_y1 - y0) / height,
    )
    return Panel(
        image=np.hstack([parent, zoomed]),
        title=f"{width:.0f} px" + (f", chain {4**row.depth}x" if row.depth else ""),
        lines=[row.name, row.split],
        colour=HELD_OUT if row.split == "held-out" else TRAIN,
        next_window=frame,
    )
