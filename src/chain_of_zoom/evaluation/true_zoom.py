"""Reduce a photo 4x and 16x, zoom back, compare with its own pixels: the only measure here of what is invented."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from chain_of_zoom.chain.request import PAPER_SIDE, ZoomRequest
from chain_of_zoom.datasets.manifest import ManifestItem
from chain_of_zoom.errors import BadInputError, UsageError
from chain_of_zoom.evaluation.methods import Method
from chain_of_zoom.evaluation.protocols import Case, MeasuredRun, Protocol, check_scales
from chain_of_zoom.files import make_inner_folder, write_atomic
from chain_of_zoom.imaging.encode import encode_png
from chain_of_zoom.imaging.geometry import Size
from chain_of_zoom.imaging.images import RGB8, load, resize, size_of
from chain_of_zoom.imaging.spots import Spot, find_centre, find_textured_spots
from chain_of_zoom.parsing import parse_json
from chain_of_zoom.runs.folder import WorkFolder, list_changes
from chain_of_zoom.weights.files import file_sha256

Reduction = Literal["area", "bicubic"]

MEASURED = (4, 16)
NOTE = "prepared.json"


class PreparedPhoto(msgspec.Struct, frozen=True, kw_only=True):
    """The note of what lies ready for a photo."""

    wanted: dict[str, Any]
    """Everything that decides what is made: the photo's hash and the settings."""
    side: int
    """The side of the truth in pixels."""
    corners: tuple[Spot, ...]
    """The top left pixel (x, y) of the truth at every spot, multiples of the largest reduction."""
    inputs: dict[int, str]
    """For every depth the SHA-256 of the reduced photo."""


class PreparedFolder(WorkFolder[PreparedPhoto]):
    """The folder of a photo's inputs and truths, and of the runs below it; it owns no names, as a note comes last."""

    another = "other inputs"
    marker = NOTE

    def __init__(self, path: Path, identity: dict[str, Any], *, force: bool = False) -> None:
        self.identity = identity
        super().__init__(path, force=force)

    def parse(self, data: bytes) -> PreparedPhoto | None:
        """Read the note; None for one that was cut off, since all files are made again then."""
        try:
            return parse_json(data, PreparedPhoto)
        except msgspec.DecodeError:
            return None

    def difference(self, earlier: PreparedPhoto) -> str:
        """Describe which settings make other inputs."""
        return "; ".join(list_changes(earlier.wanted, self.identity))


