"""Fit, calibrate and check the trust map on zooms whose truth is known.

    python benchmarks/truth/trust.py zoom fit PHOTOS --backbone span -o zooms         # again per backbone
    python benchmarks/truth/trust.py zoom calibrate OTHER-PHOTOS --backbone span -o zooms
    python benchmarks/truth/trust.py zoom test TWELVE --backbone span -o zooms        # those of docs/evidence.md
    python benchmarks/truth/trust.py fit -o zooms       # writes src/chain_of_zoom/truth/trust.json
    python benchmarks/truth/trust.py check -o zooms     # the table of docs/truth.md

Photos are reduced 4x and 16x, by area or bicubic in turn, and zoomed back at the most textured place and at random
ones. No photo is in two parts: the polynomial is fitted to the first, how far it is off comes from the second, the
table from the third. A backbone without photos in the second part gets no map.
"""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray
from resolution import fit_quadratic

from chain_of_zoom import ChainOfZoom
from chain_of_zoom.evaluation.true_zoom import reduce_photo
from chain_of_zoom.imaging.images import RGB8, Picture, load
from chain_of_zoom.imaging.spots import find_textured_spots
from chain_of_zoom.truth.trust import BLOCK, MODEL, NOTICEABLE, OFFSET, TrustModel, describe_blocks, predict_difference

PARTS = ("fit", "calibrate", "test")
DEPTHS = (4, 16)
BLOCKS_EACH = 8000  # per backbone and depth, so that none outweighs the next


class Group(NamedTuple):
    """All blocks of a part by one backbone at one depth."""

    features: NDArray[np.float32]
    differences: NDArray[np.float32]
    photos: int


