"""Ways to ask how good a zoom is: which zooms to make, and what to compare them with. Here: the paper's own way."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from chain_of_zoom.chain.request import PAPER_SIDE, ZoomRequest
from chain_of_zoom.datasets.manifest import Item
from chain_of_zoom.errors import UsageError
from chain_of_zoom.evaluation.methods import Method

SCALES = (4, 16, 64, 256)


@dataclass(frozen=True, kw_only=True)
class Run:
    """One zoom to make.

    folder: for its states. states: depth -> which of its states shows it. linked: each state is cut from the one
    before, not from the origin. from_photo: the origin, which all states should be consistent with, is the photo and
    not state 0.
    """

    folder: Path
    photo: Path
    photo_sha256: str
    request: ZoomRequest
    states: dict[int, int]
    linked: bool
    from_photo: bool


@dataclass(frozen=True, kw_only=True)
class Case:
    """A picture at one spot. inputs: depth -> the picture to zoom into. boxes: depth -> the final window in it."""

    picture: str
    spot: int
    folder: Path
    inputs: dict[int, tuple[Path, str]]
    boxes: dict[int, tuple[int, int, int, int]]
    side: int = PAPER_SIDE
    truth: Path | None = None


class Protocol(ABC):
    """Which zooms are made of a picture, and what their states are compared with.

    has_truth: whether there is anything to compare with. metrics: unless others are asked for; the first one decides
    which examples are shown as best and worst. depths: those it can measure; gaps: asked for, and why not.
    """

    name: ClassVar[str]
    about: ClassVar[str]
    has_truth: ClassVar[bool]
    metrics: ClassVar[tuple[str, ...]]
    depths: tuple[int, ...]
    gaps: dict[int, str]

    @abstractmethod
    def cases(self, item: Item, home: Path, *, force: bool = False) -> list[Case]:
        """The spots of a picture; what they need is written below `home`. Raises UsageError and BadInputError."""

    @abstractmethod
    def runs(self, case: Case, method: Method, seed: int) -> list[Run]:
        """The zooms that one method makes of a case."""

    def facts(self) -> dict[str, Any]:
        """Its settings, for the report."""
        return {}


def check_scales(scales: Sequence[int]) -> tuple[int, ...]:
    """Sorted and each once. Raises UsageError."""
    if not scales or not set(scales) <= set(SCALES):
        raise UsageError(f"--scales {','.join(map(str, scales))}; accepted: of 4,16,64,256; for example --scales 4,16")
    return tuple(sorted(set(scales)))


class Paper(Protocol):
    """The published loop (method, section 2): 512x512 px of the centre, 4x a step, texts sent as they are."""

    name = "paper"
    about = "The published loop: a 512x512 crop of the centre, 4x a step; there is no truth beyond it"
    has_truth = False
    metrics = ("niqe", "piqe", "consistency.psnr", "consistency.gradient", "consistency.1x-psnr")

    def __init__(self, scales: Sequence[int] = SCALES) -> None:
        self.depths = check_scales(scales)
        self.gaps = {}

    def cases(self, item: Item, home: Path, *, force: bool = False) -> list[Case]:
        """The centre."""
        inputs = dict.fromkeys(self.depths, (item.path, item.sha256))
        return [Case(picture=item.id, spot=1, folder=home / item.id, inputs=inputs, boxes={})]

    def runs(self, case: Case, method: Method, seed: int) -> list[Run]:
        """One run that passes through every depth."""
        photo, sha256 = case.inputs[self.depths[-1]]
        request = ZoomRequest(
            protocol="paper",
            zoom=float(self.depths[-1]),
            mode=method.mode,
            seed=seed,
            prompt=method.text(case.picture),
        )
        states = {depth: SCALES.index(depth) + 1 for depth in self.depths}
        folder = case.folder / method.folder
        return [
            Run(
                folder=folder,
                photo=photo,
                photo_sha256=sha256,
                request=request,
                states=states,
                linked=method.mode == "chain" and not method.resamples,
                from_photo=False,
            )
        ]
