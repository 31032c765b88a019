"""The contract between the evaluation and every metric.

The base class checks pictures and results and says what is missing; a metric only computes.
"""

from __future__ import annotations

import importlib.util
import math
import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, final

import numpy as np

from chain_of_zoom.errors import MetricError, MissingError
from chain_of_zoom.imaging.images import RGB8, size_of

Direction = Literal["higher", "lower"]
"""Which way is better."""


@dataclass(frozen=True, kw_only=True)
class MetricInfo:
    """What a metric is, known without loading it."""

    name: str
    """Its name on the command line and in records."""
    direction: Direction
    """Which way is better."""
    range: tuple[float, float]
    """The least and the greatest value it can take."""
    reference: bool
    """Whether it compares with a reference picture."""
    source: str
    """The paper to cite."""
    licence: str
    """Of the code and the weights that compute it."""
    extra: str | None = None
    """The extra of this package that brings what it imports; None for the core."""
    note: str = ""
    """What a reader of its numbers must know: settings, caps, units."""


class Metric:
    """A kind of number about a state; making one is cheap and imports nothing heavy."""

    info: MetricInfo
    """What it is."""
    needs: tuple[str, ...] = ()
    """The modules that it imports."""

    def missing(self) -> str | None:
        """Return why it cannot run here and what to type, or None when it can."""
        absent = [name for name in self.needs if importlib.util.find_spec(name) is None]
        return f"lacks {', '.join(absent)}; type: {self.install}" if absent else None

    @property
    def install(self) -> str:
        """The command that brings what it needs."""
        return f"pip install 'chain-of-zoom[{self.info.extra}]'" if self.info.extra else "pip install chain-of-zoom"

    @property
    def needs_truth(self) -> bool:
        """Whether it can only judge states of which the true picture is known."""
        return self.info.reference


class PictureMetric(Metric, ABC):
    """One number about a picture, alone or against a reference.

    Weights are read at the first call, or by `load`. A metric that cannot run says so in `missing`, and raises when
    called anyway: it never returns a stand-in.
    """

    min_side: int = 1
    """The shortest side it can judge, in pixels."""

    def __init__(self) -> None:
        self._loaded = False
        self._lock = threading.Lock()

    @final
    def load(self) -> None:
        """Read weights, once. Raises MissingError."""
        with self._lock:
            if not self._loaded:
                if reason := self.missing():
                    raise MissingError(f"metric {self.info.name} {reason}")
                self._load()
                self._loaded = True

    @final
    def __call__(self, image: RGB8, reference: RGB8 | None = None) -> float:
        """Return the value for `image` (uint8, H x W x 3, sRGB), against `reference` (same shape) where it needs one.

        A reference given to a metric without one is ignored. Always finite. Raises MissingError where it cannot run,
        and MetricError for pictures that it cannot judge.
        """
        self._check(image)
        if self.info.reference:
            if reference is None:
                raise MetricError(f"metric {self.info.name} compares with a reference, and none was given")
            self._check(reference)
            if image.shape != reference.shape:
                sizes = f"{size_of(image)} and {size_of(reference)}"
                raise MetricError(f"metric {self.info.name} compares pictures of one size; these are {sizes}")
        self.load()
        value = float(self._measure(image, reference if self.info.reference else None))
        if not math.isfinite(value):
            raise MetricError(f"metric {self.info.name} has no finite value for this picture (it gave {value})")
        return value

    def _check(self, picture: RGB8) -> None:
        assert picture.dtype == np.uint8, picture.dtype
        assert picture.ndim == 3, picture.shape
        assert picture.shape[2] == 3, picture.shape
        size = size_of(picture)
        if min(size) < self.min_side:
            raise MetricError(
                f"metric {self.info.name}: the picture has {size} pixels; accepted: sides of at least {self.min_side}"
            )

    def _load(self) -> None:
        """Read weights."""

    @abstractmethod
    def _measure(self, image: RGB8, reference: RGB8 | None) -> float:
        """Return the value for pictures that passed the checks; `reference` is there where the info says so."""
