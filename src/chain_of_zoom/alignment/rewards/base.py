"""Define what a reward is: an object that gives numbers to texts about pairs, or says why it has none."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

from chain_of_zoom.errors import MissingError
from chain_of_zoom.imaging.images import RGB8


@dataclass(frozen=True)
class Sample:
    """A text about the zoomed view of a pair."""

    pair: str
    """Name of the pair."""
    parent: RGB8
    """The view, uint8, H x W x 3."""
    zoomed: RGB8
    """Its zoom, uint8, H x W x 3."""
    text: str
    """The text to be rewarded."""


@dataclass(frozen=True)
class Unscored:
    """A sample without a number, which is left out of learning: neither good nor bad."""

    why: str
    """Why the reward has no number."""


class Reward(ABC):
    """One part of what a prompt is rewarded for.

    Plugins extend it (docs/plugins.md); constructor arguments are options and have defaults.
    """

    name: str
    """Name in weights, curves and reports."""
    package: str | None = None
    """Name and version of the package that brings it."""

    def load(self) -> None:  # noqa: B027 - most have nothing to read
        """Read weights or look for servers before training, where there are any. Raises MissingError."""

    @abstractmethod
    def __call__(self, samples: Sequence[Sample]) -> list[float | Unscored]:
        """Return one number per sample, in order; higher is better. About -1 to 1, so that weights compare.

        Raises DownError when a service is away, which stops training with a checkpoint.
        """


def check_scores(reward: Reward, samples: Sequence[Sample]) -> list[float | Unscored]:
    """Ask a reward and check its answer, which may come from a plugin; infinite and NaN become Unscored.

    Raises MissingError for a wrong number of numbers.
    """
    numbers = reward(samples)
    if len(numbers) != len(samples):
        raise MissingError(
            f"the reward {reward.name} returned {len(numbers)} numbers for {len(samples)} texts; accepted: one each, "
            f"see docs/plugins.md; leave it out with --set weights.{reward.name}=0"
        )
    return [
        number if isinstance(number, Unscored) or isfinite(number) else Unscored(f"{reward.name} is {number}")
        for number in numbers
    ]
