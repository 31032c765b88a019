"""The trust map of a state: for every block, how likely it differs from what was there by little.

A polynomial predicts the difference from what is cheap to measure on the state and on the enlargement it was made from.
It was fitted to zooms into photos whose truth is known; how far it is off on photos that it was not fitted to turns its
answer into a probability (split conformal prediction; benchmarks/truth/trust.py, docs/truth.md).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from chain_of_zoom.imaging.images import RGB8
from chain_of_zoom.truth.regression import Numbers, QuadraticModel

MODELS = Path(__file__).with_name("trust.json")

BLOCK = 16  # pixels of a state
NOTICEABLE = 10.0  # levels of 255: the root mean square of a block's difference from which on it is another block
WRONG = (255, 84, 84)  # colour of blocks that are more likely wrong than right
ALWAYS_WRONG = 0.5  # of what a network adds, by the 5% of blocks where it is least
COVERAGE = 90  # per cent of the blocks that a bound holds for
SHALLOWEST, DEEPEST = 4.0, 16.0  # output pixels per pixel of a sharp photo where there was a truth to compare with
_HALF = BLOCK // 2
_ADDITION = 2  # the feature that says how much was added
OFFSET = 0.5  # levels: half a rounding, so that a logarithm is finite

Blocks = NDArray[np.float32]


@dataclass(frozen=True)
class TrustMap:
    """Says of every block of a state how far it can be trusted."""

    expected: Blocks
    """Expected difference from the truth, root mean square of luma in levels of 255, rows x columns."""
    bound: Blocks
    """Difference that nine of ten blocks do not exceed, in the same unit."""
    trust: Blocks
    """Probability that the difference is less than `NOTICEABLE`, 0 to 1."""

    @property
    def share(self) -> float:
        """Share of the blocks that are more likely right than not, 0 to 1."""
        return float((self.trust >= 0.5).mean())


class TrustModel(msgspec.Struct, frozen=True, kw_only=True):
    """Predicts the differences of one backbone, and knows how far it is off."""

    difference: QuadraticModel
    """Predicts the logarithm of the difference."""
    residuals: dict[str, Numbers]
    """At `4x` and `16x`: how much larger the logarithm was than predicted, on photos that it was not fitted to, as
    quantiles of 0, 1 ... 100%."""

    def map(self, features: Blocks, depth: float) -> TrustMap:
        """Map the trust in blocks that are described by `features`, rows x columns x 9.

        Between the depths where there was a truth, what is predicted for either is mixed.
        """
        weight = math.log2(depth) / 2 - 1  # 0 at 4x, 1 at 16x
        predicted, residuals = np.zeros(features.shape[:2], np.float32), np.zeros(101)
        for share, measured in ((1 - weight, SHALLOWEST), (weight, DEEPEST)):
            if share:
                features = np.concatenate(
                    [features[..., :-1], np.full_like(features[..., -1:], math.log2(measured))], -1
                )
                predicted += share * predict_difference(self.difference, features)
                residuals += share * np.array(self.residuals[f"{measured:g}x"])
        trust = np.interp(math.log(NOTICEABLE + OFFSET) - predicted, residuals, np.linspace(0, 1, len(residuals)))
        expected, bound = (np.exp(predicted + residuals[share]) - OFFSET for share in (50, COVERAGE))
        return TrustMap(*(np.maximum(blocks, 0).astype(np.float32) for blocks in (expected, bound, trust)))


def predict_difference(model: QuadraticModel, features: Blocks) -> Blocks:
    """Predict the logarithm of the difference of blocks, rows x columns; features: rows x columns x 9.

    It is never less than the part of what was added that is wrong nearly always, so that what no network made
    before, where a polynomial may say anything, is not trusted.
    """
    predicted = model.predict(features.reshape(-1, features.shape[-1])).reshape(features.shape[:2])
    added = np.sqrt(np.exp(features[..., _ADDITION]) - 1)
    bounded: Blocks = np.maximum(predicted, np.log(ALWAYS_WRONG * added + OFFSET))
    return bounded


def list_backbones() -> list[str]:
    """List the names of the backbones whose zooms were compared with the truth."""
    return list(load_models())


def map_trust(state: RGB8, enlarged: RGB8, backbone: str, depth: float) -> TrustMap | None:
    """Map the trust in a generated state; None where there was no truth to compare with.

    state, enlarged: the state and the plain enlargement of its parent, uint8, H x W x 3. backbone: its name. depth:
    output pixels per pixel of the photo, times the blur of the photo there.
    """
    model = load_models().get(backbone)
    if model is None or depth > DEEPEST:
        return None
    return model.map(describe_blocks(state, enlarged, max(depth, SHALLOWEST)), max(depth, SHALLOWEST))


def draw_trust(trust: Blocks, state: RGB8) -> NDArray[np.uint8]:
    """Draw the trust in a state as grey, uint8, H x W: white is trusted, black is not."""
    grey = np.rint(trust * 255).astype(np.uint8)
    return np.kron(grey, np.ones((BLOCK, BLOCK), np.uint8))[: state.shape[0], : state.shape[1]]


def read_trust(grey: NDArray[np.uint8]) -> Blocks:
    """Return the trust that was drawn as grey, uint8, H x W; rows x columns, 0 to 1, to a step of 1/255."""
    trust: Blocks = grey[::BLOCK, ::BLOCK].astype(np.float32) / np.float32(255)
    return trust


def overlay_trust(trust: Blocks, state: RGB8) -> RGB8:
    """Return a state with the blocks in red that are more likely wrong than right, uint8, H x W x 3."""
    is_wrong = draw_trust(trust, state)[..., None] < 128
    return np.where(is_wrong, state // 2 + np.array(WRONG, np.uint8) // 2, state)


def describe_blocks(state: RGB8, enlarged: RGB8, depth: float) -> Blocks:
    """Describe every block by 9 numbers, rows x columns x 9: contrasts, gradients, what was added, and the depth."""
    fine, plain = (_read_luma(pixels) for pixels in (state, enlarged))
    added = fine - plain
    means, plain_means, shift = _mean(fine), _mean(plain), _mean(added)
    contrast = _mean_square(fine) - np.square(means)
    plain_contrast = _mean_square(plain) - np.square(plain_means)
    addition = _mean_square(added)
    logs = [
        *(np.log(np.maximum(power, 0) + 1) for power in (contrast, plain_contrast, addition, np.square(shift))),
        *(np.log(_measure_gradients(plane) + 1) for plane in (fine, plain)),
    ]
    around = [_mean_of_nine(logs[index]) for index in (0, 2)]
    return np.stack([*logs, *around, np.full_like(means, math.log2(depth))], axis=-1)


def _read_luma(pixels: RGB8) -> NDArray[np.float32]:
    """Return the luma at half the size, which takes a quarter of the time, continued by its edge to whole blocks."""
    luma = np.asarray(Image.fromarray(pixels).convert("L").reduce(2), np.float32)
    missing = [(0, -side % _HALF) for side in luma.shape]
    return np.pad(luma, missing, "edge") if any(after for _, after in missing) else luma


def _split(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    height, width = plane.shape
    return plane.reshape(height // _HALF, _HALF, width // _HALF, _HALF)


def _mean(plane: NDArray[np.float32]) -> Blocks:
    means: Blocks = _split(plane).sum(axis=3).sum(axis=1) / np.float32(_HALF**2)
    return means


def _mean_square(plane: NDArray[np.float32]) -> Blocks:
    return _mean(np.square(plane))


def _measure_gradients(plane: NDArray[np.float32]) -> Blocks:
    """Return the mean squared step between neighbours of every block."""
    energy = np.zeros_like(plane)
    energy[:, :-1] = np.square(plane[:, 1:] - plane[:, :-1])
    energy[:-1] += np.square(plane[1:] - plane[:-1])
    return _mean(energy)


def _mean_of_nine(blocks: Blocks) -> Blocks:
    """Average every block with its neighbours."""
    rows, columns = blocks.shape
    padded = np.pad(blocks, 1, "edge")
    total = np.zeros_like(blocks)
    for y in range(3):
        for x in range(3):
            total += padded[y : y + rows, x : x + columns]
    return total / np.float32(9)


@cache
def load_models() -> dict[str, TrustModel]:
    """Read the models that lie beside this module, by the names of their backbones."""
    return msgspec.json.decode(MODELS.read_bytes(), type=dict[str, TrustModel])
