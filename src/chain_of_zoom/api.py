"""The Python API: names become objects, photos become states.

from chain_of_zoom import zoom
result = zoom("photo.jpg", at=(0.62, 0.4), magnification=64)
result.states[-1].image      # uint8, H x W x 3
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from chain_of_zoom import plugins
from chain_of_zoom.backbones.base import Backbone
from chain_of_zoom.chain.engine import Engine
from chain_of_zoom.chain.enlargement import ZoomJob
from chain_of_zoom.chain.folder import RunFolder
from chain_of_zoom.chain.published import PublishedFolder
from chain_of_zoom.chain.record import BackboneRecord, InputRecord, Record, StateRecord
from chain_of_zoom.chain.request import Mode, Protocol, ZoomRequest, plan
from chain_of_zoom.chain.schedule import Step
from chain_of_zoom.chain.state import ScaleState
from chain_of_zoom.errors import UsageError
from chain_of_zoom.imaging.color import ColorFix
from chain_of_zoom.imaging.geometry import Size
from chain_of_zoom.imaging.images import RGB8, Picture, encode_png, load
from chain_of_zoom.imaging.provenance import COMPOSITE, label
from chain_of_zoom.prompters.base import Prompter

DEFAULT_BACKBONE = "realsr"
Layout = Literal["default", "published"]
FOLDERS: dict[Layout, type[RunFolder]] = {"default": RunFolder, "published": PublishedFolder}


def load_backbone(name: str = DEFAULT_BACKBONE, **options: Any) -> Backbone:
    """The backbone called `name` (see `coz backbones`); its weights are read at the first use."""
    backbone: Backbone = plugins.create("backbone", plugins.BACKBONES, name, **options)
    return backbone


def load_prompter(name: str = "null", **options: Any) -> Prompter:
    """The prompter called `name`."""
    prompter: Prompter = plugins.create("prompter", plugins.PROMPTERS, name, **options)
    return prompter


@dataclass(frozen=True, kw_only=True)
class Zoom:
    """A planned zoom of one photo: ready to run, nothing computed yet."""

    photo: Picture
    request: ZoomRequest
    canvas: RGB8
    output: Size
    steps: Sequence[Step]


@dataclass(frozen=True, kw_only=True)
class ZoomResult:
    """A finished zoom: its states, and where they were written, if they were."""

    states: tuple[ScaleState, ...]
    folder: Path | None
    record: Record | None


class ChainOfZoom:
    """Zooms into photos with one backbone and one prompter, each given by name or as an object.

        for state in ChainOfZoom(backbone="realsr").zoom("photo.jpg", at=(0.62, 0.4), magnification=64):
            print(state.magnification, state.origin, state.image.shape)

    backbone_options, prompter_options: loader details (weights, device ...) for those given by name.
    """

    def __init__(
        self,
        backbone: str | Backbone = DEFAULT_BACKBONE,
        prompter: str | Prompter = "null",
        *,
        backbone_options: Mapping[str, Any] | None = None,
        prompter_options: Mapping[str, Any] | None = None,
    ) -> None:
        given = {"backbone": backbone_options or {}, "prompter": prompter_options or {}}
        self.options = {kind: {k: str(v) for k, v in options.items()} for kind, options in given.items()}
        self.backbone = load_backbone(backbone, **given["backbone"]) if isinstance(backbone, str) else backbone
        self.prompter = load_prompter(prompter, **given["prompter"]) if isinstance(prompter, str) else prompter
        if not isinstance(self.backbone, Backbone) or not isinstance(self.prompter, Prompter):
            raise UsageError("backbone and prompter; accepted: names, or objects of the classes Backbone and Prompter")

    def zoom(self, photo: str | os.PathLike[str] | Picture | RGB8, **settings: Any) -> Iterator[ScaleState]:
        """Yield the states of a zoom as they come. Settings are those of `zoom`, without files."""
        return self.run(self.prepare(_picture(photo), make_request(**settings)))

    def prepare(self, photo: Picture, request: ZoomRequest) -> Zoom:
        """Plan a zoom. Raises UsageError when it does not fit the photo."""
        info = self.backbone.info
        canvas, output, steps = plan(request, photo.pixels, info.factor, resampled=info.resample is not None)
        return Zoom(photo=photo, request=request, canvas=canvas, output=output, steps=steps)

    def run(self, zoom: Zoom, done: Sequence[ScaleState] = ()) -> Iterator[ScaleState]:
        """Yield the states of a planned zoom that are not `done`."""
        request = zoom.request
        paper = request.protocol == "paper"
        engine = Engine(
            self.backbone,
            self.prompter,
            quantise="truncate" if paper else "round",
            color_fix=request.color_fix,
            raw_prompts=paper,
        )
        job = ZoomJob(
            picture=zoom.canvas, steps=zoom.steps, output=zoom.output, seed=request.seed, text=request.prompt, done=done
        )
        return (state for _, state in engine.run([job]))

    def open_folder(
        self, zoom: Zoom, path: Path, *, name: str | None = None, force: bool = False, layout: Layout = "default"
    ) -> RunFolder:
        """The folder to write a zoom to, once the weights are read, so that missing ones leave nothing behind.

        name: of the photo's own folder in the published layout; its stem by default.
        Raises MissingError, and OutputError when it holds another run and `force` is not given.
        """
        if any(step.enlarge for step in zoom.steps):
            self.backbone.load()
            self.prompter.load()
        kind = FOLDERS[layout]
        path = kind.home(path, name or zoom.photo.path.stem)
        photo = InputRecord.of(zoom.photo, os.path.relpath(zoom.photo.path, path))
        return kind(path, self.begin(photo, zoom.request), force=force)

    def begin(self, photo: InputRecord, request: ZoomRequest) -> Record:
        """The record of a zoom before its first state. Raises MissingError for weights that are not there."""
        return Record.begin(photo, request, self.backbone_record, self.prompter, self.options)

    @cached_property
    def backbone_record(self) -> BackboneRecord:
        """The backbone as records name it; its weights are hashed once. Raises MissingError."""
        return BackboneRecord.of(self.backbone)

    def write(self, zoom: Zoom, folder: RunFolder) -> Iterator[tuple[ScaleState, StateRecord]]:
        """Run a zoom into its folder: yields every new state once its file is there; the sheet comes at the end."""
        states = list(folder.done)
        for state in self.run(zoom, folder.done):
            entry = folder.add(state)
            states.append(state)
            yield state, entry
        folder.finish(self.sheet(zoom, states))

    def sheet(self, zoom: Zoom, states: Sequence[ScaleState]) -> bytes:
        """The contact sheet as a labelled PNG."""
        from chain_of_zoom.chain.sheet import run_sheet  # fonts and drawing, needed at the end only

        name = zoom.photo.path.name or "picture"
        generated = any(state.origin == "generated" for state in states)
        text = f"Contact sheet of a zoom into {name} with {self.backbone.info.name}" + (
            "; panels marked generated were made by a model" if generated else ""
        )
        return encode_png(run_sheet(name, states, self.backbone.info), *label(text, COMPOSITE if generated else None))


def zoom(
    photo: str | os.PathLike[str] | Picture | RGB8,
    *,
    at: tuple[float, float] | str | None = None,
    magnification: float | None = None,
    box: tuple[float, float, float, float] | str | None = None,
    size: tuple[int, int] | None = None,
    backbone: str | Backbone = DEFAULT_BACKBONE,
    prompter: str | Prompter = "null",
    prompt: str = "",
    seed: int = 0,
    mode: Mode = "chain",
    protocol: Protocol = "default",
    color_fix: ColorFix = "none",
    backbone_options: Mapping[str, Any] | None = None,
    prompter_options: Mapping[str, Any] | None = None,
    layout: Layout = "default",
    out: str | os.PathLike[str] | None = None,
    force: bool = False,
) -> ZoomResult:
    """Zoom into a spot of a photo.

    photo: a file, a loaded Picture, or uint8 RGB pixels (H x W x 3, sRGB). at: fractions of the picture, or text
    with pixels ("310px,200px"). magnification: linear, from 1. box: the final window instead of both. size: width
    and height of every state. out: a folder for states, sheet and record; nothing is written without it. layout:
    "published" writes there as the published scripts do. The rest is as for `coz zoom` (docs/reference.md).
    Raises the errors of chain_of_zoom.errors.
    """
    chain = ChainOfZoom(backbone, prompter, backbone_options=backbone_options, prompter_options=prompter_options)
    request = make_request(
        at=at,
        magnification=magnification,
        box=box,
        size=size,
        prompt=prompt,
        seed=seed,
        mode=mode,
        protocol=protocol,
        color_fix=color_fix,
    )
    planned = chain.prepare(_picture(photo), request)
    if out is None:
        return ZoomResult(states=tuple(chain.run(planned)), folder=None, record=None)
    with chain.open_folder(planned, Path(out), force=force, layout=layout) as folder:
        states = (*folder.done, *(state for state, _ in chain.write(planned, folder)))
    return ZoomResult(states=states, folder=folder.path, record=folder.record)


def make_request(
    *,
    at: tuple[float, float] | str | None = None,
    magnification: float | None = None,
    box: tuple[float, float, float, float] | str | None = None,
    size: tuple[int, int] | None = None,
    prompt: str = "",
    seed: int = 0,
    mode: Mode = "chain",
    protocol: Protocol = "default",
    color_fix: ColorFix = "none",
) -> ZoomRequest:
    """Settings as Python has them, checked. Raises UsageError."""
    values = {
        "at": spot_text(at),
        "zoom": magnification,
        "box": spot_text(box),
        "size": size,
        "prompt": prompt,
        "seed": seed,
        "mode": mode,
        "protocol": protocol,
        "color_fix": color_fix,
    }
    try:
        return msgspec.convert(values, ZoomRequest)
    except msgspec.ValidationError as error:
        if isinstance(error.__cause__, UsageError):
            raise error.__cause__ from None
        raise UsageError(f"settings of zoom: {error}; see help(chain_of_zoom.zoom)") from error


def spot_text(values: Sequence[float] | str | None) -> str | None:
    """Numbers of a spot or box as text. Raises UsageError."""
    if values is None or isinstance(values, str):
        return values
    if not isinstance(values, Sequence):
        raise UsageError(f"at or box is {values!r}; accepted: numbers in a tuple, or text; for example at=(0.62, 0.4)")
    return ",".join(str(value) for value in values)


def _picture(photo: str | os.PathLike[str] | Picture | RGB8) -> Picture:
    if isinstance(photo, Picture):
        return photo
    if isinstance(photo, np.ndarray):
        if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3 or photo.size == 0:
            raise UsageError(
                f"array of {photo.dtype} {photo.shape}; accepted: uint8, H x W x 3, sRGB; convert it first"
            )
        return Picture.of_pixels(photo)
    return load(photo)
