"""Predict a number from features: a polynomial of the second degree, whose coefficients lie in a file."""

from __future__ import annotations

from functools import cache

import msgspec
import numpy as np
from numpy.typing import NDArray

Numbers = tuple[float, ...]


class QuadraticModel(msgspec.Struct, frozen=True, kw_only=True):
    """Predicts one number from F features."""

    means: Numbers
    """Mean of every feature where it was fitted, F numbers."""
    spreads: Numbers
    """Standard deviation of every feature there, F numbers, none of them 0."""
    weights: Numbers
    """Weight of the constant, of the F features and of their products, 1 + F + F (F + 1) / 2 numbers."""

    def predict(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Predict N numbers from N x F features."""
        means: NDArray[np.float32] = np.array(self.means, np.float32)
        spreads: NDArray[np.float32] = np.array(self.spreads, np.float32)
        scaled = (features - means) / spreads
        return expand(scaled) @ np.array(self.weights, np.float32)


def expand(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a 1, the N x F features and all products of two of them, N x (1 + F + F (F + 1) / 2)."""
    rows, columns = _pairs(features.shape[1])
    return np.concatenate(
        [np.ones((len(features), 1), np.float32), features, features[:, rows] * features[:, columns]], axis=1
    )


@cache
def _pairs(count: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    rows, columns = np.triu_indices(count)
    return rows, columns