def zoom(photo: Path, backbone: str, side: int, spots: int) -> Iterator[tuple[str, dict[str, NDArray[np.uint8]]]]:
    """Yield names and pixels of zooms: the state, what it was made from, and the truth."""
    chain, pixels = ChainOfZoom(backbone=backbone), load(photo).pixels
    seed = zlib.crc32(photo.stem.encode())
    textured = find_textured_spots(pixels, 1)[0]
    for depth in DEPTHS:
        rng = np.random.default_rng(seed + depth)
        height, width = (length // depth * depth for length in pixels.shape[:2])
        if min(height, width) < max(side + depth, 33 * depth):
            continue
        picture = Picture.of_pixels(
            reduce_photo(pixels[:height, :width], depth, "area" if seed % 2 else "bicubic"), photo.stem
        )
        places = [textured, *((rng.uniform(0, width), rng.uniform(0, height)) for _ in range(spots - 1))]
        for number, (x, y) in enumerate(places):
            left = int(min(max(x - side / 2, 0), width - side) // depth)
            top = int(min(max(y - side / 2, 0), height - side) // depth)
            reach = side // depth
            box = f"{left}px,{top}px,{left + reach}px,{top + reach}px"
            *_, last = chain.zoom(picture, box=box, size=(side, side))
            truth = pixels[top * depth : top * depth + side, left * depth : left * depth + side]
            name = f"{photo.stem}-{backbone}-{depth}-{number}"
            yield name, {"state": read_luma(last.image), "input": read_luma(last.input), "truth": read_luma(truth)}


def read_luma(pixels: RGB8) -> NDArray[np.uint8]:
    return np.rint(pixels @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)


def measure_difference(state: NDArray[np.uint8], truth: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the root mean square difference of every whole block, in levels."""
    rows, columns = (length // BLOCK for length in state.shape)
    off = np.square(state.astype(np.float32) - truth)[: rows * BLOCK, : columns * BLOCK]
    return np.sqrt(off.reshape(rows, BLOCK, columns, BLOCK).mean(axis=(1, 3)))


def read_groups(folder: Path, part: str) -> dict[tuple[str, int], Group]:
    """Read the zooms of a part, by backbone and depth."""
    lists: dict[tuple[str, int], list[tuple[str, NDArray[np.float32], NDArray[np.float32]]]] = {}
    for file in sorted(folder.glob(f"{part}-*.npz")):
        photo, backbone, depth, _ = file.stem.rsplit("-", 3)
        zoomed = np.load(file)
        state, enlarged = (np.repeat(zoomed[key][..., None], 3, axis=2) for key in ("state", "input"))
        differences = measure_difference(zoomed["state"], zoomed["truth"])
        features = describe_blocks(state, enlarged, float(depth))[: differences.shape[0], : differences.shape[1]]
        entry = photo, features.reshape(-1, features.shape[-1]), differences.ravel()
        lists.setdefault((backbone, int(depth)), []).append(entry)
    return {
        key: Group(
            np.concatenate([features for _, features, _ in entries]),
            np.concatenate([differences for *_, differences in entries]),
            len({photo for photo, *_ in entries}),
        )
        for key, entries in lists.items()
    }


def fit(folder: Path) -> TrustModel:
    """Fit to the first part, calibrate on the second."""
    groups = read_groups(folder, "fit")
    rng = np.random.default_rng(0)
    chosen = {key: rng.permutation(len(group.differences))[:BLOCKS_EACH] for key, group in groups.items()}
    features = np.concatenate([group.features[chosen[key]] for key, group in groups.items()])
    differences = np.concatenate([group.differences[chosen[key]] for key, group in groups.items()])
    difference = fit_quadratic(features.astype(np.float64), np.log(differences + OFFSET), 10.0)
    residuals: dict[str, dict[str, tuple[float, ...]]] = {}
    for (backbone, depth), group in sorted(read_groups(folder, "calibrate").items()):
        off = np.log(group.differences + OFFSET) - predict_difference(difference, group.features[None])[0]
        quantiles = np.quantile(off, np.linspace(0, 1, 101))
        residuals.setdefault(backbone, {})[f"{depth}x"] = tuple(round(float(value), 4) for value in quantiles)
    return TrustModel(difference=difference, residuals=residuals)


def measure_auroc(scores: NDArray[np.float32], is_positive: NDArray[np.bool_]) -> float:
    """Return the chance that a positive one scores higher than a negative one."""
    ranks = np.empty(len(scores))
    ranks[np.argsort(scores, kind="stable")] = np.arange(1, len(scores) + 1)
    positives, negatives = is_positive.sum(), (~is_positive).sum()
    return float((ranks[is_positive].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def check(folder: Path, model: TrustModel) -> str:
    """Return the tables of docs/truth.md, for photos that were neither fitted to nor calibrated on."""
    names = ("backbone, depth", "photos, blocks", "differ", "AUROC", "flagged")
    lines = [f"| {' | '.join((*names, 'flagged that differ', 'differing, flagged', 'bound holds'))} |"]
    lines.append("|" + "---|" * 8)
    shares: dict[int, list[tuple[float, float]]] = {}
    for (backbone, depth), group in sorted(read_groups(folder, "test").items()):
        if backbone not in model.residuals:
            continue
        trust = model.map(group.features[None], backbone, depth)
        differs, flagged = group.differences > NOTICEABLE, trust.trust[0] < 0.5
        numbers = [
            differs.mean(),
            measure_auroc(-trust.trust[0], differs),
            flagged.mean(),
            differs[flagged].mean(),
            flagged[differs].mean(),
            (group.differences <= trust.bound[0]).mean(),
        ]
        cells = [f"{share:.1%}" if number != 1 else f".{share * 1000:.0f}" for number, share in enumerate(numbers)]
        row = [f"{backbone}, {depth}x", f"{group.photos}, {len(differs)}", *cells]
        lines.append(f"| {' | '.join(row)} |")
        for step in range(10):
            inside = (trust.trust[0] >= step / 10) & (trust.trust[0] < (step + 1) / 10 + (step == 9))
            shares.setdefault(step, []).append((inside.sum(), (~differs)[inside].sum()))
    lines += ["", "| said | true | blocks |", "|---|---|---|"]
    for step, counts in shares.items():
        blocks, right = (sum(column) for column in zip(*counts, strict=True))
        lines.append(f"| {step * 10} to {step * 10 + 10}% | {right / max(blocks, 1):.0%} | {blocks:.0f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    steps = parser.add_subparsers(dest="step", required=True)
    zooming = steps.add_parser("zoom")
    zooming.add_argument("part", choices=PARTS)
    zooming.add_argument("photos", type=Path)
    zooming.add_argument("--backbone", default="span")
    zooming.add_argument("--side", type=int, default=512)
    zooming.add_argument("--spots", type=int, default=3)
    for step in (zooming, steps.add_parser("fit"), steps.add_parser("check")):
        step.add_argument("-o", "--out", type=Path, required=True)
    arguments = parser.parse_args()
    if arguments.step == "zoom":
        arguments.out.mkdir(exist_ok=True)
        for photo in sorted(arguments.photos.iterdir()):
            for name, pixels in zoom(photo, arguments.backbone, arguments.side, arguments.spots):
                np.savez_compressed(arguments.out / f"{arguments.part}-{name}.npz", **pixels)
    elif arguments.step == "fit":
        MODEL.write_bytes(msgspec.json.format(msgspec.json.encode(fit(arguments.out)), indent=1) + b"\n")
    else:
        print(check(arguments.out, msgspec.json.decode(MODEL.read_bytes(), type=TrustModel)))


if __name__ == "__main__":
    main()
