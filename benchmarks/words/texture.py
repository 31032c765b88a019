"""Measure whether the right word gives a texture that is nearer to the truth than wrong words do, or none.

    python benchmarks/words/texture.py FOLDER_WITH_UNPACKED_PACKAGES benchmarks/words/textures.csv

Textures that were held out of all training and fitting, at most 14 of a material: 256 px of each are reduced 16x by
area, enlarged twice by span, and get the texture of their own material and of three others. It prints ST-LPIPS, the
distance of Gram matrices of a VGG (both from stlpips-pytorch, the extra [eval-torch]), the gradients' energy over the
truth's and their correlation with it, and how often the right word wins, with 95% intervals (bootstrap over crops).
"""

from __future__ import annotations

import csv
import importlib.util
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from features import load_square
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d, relu

from chain_of_zoom import load_backbone
from chain_of_zoom.imaging.images import to_uint8
from chain_of_zoom.networks.stlpips import StLpipsNetwork
from chain_of_zoom.texture.contrast import BASE_LAW, STRENGTHS
from chain_of_zoom.texture.field import make_texture
from chain_of_zoom.texture.tiles import GRAIN

Pixels = NDArray[np.uint8]
WEIGHTS = "weights/vST0.0/vgg_shift_tolerant.pth"
MOST, SIDE, WRONG_WORDS = 14, 256, 3
LAYERS = ("slice1.0", "slice1.2", "slice2.6", "slice2.8", "slice3.12", "slice3.14", "slice3.16")
POOLED, READ = (2, 4), (1, 3, 6)  # layers with a pooling before them, and those whose Gram matrix counts


class Distances:
    """ST-LPIPS and Gram distance of a picture to the truth, energy and correlation of its gradients."""

    def __init__(self) -> None:
        self.stlpips = StLpipsNetwork()
        spec = importlib.util.find_spec("stlpips_pytorch")
        assert spec, "pip install 'chain-of-zoom[eval-torch]'"
        folder = Path(next(iter(spec.submodule_search_locations or ())))
        weights = torch.load(folder / WEIGHTS, map_location="cpu", weights_only=True)
        self.layers = [(weights[f"net.{name}.weight"], weights[f"net.{name}.bias"]) for name in LAYERS]

    @torch.inference_mode()
    def __call__(self, picture: Pixels, truth: Pixels) -> list[float]:
        """Measure two pictures of 256 x 256 px: their middle 192 px, of which Gram takes 128."""
        pair = [to_planes(pixels[32:-32, 32:-32]) for pixels in (picture, truth)]
        grams = [self._find_grams(planes[..., 32:-32, 32:-32]) for planes in pair]
        gram = sum(float((a - b).abs().mean()) for a, b in zip(*grams, strict=True))
        slopes, true_slopes = (
            np.concatenate([d.ravel() for d in np.gradient(p.mean(axis=2))]) for p in (picture, truth)
        )
        energy = float(np.square(slopes).sum() / np.square(true_slopes).sum())
        return [float(self.stlpips(*pair)), gram, energy, float(np.corrcoef(slopes, true_slopes)[0, 1])]

    def _find_grams(self, planes: Tensor) -> list[Tensor]:
        grams = []
        for number, (weight, bias) in enumerate(self.layers):
            planes = relu(conv2d(avg_pool2d(planes, 2) if number in POOLED else planes, weight, bias, padding=1))
            if number in READ:
                features = planes[0].flatten(1)
                grams.append(torch.log1p(1000 * features @ features.T / features.shape[1]))
        return grams


def to_planes(pixels: Pixels) -> Tensor:
    """Turn H x W x 3 bytes to 1 x 3 x H x W in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None].float() / 127.5 - 1


def main() -> int:
    """Measure all crops and print the table."""
    root, rows = Path(sys.argv[1]), list(csv.DictReader(Path(sys.argv[2]).read_text().splitlines()))
    span, measure, rng = load_backbone("span"), Distances(), np.random.default_rng(11)
    counts: Counter[str] = Counter()
    measured: list[tuple[str, list[list[float]]]] = []
    for row in rows:
        material = row["material"]
        if row["split"] != "held out" or material not in STRENGTHS or counts[material] >= MOST:
            continue
        picture = np.asarray(load_square(root / row["package"] / row["file"]))
        if min(picture.shape[:2]) < SIDE:
            continue
        counts[material] += 1
        start = (picture.shape[0] - SIDE) // 2
        truth = np.ascontiguousarray(picture[start : start + SIDE, start : start + SIDE])
        tiny = np.rint(truth.reshape(SIDE // 16, 16, SIDE // 16, 16, 3).mean(axis=(1, 3))).astype(np.uint8)
        parent = to_uint8(span([tiny])[0])
        (base,) = span([parent])
        wrong = rng.choice(sorted(set(STRENGTHS) - {material, GRAIN}), WRONG_WORDS, replace=False)
        pictures = [to_uint8(base)]
        for word in (material, *wrong):
            texture = make_texture(parent, str(word), 64 * len(measured), 512, level=1, law=BASE_LAW)
            pictures.append(to_uint8(base + texture[..., None]))
        measured.append((material, [measure(candidate, truth) for candidate in pictures]))
    print_table(measured)
    return 0


def print_table(measured: list[tuple[str, list[list[float]]]]) -> None:
    """Print means, shares of wins and their intervals. measured: material, and none, right, wrong ... of each crop."""
    values = np.array([distances for _, distances in measured])
    print(f"{len(values)} crops; ST-LPIPS, Gram, energy, correlation:")
    for name, mean in (("none", values[:, 0]), ("right", values[:, 1]), ("wrong", values[:, 2:].mean(axis=1))):
        print(f"{name:6}", " ".join(f"{value:.3f}" for value in mean.mean(axis=0)))
    draws = np.random.default_rng(0).integers(0, len(values), (2000, len(values)))
    for number, metric in enumerate(("ST-LPIPS", "Gram")):
        right = values[:, 1, number]
        for rival, wins in (
            ("wrong", (right[:, None] < values[:, 2:, number]).mean(axis=1)),
            ("none", (right < values[:, 0, number]).astype(float)),
        ):
            low, high = np.quantile(wins[draws].mean(axis=1), (0.025, 0.975))
            print(f"right better than {rival} by {metric}: {wins.mean():.0%} ({low:.0%} to {high:.0%})")
    for material in sorted({name for name, _ in measured}):
        own = values[[name == material for name, _ in measured]]
        wins = [(own[:, 1, [k]] < own[:, 2:, k]).mean() for k in (0, 1)]
        print(f"{material:9} {len(own):3}  energy {own[:, 1, 2].mean():.2f}, wins {wins[0]:.0%} {wins[1]:.0%}")


if __name__ == "__main__":
    sys.exit(main())
