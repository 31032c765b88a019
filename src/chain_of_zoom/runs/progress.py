"""Tell how far a long piece of work has come, in one form for all rooms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """How far one stage of a piece of work has come."""

    stage: str
    """The work that is counted, such as "tiles", "metrics" or the name of a prompter."""
    finished: int
    """Units of the stage that are finished."""
    total: int
    """Units of the whole stage."""
    step: int = 0
    """Number of the step, from 1, where the stage comes again in every step."""
    steps: int = 0
    """Number of steps; 0 where there are none."""
    seconds_left: float | None = None
    """Expected seconds to the end of the stage, where the work knows better than the clock."""

    @property
    def done(self) -> int:
        """Another name of `finished`, for callers of `upscale`."""
        return self.finished


OnProgress = Callable[[Progress], None]
"""Receives the progress whenever a unit is finished, and may raise to stop the work."""


def ignore_progress(progress: Progress) -> None:
    """Do nothing: the default of whoever reports progress."""
