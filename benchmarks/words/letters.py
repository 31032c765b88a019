"""Fit and check the head of the prompter words that sees letters.

    python benchmarks/truth/photos.py PACKAGES -o photos
    python benchmarks/words/letters.py photos        # writes the head, prints recall and false alarms

Fitted to windows of the parts fit, calibrate and twelve: of photos that text fills, of photos without any, and of the
latter with words drawn on them; and to scenes of the arena. Checked on windows of the part fresh, of other photos.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

sys.path.append(str(Path(__file__).parents[1] / "truth"))
from photos import read_list

from chain_of_zoom.evaluation.arena.letters import LargeText, SmallText
from chain_of_zoom.evaluation.arena.scene import WHOLE
from chain_of_zoom.imaging.fonts import find_font
from chain_of_zoom.imaging.geometry import Size
from chain_of_zoom.imaging.images import RGB8, load
from chain_of_zoom.prompters.recognition.network import FeatureNetwork
from chain_of_zoom.prompters.recognition.prompter import LETTERS_HEAD

FILLED = ("scenetext_segmented_word0", "newspaper", "imageTextN", "text_defocus", "Tafel_")
SIDES = (96, 160, 256)
RIDGE = 3000.0
THRESHOLD = 0.5  # on the way from -1, no letters, to 1
ALPHABET = list("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789    ")

Sample = tuple[str, bool, RGB8]
"""Name of the photo, whether there are letters, and the window."""


def cut(pixels: RGB8, count: int, rng: np.random.Generator) -> Iterator[RGB8]:
    """Yield windows of several sides at random places."""
    for number in range(count):
        side = min(SIDES[number % len(SIDES)], *pixels.shape[:2])
        top, left = (rng.integers(0, length - side + 1) for length in pixels.shape[:2])
        yield pixels[top : top + side, left : left + side]


def write_on(window: RGB8, rng: np.random.Generator) -> RGB8:
    """Draw lines of random letters on a window, in a colour that stands out."""
    picture = Image.fromarray(window).copy()
    size = int(rng.integers(8, max(9, len(window) // 4)))
    middle = int(np.median(window))
    colour = tuple(int(value) for value in np.clip(rng.normal(30 if middle > 128 else 225, 25, 3), 0, 255))
    draw = ImageDraw.Draw(picture)
    for row in range(int(rng.integers(1, 5))):
        draw.text(
            (-5, row * size * 1.4 + rng.integers(0, size)), "".join(rng.choice(ALPHABET, 40)), colour, find_font(size)
        )
    return np.asarray(picture.rotate(float(rng.normal(0, 6)), Image.Resampling.BICUBIC, fillcolor=(middle,) * 3))


def list_samples(photos: Path, parts: tuple[str, ...], rng: np.random.Generator) -> Iterator[Sample]:
    """Yield windows of the photos of some parts, of which it is plain whether there are letters."""
    for photo in read_list():
        is_filled = Path(photo.file).name.startswith(FILLED)
        if photo.part in parts and (is_filled or photo.subject not in ("text", "scan")):
            pixels = load(photos / photo.part / photo.name).pixels
            yield from ((photo.sha256, is_filled, window) for window in cut(pixels, 15 if is_filled else 6, rng))


def list_drawn(samples: list[Sample], rng: np.random.Generator) -> Iterator[Sample]:
    """Yield windows with drawn letters: of photos that are in `samples`, and of the arena."""
    plain = [sample for sample in samples if not sample[1]]
    for name, _, window in plain[:: max(1, len(plain) // 150)]:
        yield name, True, write_on(window, rng)
    for kind in (LargeText, SmallText):
        for seed in range(8):
            yield f"arena {seed % 4}", True, kind(160, seed).photograph(WHOLE, Size(160, 160))


def fit(features: np.ndarray, is_text: np.ndarray) -> np.ndarray:
    """Fit 1281 weights by ridge regression on features of equal spread, both kinds counting alike."""
    means, spreads = features.mean(axis=0), features.std(axis=0) + 1e-3
    terms = np.c_[(features - means) / spreads, np.ones(len(features))]
    counts = np.where(is_text, 0.5 / is_text.mean(), 0.5 / (~is_text).mean())
    weighted = terms * counts[:, None]
    weights = np.linalg.solve(terms.T @ weighted + RIDGE * np.eye(terms.shape[1]), weighted.T @ (is_text * 2.0 - 1))
    slopes = weights[:-1] / spreads
    return np.append(slopes, weights[-1] - slopes @ means).astype(np.float32)


def score(weights: np.ndarray, features: np.ndarray) -> np.ndarray:
    return features @ weights[:-1] + weights[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    photos = parser.parse_args().photos
    rng, network = np.random.default_rng(0), FeatureNetwork()
    samples = list(list_samples(photos, ("fit", "calibrate", "twelve"), rng))
    samples += list_drawn(samples, rng)
    names, is_text = np.array([name for name, _, _ in samples]), np.array([text for _, text, _ in samples])
    features = np.array([network(window) for *_, window in samples], np.float64)
    folds = {name: number % 5 for number, name in enumerate(rng.permutation(sorted(set(names))))}
    fold = np.array([folds[name] for name in names])
    scores = np.zeros(len(samples))
    for number in range(5):
        scores[fold == number] = score(fit(features[fold != number], is_text[fold != number]), features[fold == number])
    weights = fit(features, is_text)
    np.savez_compressed(LETTERS_HEAD, letter_weights=weights.astype(np.float16), letter_threshold=np.float32(THRESHOLD))
    said = scores > THRESHOLD
    print(f"{is_text.sum()} windows with letters, {(~is_text).sum()} without")
    print(f"said by heads fitted to other photos: of {said[is_text].mean():.0%} and {said[~is_text].mean():.1%}")
    check(photos, network, weights, rng)


def check(photos: Path, network: FeatureNetwork, weights: np.ndarray, rng: np.random.Generator) -> None:
    """Print what is said of the part fresh: of windows without letters, of filled ones, of photos with some text."""

    def see(window: RGB8) -> bool:
        return bool(score(weights, network(window).astype(np.float64)) > THRESHOLD)

    for is_filled in (False, True):
        windows = [window for _, text, window in list_samples(photos, ("fresh",), rng) if text == is_filled]
        name = "of photos that text fills" if is_filled else "without letters"
        print(f"fresh, {name}: said of {sum(map(see, windows))} of {len(windows)} windows")
    for photo in read_list():
        if photo.subject == "text" and photo.part == "fresh":
            windows = list(cut(load(photos / photo.part / photo.name).pixels, 30, rng))
            print(f"{Path(photo.file).name}: {sum(map(see, windows))} of {len(windows)} windows")


if __name__ == "__main__":
    main()