class TrueZoom(Protocol):
    """The chain as `coz zoom` runs it, on a reduced photo, up to one real pixel per pixel.

    The truth is a window of the photo about the spot, 512x512 px, or smaller where the reduced photo would not be
    larger than the window of the first step.
    """

    name = "true-zoom"
    about = "Photos are reduced 4x and 16x, zoomed back by as much, and compared with its own pixels"
    has_truth = True
    metrics = (
        *("st-lpips", "ssimulacra2", "psnr", "ssim", "detail", "sharpness", "niqe"),
        *("consistency.psnr", "consistency.1x-psnr"),
    )

    def __init__(
        self, scales: Sequence[int] = MEASURED, *, spots: int = 1, seed: int = 0, reduction: Reduction = "area"
    ) -> None:
        """Check the settings.

        spots: how many textured places per photo; 0 takes its centre alone. seed: of their choice. reduction: how
        photos are made smaller. Raises UsageError.
        """
        if reduction not in ("area", "bicubic"):
            raise UsageError(f"--reduce {reduction!r}; accepted: area, bicubic; for example --reduce area")
        requested = check_scales(scales)
        self.depths = tuple(depth for depth in requested if depth in MEASURED)
        if not self.depths:
            raise UsageError("--protocol true-zoom has a truth at 4x and 16x only; accepted: --scales 4,16")
        self.gaps = {
            depth: f"reduced {depth}x, photos have too few pixels left to zoom into: no truth at {depth}x"
            for depth in requested
            if depth not in MEASURED
        }
        self.spots, self.seed, self.reduction = spots, seed, reduction

    def settings(self) -> dict[str, Any]:
        """Return how inputs are made."""
        return {"reduction": self.reduction, "spots": self.spots or "centre", "seed_of_spots": self.seed}

    def prepare_cases(self, item: ManifestItem, home: Path, *, force: bool = False) -> list[Case]:
        """Return the spots, with the reduced photos as inputs and the real pixels as truth, written once."""
        folder = home / item.id
        identity = {
            "photo": item.sha256,
            "depths": list(self.depths),
            **self.settings(),
            "pinned": [list(spot) for spot in item.spots or ()],
        }
        make_inner_folder(home, item.id)
        with PreparedFolder(folder, identity, force=force) as prepared_folder:
            prepared = prepared_folder.earlier or self._prepare(item, folder, identity)
        return [self._case(item, folder, prepared, number) for number in range(1, len(prepared.corners) + 1)]

    def plan_runs(self, case: Case, method: Method, seed: int) -> list[MeasuredRun]:
        """Return one run per depth, whose last state shows the truth's window at one real pixel per pixel."""
        return [
            MeasuredRun(
                folder=case.folder / method.folder / f"{depth}x",
                photo=case.inputs[depth][0],
                photo_sha256=case.inputs[depth][1],
                request=ZoomRequest(
                    box=",".join(f"{edge}px" for edge in case.boxes[depth]),
                    size=(case.side, case.side),
                    mode=method.mode,
                    detail=method.detail,
                    faithful=method.faithful,
                    trust=method.has_trust,
                    seed=seed,
                    prompt=method.user_text(case.picture),
                ),
                states={depth: -1},
                linked=method.mode == "chain",
                from_photo=True,
            )
            for depth in self.depths
        ]

    def _case(self, item: ManifestItem, folder: Path, prepared: PreparedPhoto, spot: int) -> Case:
        x, y = prepared.corners[spot - 1]
        right, bottom = x + prepared.side, y + prepared.side
        boxes = {depth: (x // depth, y // depth, right // depth, bottom // depth) for depth in self.depths}
        inputs = {depth: (_input_file(folder, depth), sha256) for depth, sha256 in prepared.inputs.items()}
        home = folder / f"spot{spot}"
        return Case(
            picture=item.id,
            spot=spot,
            folder=home,
            inputs=inputs,
            boxes=boxes,
            side=prepared.side,
            truth=home / "truth.png",
        )

    def _prepare(self, item: ManifestItem, folder: Path, identity: dict[str, Any]) -> PreparedPhoto:
        pixels = load(item.path).pixels
        step = self.depths[-1]
        side = _truth_side(size_of(pixels), step, item.path.name)
        if item.spots is not None and self.spots:
            spots = list(item.spots[: self.spots])
        else:
            spots = find_textured_spots(pixels, self.spots, self.seed) if self.spots else find_centre(pixels)
        pixels = pixels[: pixels.shape[0] // step * step, : pixels.shape[1] // step * step]
        corners = tuple(dict.fromkeys(_truth_corner(spot, side, size_of(pixels), step) for spot in spots))
        inputs = {}
        for depth in self.depths:
            file = _input_file(folder, depth)
            write_atomic(file, encode_png(reduce_photo(pixels, depth, self.reduction)))
            inputs[depth] = file_sha256(file)
        for number, (x, y) in enumerate(corners, 1):
            make_inner_folder(folder, f"spot{number}")
            truth = np.ascontiguousarray(pixels[y : y + side, x : x + side])
            write_atomic(folder / f"spot{number}" / "truth.png", encode_png(truth))
        prepared = PreparedPhoto(wanted=identity, side=side, corners=corners, inputs=inputs)
        write_atomic(folder / NOTE, msgspec.json.encode(prepared))  # last, so that all files it lists are there
        return prepared


def reduce_photo(pixels: RGB8, factor: int, reduction: Reduction) -> RGB8:
    """Make a picture smaller whose sides `factor` divides: by the rounded mean of areas, or by bicubic."""
    height, width = pixels.shape[0] // factor, pixels.shape[1] // factor
    if reduction == "bicubic":
        return resize(pixels, Size(width, height), "bicubic")
    sums = pixels.reshape(height, factor, width, factor, 3).sum(axis=(1, 3), dtype=np.uint32)
    means: RGB8 = ((sums + factor**2 // 2) // factor**2).astype(np.uint8)
    return means


def _input_file(folder: Path, depth: int) -> Path:
    return folder / f"input_{depth}x.png"


def _truth_side(size: Size, step: int, name: str) -> int:
    """Return the largest multiple of 64 up to 512 whose first window is smaller than the photo reduced by `step`."""
    side = min(PAPER_SIDE, (min(size) // step * 4 - 1) // 64 * 64)
    if side < 128:
        raise BadInputError(
            f"{name} has {size} px, too few to be reduced {step}x; accepted: a short side of at least "
            f"{33 * step} px; leave it out, or use --scales 4"
        )
    return side


def _truth_corner(spot: Spot, side: int, size: Size, step: int) -> Spot:
    """Return the top left pixel of the square about a spot, inside the picture and on the grid of the reduction."""
    x, y = (
        min(max(round((middle - side / 2) / step) * step, 0), (limit - side) // step * step)
        for middle, limit in zip(spot, size, strict=True)
    )
    return x, y
