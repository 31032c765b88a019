"""Draw the tiles of every material that the backbone `zoom` knows, and write them as the package ships them.

    python training/textures.py src/chain_of_zoom/texture/tiles.npz

Each tile is drawn by rules, so that nobody's picture is in it: strokes, grains, cells, weaves and noise, periodic,
256 x 256 px, grey. Only what a reduction by 4 removes is kept, of grain and strands, which
are of no material, what one by 16 removes. SciPy is needed (the extra [dev] brings it).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from chain_of_zoom.texture.fine import FACTOR, keep_fine
from chain_of_zoom.texture.tiles import GRAIN, STRANDS, UNIT

Grey = NDArray[np.float64]
Outline = list[tuple[float, float]]
SIDE = 256
OVERSAMPLING = 2
LONGEST = 48  # pixels that a stroke or a disc reaches at most


def standardize(values: Grey) -> Grey:
    """Give values the mean 0 and the standard deviation 1."""
    return (values - values.mean()) / values.std()


def draw_noise(seed: int, slope: float, stretch: float = 1) -> Grey:
    """Make noise whose amplitude falls off with frequency to the power of `slope`; stretched along upright lines."""
    down, right = np.meshgrid(np.fft.fftfreq(SIDE), np.fft.fftfreq(SIDE), indexing="ij")
    frequency = np.hypot(right, down * stretch)
    frequency[0, 0] = 1
    spectrum = np.fft.fft2(np.random.default_rng(seed).normal(size=(SIDE, SIDE))) * frequency**-slope
    return standardize(np.fft.ifft2(spectrum).real)


def draw_shapes(seed: int, count: int, outline: Callable[[np.random.Generator], Outline]) -> Grey:
    """Lay shapes of random tone over one another, as leaves fall; what leaves the tile comes in opposite."""
    rng = np.random.default_rng(seed)
    canvas = Image.new("L", (SIDE * OVERSAMPLING, SIDE * OVERSAMPLING), 128)
    pen = ImageDraw.Draw(canvas)
    for _ in range(count):
        x, y = rng.uniform(0, SIDE, 2)
        points, tone = outline(rng), int(np.clip(rng.normal(128, 45), 0, 255))
        for left in (x - SIDE, x, x + SIDE):
            for top in (y - SIDE, y, y + SIDE):
                if -LONGEST < left < SIDE + LONGEST and -LONGEST < top < SIDE + LONGEST:
                    pen.polygon([((left + a) * OVERSAMPLING, (top + b) * OVERSAMPLING) for a, b in points], fill=tone)
    return standardize(np.asarray(canvas.resize((SIDE, SIDE), Image.Resampling.BOX), dtype=np.float64))


def draw_discs(seed: int, smallest: float, largest: float, elongation: float = 1) -> Grey:
    """Lay discs or leaves over one another, the small ones the most frequent (power 3)."""

    def outline(rng: np.random.Generator) -> Outline:
        radius = (smallest**-2 + rng.random() * (largest**-2 - smallest**-2)) ** -0.5
        turn, around = rng.uniform(0, np.pi), np.linspace(0, 2 * np.pi, 12, endpoint=False)
        x, y = radius * elongation * np.cos(around), radius / elongation**0.5 * np.sin(around)
        return list(zip(x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn), strict=True))

    return draw_shapes(seed, int(16000 / smallest), outline)


def draw_blades(seed: int, length: float, width: float, spread: float) -> Grey:
    """Lay bent strokes over one another, upright but for `spread` radians."""

    def outline(rng: np.random.Generator) -> Outline:
        turn = np.pi / 2 + rng.normal(0, spread)
        half, wide = length * rng.uniform(0.25, 0.75), width * rng.uniform(0.3, 0.7)
        bend = rng.normal(0, 0.25) * 2 * half
        along, across = np.array([np.cos(turn), np.sin(turn)]), np.array([-np.sin(turn), np.cos(turn)])
        corners = [
            -half * along + wide * across,
            (bend + wide) * across,
            half * along,
            (bend - wide) * across,
            -half * along - wide * across,
        ]
        return [(float(x), float(y)) for x, y in corners]

    return draw_shapes(seed, int(60000 / (length * width)), outline)


def draw_cells(seed: int, count: int, edge: float) -> Grey:
    """Draw the cells around random points, each of its tone, with dark edges `edge` pixels wide."""
    rng = np.random.default_rng(seed)
    tree = cKDTree(rng.uniform(0, SIDE, (count, 2)), boxsize=SIDE)
    down, right = np.mgrid[:SIDE, :SIDE] + 2 * np.stack([draw_noise(seed + 1, 1.2), draw_noise(seed + 2, 1.2)])
    distances, numbers = tree.query(np.stack([down.ravel() % SIDE, right.ravel() % SIDE], axis=1), k=2)
    gap = np.clip((distances[:, 1] - distances[:, 0]) / edge, 0, 1).reshape(SIDE, SIDE)
    tone = rng.normal(size=count)[numbers[:, 0]].reshape(SIDE, SIDE)
    return standardize(0.5 * tone + 1.5 * gap + 0.25 * draw_noise(seed + 3, 0.8))


def draw_ridges(seed: int, size: float) -> Grey:
    """Draw ridges of four sizes, each about half the one before: the fold lines of noise."""
    folds = np.zeros((SIDE, SIDE))
    for octave in range(4):
        white = np.random.default_rng(seed + octave).normal(size=(SIDE, SIDE))
        smooth = gaussian_filter(white, 1.6 * size / 1.8**octave, mode="wrap")
        folds -= 0.7**octave * np.abs(smooth / smooth.std())
    return standardize(folds)


def draw_weave(seed: int, thread: float) -> Grey:
    """Draw a plain weave of threads `thread` pixels wide, not quite even."""
    down, right = np.mgrid[:SIDE, :SIDE] + 0.6 * np.stack([draw_noise(seed, 1.5), draw_noise(seed + 1, 1.5)])
    row, column = down / thread, right / thread
    over_row, over_column = np.sin(np.pi * (row % 1)), np.sin(np.pi * (column % 1))
    warp = over_column * (0.6 + 0.4 * over_row)
    weft = 0.8 * over_row * (0.6 + 0.4 * over_column)
    is_warp = (np.floor(row) + np.floor(column)) % 2 == 0
    return standardize(np.where(is_warp, warp, weft) + 0.15 * draw_noise(seed + 2, 0.3))


def draw_waves(seed: int, frequency: float) -> Grey:
    """Add up forty waves that run about downwards, with crests sharper than troughs."""
    rng = np.random.default_rng(seed)
    down, right = np.mgrid[:SIDE, :SIDE] / SIDE
    height = np.zeros((SIDE, SIDE))
    for _ in range(40):
        rate, turn = frequency * rng.uniform(0.5, 2), np.pi / 2 + rng.normal(0, 0.5)
        across, along = np.rint(rate * np.cos(turn) * SIDE / 16), np.rint(rate * np.sin(turn) * SIDE / 16)
        height += np.sin(2 * np.pi * (across * right + along * down) + rng.uniform(0, 2 * np.pi)) / rate
    return standardize(np.exp(0.9 * standardize(height)))


def draw_grains(seed: int, size: float, share: float) -> Grey:
    """Scatter soft grains of random tone over a share of the pixels."""
    rng = np.random.default_rng(seed)
    count = int(SIDE * SIDE * share)
    dots = np.zeros((SIDE, SIDE))
    np.add.at(dots, (rng.integers(0, SIDE, count), rng.integers(0, SIDE, count)), rng.normal(size=count))
    return standardize(gaussian_filter(dots, size, mode="wrap"))


# Which of the tiles a material gets was decided by eye.
TILES: dict[str, list[Grey]] = {
    "brick": [draw_discs(1, 0.8, 4), draw_noise(2, 0.6)],
    "concrete": [draw_noise(3, 0.6), draw_grains(4, 1, 0.3)],
    "fabric": [draw_weave(5, 4), draw_weave(6, 16 / 3)],
    "foliage": [draw_discs(7, 1.2, 6, 1.8), draw_discs(8, 2.5, 12, 1.8)],
    "fur": [draw_blades(9, 26, 1, 0.15), draw_blades(10, 20, 1.2, 0.25)],
    "grass": [draw_blades(11, 8, 1.2, 0.5), draw_blades(12, 18, 1.5, 0.35)],
    "metal": [draw_noise(13, 0.7, 10), draw_noise(14, 0.3)],
    "sand": [draw_grains(15, 0.6, 0.5), draw_discs(16, 0.8, 3)],
    "snow": [draw_noise(17, 1), draw_ridges(18, 4)],
    "soil": [draw_discs(19, 1.5, 8), draw_cells(20, 3000, 1.5)],
    "stone": [draw_ridges(21, 2), draw_cells(24, 3000, 1.5)],
    "straw": [draw_blades(28, 18, 1.2, 9), draw_blades(29, 26, 1.4, 9)],
    "water": [draw_waves(30, 2), draw_waves(31, 1)],
    "wood": [draw_noise(32, 0.7, 4), draw_noise(33, 0.7, 10)],
    GRAIN: [standardize(draw_noise(34 + i, 1) + 0.6 * draw_discs(37 + i, 1, 16)) for i in range(3)],
    STRANDS: [standardize(draw_noise(40 + i, 1, 2) + 0.5 * draw_discs(43 + i, 1, 16)) for i in range(3)],
}
DIRECTED = ("fur", "grass", "metal", "wood", STRANDS)


def main() -> int:
    """Write the archive: a stack of int8 tiles for every material, and the names of those that have a grain."""
    arrays = {}
    for material, drawn in TILES.items():
        # Nine copies, so that what is taken out at an edge comes from the other one.
        vanishes = FACTOR**2 if material in (GRAIN, STRANDS) else FACTOR
        around = [keep_fine(np.tile(tile.astype(np.float32), (3, 3)), vanishes) for tile in drawn]
        fine = [tile[SIDE : 2 * SIDE, SIDE : 2 * SIDE] for tile in around]
        arrays[material] = np.stack([np.clip(np.rint(UNIT * t / t.std()), -127, 127).astype(np.int8) for t in fine])
    np.savez_compressed(Path(sys.argv[1]), directed=np.array(DIRECTED), **arrays)
    return 0


if __name__ == "__main__":
    sys.exit(main())
