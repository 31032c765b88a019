"""Fit and check the effective resolution on photos that were spoilt by known amounts.

    python benchmarks/truth/resolution.py fit PICTURES      # writes src/chain_of_zoom/truth/resolution.json
    python benchmarks/truth/resolution.py check             # the table of docs/truth.md, on the twelve photos

PICTURES is a folder of photos, none of which is among the twelve of docs/evidence.md. Each is first made smaller, 3
times (2 times below 1300 px) by area, bicubic or Lanczos in turn, which makes it as sharp as its pixels allow; what is
enlarged after that has a known scale. A Gaussian of s px passes a tenth at a scale of 1.46 s px, which counts as true.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from chain_of_zoom.datasets.photos import find_photos
from chain_of_zoom.truth.regression import QuadraticModel, expand
from chain_of_zoom.truth.resolution import MODELS, POOLS, SOFT, DetailMeter, describe_pool

Image.MAX_IMAGE_PIXELS = None
FILTERS = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)
GAUSSIAN = 1.46  # exp(-2 (pi s f)^2) = 0.1 at the frequency f = 1 / (2 * 1.46 s)
SIDE, RIDGE = 768, 10.0

Case = tuple[str, float, DetailMeter]


def sharpen_by_size(photo: Image.Image, turn: int) -> Image.Image:
    """Make a photo as sharp as its pixels allow, by making it smaller; then take its middle."""
    factor = 3 if min(photo.size) > 1300 else 2
    size = photo.width // factor, photo.height // factor
    small = photo.reduce(factor) if turn % 3 == 0 else photo.resize(size, FILTERS[turn % 3])
    left, top = max(0, small.width // 2 - SIDE // 2), max(0, small.height // 2 - SIDE // 2)
    return small.crop((left, top, min(small.width, left + SIDE), min(small.height, top + SIDE)))


def spoil(photo: Image.Image) -> Iterator[tuple[str, float, Image.Image]]:
    """Yield the name, the true scale in px and the picture of every way to spoil a sharp photo."""
    yield "sharp", 1.0, photo
    for quality in (95, 85, 75, 60):
        yield f"JPEG {quality}", 1.0, compress(photo, quality)
    for spread in (2, 5, 10):
        yield f"noise of {spread} levels", 1.0, add_noise(photo, spread)
    for spread in (1, 1.5, 2, 3, 4.5, 7, 11):
        blurred = gaussian_filter(np.asarray(photo, np.float32), (spread, spread, 0))
        yield f"Gaussian of {spread:g} px", GAUSSIAN * spread, Image.fromarray(np.rint(blurred).astype(np.uint8))
    for factor in (1.5, 2, 3, 4):
        share = factor**0.5
        part = photo.crop((0, 0, int(photo.width / share), int(photo.height / share)))
        size = round(photo.width * share), round(photo.height * share)
        for how in FILTERS:
            large = part.resize(size, how)
            yield f"{how.name.lower()} {factor:g}x", factor, large
            if how is Image.Resampling.BICUBIC:
                yield f"bicubic {factor:g}x, JPEG 85", factor, compress(large, 85)
                yield f"bicubic {factor:g}x, JPEG 70", factor, compress(large, 70)
                yield f"bicubic {factor:g}x, noise of 3", factor, add_noise(large, 3)


def compress(photo: Image.Image, quality: int) -> Image.Image:
    data = io.BytesIO()
    photo.save(data, "JPEG", quality=quality, subsampling=2 if quality < 90 else 0)
    return Image.open(data).convert("RGB")


def add_noise(photo: Image.Image, spread: float) -> Image.Image:
    pixels = np.asarray(photo, np.float32)
    noisy = pixels + np.random.default_rng(0).normal(0, spread, pixels.shape)
    return Image.fromarray(np.clip(np.rint(noisy), 0, 255).astype(np.uint8))


def list_cases(files: list[Path]) -> Iterator[Case]:
    """Yield all cases of every photo."""
    for file in files:
        photo = sharpen_by_size(Image.open(file).convert("RGB"), sum(map(ord, file.stem)))
        for name, scale, picture in spoil(photo):
            yield name, scale, DetailMeter(np.asarray(picture))


def fit(cases: Iterator[Case]) -> bytes:
    """Fit a polynomial to the logarithm of the scale for every pool; return them as JSON."""
    measured = [(meter.spectra, scale) for _, scale, meter in cases]
    models = {}
    for pool in POOLS:
        described = [(describe_pool(spectra, spectra.estimate_noise(), pool), scale) for spectra, scale in measured]
        features = np.array([vector for vector, _ in described if vector is not None], np.float64)
        targets = np.log([scale for vector, scale in described if vector is not None])
        models[pool] = fit_quadratic(features, targets, RIDGE)
    return msgspec.json.format(msgspec.json.encode(models), indent=1) + b"\n"


def fit_quadratic(features: NDArray[np.float64], targets: NDArray[np.float64], ridge: float) -> QuadraticModel:
    """Fit by least squares with a penalty, in closed form."""
    means, spreads = features.mean(axis=0), features.std(axis=0) + 1e-6
    terms = expand((features - means) / spreads).astype(np.float64)
    weights = np.linalg.solve(terms.T @ terms + ridge * np.eye(terms.shape[1]), terms.T @ targets)
    means, spreads, weights = (tuple(round(float(x), 5) for x in numbers) for numbers in (means, spreads, weights))
    return QuadraticModel(means=means, spreads=spreads, weights=weights)


def check(cases: Iterator[Case]) -> str:
    """Return the table of docs/truth.md, for photos that were not fitted to."""
    rows: dict[str, list[tuple[float, float]]] = {}
    for name, scale, meter in cases:
        rows.setdefault(name, []).append((scale, np.inf if meter.finest is None else meter.finest))
    lines = ["| spoilt by | true, px | median | 10% to 90% | error | called soft |", "|---|---|---|---|---|---|"]
    for name, pairs in rows.items():
        scale, estimates = pairs[0][0], np.array([estimate for _, estimate in pairs])
        low, middle, high = np.quantile(estimates, (0.1, 0.5, 0.9), method="nearest")
        error, soft = np.median(np.abs(estimates / scale - 1)), (estimates >= SOFT).mean()
        lines.append(f"| {name} | {scale:.2f} | {middle:.2f} | {low:.2f} to {high:.2f} | {error:.0%} | {soft:.0%} |")
    pairs = np.array([pair for pairs in rows.values() for pair in pairs])
    is_soft, errors = pairs[:, 0] > 1, np.abs(pairs[:, 1] / pairs[:, 0] - 1)
    alarms, noticed = (pairs[~is_soft, 1] >= SOFT).mean(), (pairs[is_soft, 1] >= SOFT).mean()
    error, close = np.median(errors[is_soft]), (errors[is_soft] <= 0.25).mean()
    lines.append(
        f"\nMedian error of the soft ones {error:.0%}, within 25% on {close:.0%}; "
        f"called soft: {noticed:.0%} of the soft and {alarms:.1%} of the sharp ones."
    )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("step", choices=("fit", "check"))
    parser.add_argument("pictures", type=Path, nargs="?")
    arguments = parser.parse_args()
    if arguments.step == "fit":
        MODELS.write_bytes(fit(list_cases(sorted(arguments.pictures.iterdir()))))
    else:
        print(check(list_cases(list(find_photos("photos").values()))))


if __name__ == "__main__":
    main()
