"""Fit, calibrate and check the trust map on zooms whose truth is known.

    python benchmarks/truth/photos.py PACKAGES -o photos                    # the photos, in four parts
    python benchmarks/truth/trust.py zoom photos --backbone span -o zooms   # again per backbone; goes on where it was
    python benchmarks/truth/trust.py fit -o zooms           # writes src/chain_of_zoom/truth/trust.json
    python benchmarks/truth/trust.py check fresh -o zooms   # the table of docs/truth.md

Photos are reduced 4x and 16x, by area or bicubic in turn, and zoomed back at the most textured place and at random
ones. No photo is in two parts: the polynomial is fitted to `fit`, how far it is off comes from `calibrate`, the table
from `fresh`; `twelve` are those of docs/evidence.md. A backbone without zooms of the part `calibrate` gets no map.
"""

from __future__ import annotations

import argparse
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray
from resolution import fit_quadratic

from chain_of_zoom import ChainOfZoom, load_backbone
from chain_of_zoom.evaluation.true_zoom import reduce_photo
from chain_of_zoom.evaluation.trust import measure_auroc, measure_difference, read_luma
from chain_of_zoom.files import write_atomic
from chain_of_zoom.imaging.geometry import Box, Size
from chain_of_zoom.imaging.images import Picture, load, size_of
from chain_of_zoom.imaging.spots import find_textured_spots
from chain_of_zoom.truth.trust import (
    MODELS,
    NOTICEABLE,
    OFFSET,
    TrustModel,
    describe_blocks,
    load_models,
    predict_difference,
)

PARTS = ("calibrate", "fresh", "fit", "twelve")
DEPTHS = (4, 16)
BLOCKS_EACH = 8000  # per backbone and depth, so that none outweighs the next


class Group(NamedTuple):
    """All blocks of a part by one backbone at one depth."""

    features: NDArray[np.float32]
    differences: NDArray[np.float32]
    photos: int


def list_places(photo: Path, size: Size, side: int, spots: int) -> Iterator[tuple[int, int, Box]]:
    """Yield depth, number and box of every zoom into a photo, the box in pixels of the reduced photo."""
    seed = zlib.crc32(photo.stem.encode())
    textured = find_textured_spots(load(photo).pixels, 1)[0]
    for depth in DEPTHS:
        rng = np.random.default_rng(seed + depth)
        width, height = (length // depth * depth for length in size)
        if min(height, width) < max(side + depth, 33 * depth):
            continue
        for number in range(spots):
            x, y = textured if number == 0 else (rng.uniform(0, width), rng.uniform(0, height))
            left = int(min(max(x - side / 2, 0), width - side) // depth)
            top = int(min(max(y - side / 2, 0), height - side) // depth)
            yield depth, number, Box(left, top, left + side // depth, top + side // depth)


def zoom(chain: ChainOfZoom, photo: Path, side: int, spots: int, folder: Path) -> None:
    """Zoom into a photo made smaller, wherever it was not yet; keep luma of the state, its input and the truth."""
    part, pixels = photo.parent.name, load(photo).pixels
    for depth, number, box in list_places(photo, size_of(pixels), side, spots):
        target = folder / f"{part}-{photo.stem}-{chain.backbone.info.name}-{depth}-{number}.npz"
        if target.exists():
            continue
        height, width = (length // depth * depth for length in pixels.shape[:2])
        how = "area" if zlib.crc32(photo.stem.encode()) % 2 else "bicubic"
        picture = Picture.of_pixels(reduce_photo(pixels[:height, :width], depth, how), photo.stem)
        corners = ",".join(f"{corner}px" for corner in box)
        *_, last = chain.zoom(picture, box=corners, size=(side, side))
        left, top = (int(corner) * depth for corner in box[:2])
        truth = pixels[top : top + side, left : left + side]
        data = io.BytesIO()
        np.savez_compressed(data, state=read_luma(last.image), input=read_luma(last.input), truth=read_luma(truth))
        write_atomic(target, data.getvalue())


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


def fit(folder: Path) -> dict[str, TrustModel]:
    """Fit to the first part, calibrate on the second, for every backbone with zooms of both at both depths."""
    groups, calibrations = read_groups(folder, "fit"), read_groups(folder, "calibrate")
    return {
        backbone: fit_backbone([groups[backbone, depth] for depth in DEPTHS], calibrations, backbone)
        for backbone in sorted({backbone for backbone, _ in calibrations})
        if load_backbone(backbone).info.resample is None and all((backbone, depth) in groups for depth in DEPTHS)
    }


def fit_backbone(groups: list[Group], calibrations: dict[tuple[str, int], Group], backbone: str) -> TrustModel:
    """Fit and calibrate one backbone.

    Blocks of one photo are alike, so photos are what is exchangeable: of n of them the quantile of q is that of
    q (n + 1) / n, as if one more were worse than all.
    """
    rng = np.random.default_rng(0)
    chosen = [rng.permutation(len(group.differences))[:BLOCKS_EACH] for group in groups]
    features, differences = (
        np.concatenate([group[part][blocks] for group, blocks in zip(groups, chosen, strict=True)]) for part in (0, 1)
    )
    difference = fit_quadratic(features.astype(np.float64), np.log(differences + OFFSET), 10.0)
    residuals = {}
    for depth in DEPTHS:
        group = calibrations[backbone, depth]
        off = np.log(group.differences + OFFSET) - predict_difference(difference, group.features[None])[0]
        shares = np.minimum(np.linspace(0, 1, 101) * (group.photos + 1) / group.photos, 1)
        residuals[f"{depth}x"] = tuple(round(float(value), 4) for value in np.quantile(off, shares))
    return TrustModel(difference=difference, residuals=residuals)


def check(folder: Path, part: str, models: dict[str, TrustModel]) -> str:
    """Return the tables of docs/truth.md, for photos that were neither fitted to nor calibrated on."""
    names = ("backbone, depth", "photos, blocks", "differ", "AUROC", "flagged")
    lines = [f"| {' | '.join((*names, 'flagged that differ', 'differing, flagged', 'bound holds'))} |"]
    lines.append("|" + "---|" * 8)
    shares: dict[int, list[tuple[float, float]]] = {}
    for (backbone, depth), group in sorted(read_groups(folder, part).items()):
        if backbone not in models:
            continue
        trust = models[backbone].map(group.features[None], depth)
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
    zooming.add_argument("photos", type=Path)
    zooming.add_argument("--backbone", default="span")
    zooming.add_argument("--side", type=int, default=256)
    zooming.add_argument("--spots", type=int, default=3)
    checking = steps.add_parser("check")
    checking.add_argument("part", choices=PARTS)
    for step in (zooming, steps.add_parser("fit"), checking):
        step.add_argument("-o", "--out", type=Path, required=True)
    arguments = parser.parse_args()
    if arguments.step == "zoom":
        arguments.out.mkdir(exist_ok=True)
        chain = ChainOfZoom(backbone=arguments.backbone)
        for spots in range(1, arguments.spots + 1):
            for part in PARTS:
                for photo in sorted((arguments.photos / part).iterdir()):
                    zoom(chain, photo, arguments.side, spots, arguments.out)
    elif arguments.step == "fit":
        MODELS.write_bytes(msgspec.json.format(msgspec.json.encode(fit(arguments.out)), indent=1) + b"\n")
    else:
        print(check(arguments.out, arguments.part, load_models()))


if __name__ == "__main__":
    main()
