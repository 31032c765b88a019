"""Compute what the network of the prompter `words` sees in every texture at every depth.

    python benchmarks/words/features.py FOLDER_WITH_UNPACKED_PACKAGES benchmarks/words/textures.csv features.npz

Of each texture a centred square of at most 512 px is the measured picture. A window at depth m is its middle with 1/m
of the side, enlarged as the prompter enlarges it; its parent is the window at depth m / 4. "Framed" is a parent with
another material all around: only the middle half is the texture's own.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from chain_of_zoom.prompters.recognition.network import FeatureNetwork

DEPTHS = (1, 4, 16, 64)
FRAMED = (16, 64)  # depths whose parents are seen framed, too
STATE = 512


def load_square(path: Path) -> Image.Image:
    """Read the middle of a texture; those of 2048 px, which are soft, are halved first."""
    picture = Image.open(path).convert("RGB")
    if min(picture.size) >= 2048:
        picture = picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.BOX)
    side = min(*picture.size, STATE)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    return picture.crop((left, top, left + side, top + side))


def cut_middle(picture: Image.Image, side: int) -> Image.Image:
    """Cut the middle of a square picture."""
    start = (picture.width - side) // 2
    return picture.crop((start, start, start + side, start + side))


def frame(picture: Image.Image, surroundings: Image.Image, side: int) -> Image.Image:
    """Put the middle of a picture into another one: `side` in all, half of it the picture's own."""
    framed = cut_middle(surroundings.resize(picture.size), side)
    half = side // 2
    framed.paste(cut_middle(picture, half), ((side - half) // 2, (side - half) // 2))
    return framed


def main() -> int:
    """Write an archive: `windows` (texture, depth, feature) and `framed` (texture, parent's depth, feature)."""
    root, rows = Path(sys.argv[1]), list(csv.DictReader(Path(sys.argv[2]).read_text().splitlines()))
    network = FeatureNetwork()
    partners = np.random.default_rng(7).permutation(len(rows))
    windows = np.zeros((len(rows), len(DEPTHS), 1280), np.float16)
    framed = np.zeros((len(rows), len(FRAMED), 1280), np.float16)
    for index, row in enumerate(rows):
        picture = load_square(root / row["package"] / row["file"])
        partner = partners[index]
        while rows[partner]["material"] == row["material"]:
            partner = (partner + 1) % len(rows)
        surroundings = load_square(root / rows[partner]["package"] / rows[partner]["file"])
        for column, depth in enumerate(DEPTHS):
            windows[index, column] = network(np.asarray(cut_middle(picture, max(picture.width // depth, 4))))
        for column, depth in enumerate(FRAMED):
            side = picture.width // (depth // 4)
            framed[index, column] = network(np.asarray(frame(picture, surroundings, side)))
        if index % 100 == 0:
            print(f"{index} of {len(rows)}", flush=True)
    np.savez(sys.argv[3], windows=windows, framed=framed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
