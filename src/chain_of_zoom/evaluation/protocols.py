"""Ways to ask how good a zoom is: which zooms to make, and what to compare them with. Here: the paper's own way."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from chain_of_zoom.chain.request import PAPER_SIDE, ZoomRequest
from chain_of_zoom.datasets.manifest import ManifestItem
from chain_of_zoom.errors import UsageError
from chain_of_zoom.evaluation.methods import Method

SCALES = (4, 16, 64, 256)


@dataclass(frozen=True, kw_only=True)
class MeasuredRun:
    """One zoom to make."""

    folder: Path
    """Where its states are kept."""
    photo: Path
    """The file to zoom into."""
    photo_sha256: str
    """The hash of that file."""
    request: ZoomRequest
    """What to ask of the chain."""
    states: dict[int, int]
    """For every depth the index of the state that shows it; -1 is the last one."""
    linked: bool
    """Whether each state is cut from the one before, not from the origin."""
    from_photo: bool
    """Whether the origin, which all states should be consistent with, is the photo and not state 0."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A picture at one spot."""

    picture: str
    """The id of the picture in its set."""
    spot: int
    """The number of the spot, from 1."""
    folder: Path
    """Where the methods keep their states."""
    inputs: dict[int, tuple[Path, str]]
    """For every depth the picture to zoom into and its SHA-256."""
    boxes: dict[int, tuple[int, int, int, int]]
    """For every depth the final window in that picture: left, top, right, bottom in pixels."""
    side: int = PAPER_SIDE
    """The side of a state in pixels."""
    truth: Path | None = None
    """The picture that the final states should be, where there is one."""


class Protocol(ABC):
    """Decides which zooms are made of a picture, and what their states are compared with."""

    name: ClassVar[str]
    """Its name on the command line."""
    about: ClassVar[str]
    """What it does, in one sentence for the report."""
    has_truth: ClassVar[bool]
    """Whether there is a picture to compare states with."""
    metrics: ClassVar[tuple[str, ...]]
    """The default metrics; the first one decides which examples are shown as best and worst."""
    depths: tuple[int, ...]
    """The depths that it measures, ascending."""
    gaps: dict[int, str]
    """The depths that were asked for and cannot be measured, and why."""

    @abstractmethod
    def prepare_cases(self, item: ManifestItem, home: Path, *, force: bool = False) -> list[Case]:
        """Return the spots of a picture, with what they need written below `home`.

        force: replace inputs that were prepared with other settings. Raises UsageError and BadInputError.
        """

    @abstractmethod
    def plan_runs(self, case: Case, method: Method, seed: int) -> list[MeasuredRun]:
        """Return the zooms that one method makes of a case."""

    def settings(self) -> dict[str, Any]:
        """Return its settings, for the report."""
        return {}


def check_scales(scales: Sequence[int]) -> tuple[int, ...]:
    """Return the scales sorted and without repetition. Raises UsageError."""
    if not scales or not set(scales) <= set(SCALES):
        raise UsageError(f"--scales {','.join(map(str, scales))}; accepted: of 4,16,64,256; for example --scales 4,16")
    return tuple(sorted(set(scales)))


class Paper(Protocol):
    """The published loop (as published): 512x512 px of the centre, 4x a step, texts sent as they are."""

    name = "paper"
    about = "The published loop: a 512x512 crop of the centre, 4x a step; there is no truth beyond it"
    has_truth = False
    metrics = ("niqe", "piqe", "consistency.psnr", "consistency.gradient", "consistency.1x-psnr")

    def __init__(self, scales: Sequence[int] = SCALES) -> None:
        self.depths = check_scales(scales)
        self.gaps = {}

    def prepare_cases(self, item: ManifestItem, home: Path, *, force: bool = False) -> list[Case]:
        """Return the centre of the picture as the only case; nothing is written."""
        inputs = dict.fromkeys(self.depths, (item.path, item.sha256))
        return [Case(picture=item.id, spot=1, folder=home / item.id, inputs=inputs, boxes={})]

    def plan_runs(self, case: Case, method: Method, seed: int) -> list[MeasuredRun]:
        """Return one run that passes through every depth."""
        deepest = self.depths[-1]
        photo, sha256 = case.inputs[deepest]
        return [
            MeasuredRun(
                folder=case.folder / method.folder,
                photo=photo,
                photo_sha256=sha256,
                request=ZoomRequest(
                    protocol="paper",
                    zoom=float(deepest),
                    mode=method.mode,
                    detail=method.detail,
                    faithful=method.faithful,
                    seed=seed,
                    prompt=method.user_text(case.picture),
                ),
                states={depth: SCALES.index(depth) + 1 for depth in self.depths},
                linked=method.mode == "chain" and not method.resamples,
                from_photo=False,
            )
        ]
