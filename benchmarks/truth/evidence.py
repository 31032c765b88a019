"""Write the tables of docs/evidence.md by what is in the picture, from the zooms of trust.py.

    python benchmarks/truth/photos.py PACKAGES -o photos
    python benchmarks/truth/trust.py zoom photos --backbone bicubic -o zooms     # and span, animevideo, realsr
    python benchmarks/truth/evidence.py zooms                                    # writes into docs/evidence.md

Of the parts calibrate, fresh and twelve, which no network of this project was trained on. A photo counts once: the mean
of its places. Places of one backbone may show less than bicubic's, which are cut to the same pixels then.
"""

from __future__ import annotations

import argparse
import re
from collections import defaultdict
from pathlib import Path
from statistics import mean

import numpy as np
from numpy.typing import NDArray
from photos import read_list

from chain_of_zoom.errors import MetricError
from chain_of_zoom.evaluation.metrics.gradients import Detail
from chain_of_zoom.files import write_atomic
from chain_of_zoom.pages.table import format_markdown_table

PAGE = Path(__file__).parents[2] / "docs" / "evidence.md"
BEGIN, END = "<!-- begin: benchmarks/truth/evidence.py -->\n", "<!-- end -->\n"
PARTS = ("calibrate", "fresh", "twelve")
BASE = "bicubic"
DEPTHS = (4, 16)
Luma = NDArray[np.uint8]
Pairs = dict[str, list[tuple[float, float]]]
"""For every photo its places: the correlation of a backbone, and bicubic's."""


def find_corner(part: Luma, whole: Luma, step: int) -> tuple[int, int] | None:
    """Find where a part lies in a whole, on a grid of `step` pixels."""
    spans = (range(0, length - side + 1, step) for length, side in zip(whole.shape, part.shape, strict=True))
    rows, columns = spans
    for y in rows:
        for x in columns:
            if np.array_equal(whole[y : y + part.shape[0], x : x + part.shape[1]], part):
                return y, x
    return None


def correlate(state: Luma, truth: Luma) -> float | None:
    """Return the correlation of gradients, None where one is flat."""
    try:
        return Detail()(*(np.repeat(luma[..., None], 3, axis=2) for luma in (state, truth)))
    except MetricError:
        return None


def read_pairs(folder: Path) -> dict[tuple[str, int], Pairs]:
    """Read the correlations by backbone and depth."""
    pairs: dict[tuple[str, int], Pairs] = defaultdict(lambda: defaultdict(list))
    for file in sorted(folder.glob("*.npz")):
        part, _, name = file.stem.partition("-")
        photo, backbone, depth, place = name.rsplit("-", 3)
        base_file = folder / f"{part}-{photo}-{BASE}-{depth}-{place}.npz"
        if part not in PARTS or not base_file.is_file():
            continue
        zoomed, base = np.load(file), np.load(base_file)
        truth = zoomed["truth"]
        corner = find_corner(truth, base["truth"], int(depth))
        if corner is None:  # moved by the edge of the photo
            continue
        plain = base["state"][corner[0] : corner[0] + truth.shape[0], corner[1] : corner[1] + truth.shape[1]]
        own, bicubic = correlate(zoomed["state"], truth), correlate(plain, truth)
        if own is not None and bicubic is not None:
            pairs[backbone, int(depth)][photo].append((own, bicubic))
    return pairs


def write_tables(folder: Path) -> str:
    """Return the tables as Markdown: correlations, and on how many photos they exceed bicubic's."""
    subjects = {f"{photo.sha256[:8]}-{Path(photo.file).stem}": photo.subject for photo in read_list()}
    pairs = read_pairs(folder)
    backbones = [name for name in ("span", "animevideo", "realsr") if (name, DEPTHS[0]) in pairs]
    text = []
    for depth in DEPTHS:
        rows = [[f"{depth}x", "photos", BASE, *backbones]]
        for subject in (*sorted(set(subjects.values())), "all"):
            photos = {
                name: {
                    photo: [mean(column) for column in zip(*places, strict=True)]
                    for photo, places in pairs[name, depth].items()
                    if subject in ("all", subjects[photo])
                }
                for name in (BASE, *backbones)
            }
            if not photos[BASE]:
                continue
            cells = [f"{mean(own for own, _ in photos[BASE].values()):.3f}"]
            for name in backbones:
                measured = photos[name].values()
                truer = sum(own > bicubic for own, bicubic in measured)
                cells.append(f"{mean(own for own, _ in measured):.3f}, {truer} of {len(measured)}" if measured else "")
            rows.append([subject, str(len(photos[BASE])), *cells])
        text.append(format_markdown_table(rows))
    return "\n".join(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("zooms", type=Path)
    tables = write_tables(parser.parse_args().zooms)
    page = PAGE.read_text(encoding="utf-8")
    write_atomic(PAGE, re.sub(f"{BEGIN}.*{END}", lambda _: f"{BEGIN}\n{tables}\n{END}", page, flags=re.S).encode())


if __name__ == "__main__":
    main()
