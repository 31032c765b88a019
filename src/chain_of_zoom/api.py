"""The Python API: names become objects, photos become states.

from chain_of_zoom import zoom
result = zoom("photo.jpg", at=(0.62, 0.4), magnification=64)
result.states[-1].image      # uint8, H x W x 3
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from chain_of_zoom import plugins
from chain_of_zoom.backbones.base import Backbone
from chain_of_zoom.chain.choice import Choice, Revision, Variant
from chain_of_zoom.chain.engine import Engine
from chain_of_zoom.chain.enlargement import ZoomJob, window_size
from chain_of_zoom.chain.folder import RunFolder
from chain_of_zoom.chain.published import PublishedFolder
from chain_of_zoom.chain.record import BackboneRecord, CandidateSet, InputRecord, Record, StateRecord
from chain_of_zoom.chain.request import Mode, Protocol, ZoomRequest, make_request, plan
from chain_of_zoom.chain.revision import Branch
from chain_of_zoom.chain.schedule import Step
from chain_of_zoom.chain.state import ScaleState
from chain_of_zoom.errors import UsageError
from chain_of_zoom.imaging.color import ColorFix
from chain_of_zoom.imaging.encode import encode_png
from chain_of_zoom.imaging.geometry import Size
from chain_of_zoom.imaging.images import RGB8, Picture, render
from chain_of_zoom.imaging.memory import Photo, read_photo
from chain_of_zoom.imaging.provenance import COMPOSITE, label
from chain_of_zoom.imaging.reading import Reading
from chain_of_zoom.parsing import is_text, plain
from chain_of_zoom.prompters.base import Prompter
from chain_of_zoom.runtime.residence import Residence
from chain_of_zoom.wording import python_words

if TYPE_CHECKING:
    from chain_of_zoom.movie.animation import Track

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

    @property
    def is_grey(self) -> bool:
        """Whether states have no colour, since the photo has none; the published loop gives them any."""
        return self.request.protocol != "paper" and self.photo.is_grey


@dataclass(frozen=True, kw_only=True)
class ZoomResult:
    """A zoom: its states, where they were written, if they were, and the alternatives of the next, if asked for."""

    states: tuple[ScaleState, ...]
    folder: Path | None
    record: Record | None
    candidates: tuple[ScaleState, ...] = ()


class ChainOfZoom:
    """Zooms into photos with one backbone and one prompter, each given by name or as an object.

        for state in ChainOfZoom(backbone="realsr").zoom("photo.jpg", at=(0.62, 0.4), magnification=64):
            print(state.magnification, state.origin, state.image.shape)

    backbone_options, prompter_options: loader details (weights, device ...) for those given by name. photo_options: how
    photos are read, as `Reading.parse` takes it.
    """

    def __init__(
        self,
        backbone: str | Backbone = DEFAULT_BACKBONE,
        prompter: str | Prompter = "null",
        *,
        backbone_options: Mapping[str, Any] | None = None,
        prompter_options: Mapping[str, Any] | None = None,
        photo_options: Mapping[str, Any] | None = None,
    ) -> None:
        given = {"backbone": _plain(backbone_options), "prompter": _plain(prompter_options)}
        self.reading = Reading.parse(_plain(photo_options))
        self.options = {kind: {k: str(v) for k, v in options.items()} for kind, options in given.items()}
        if choices := self.reading.choices:
            self.options["photo"] = choices
        self.backbone = load_backbone(backbone, **given["backbone"]) if isinstance(backbone, str) else backbone
        self.prompter = load_prompter(prompter, **given["prompter"]) if isinstance(prompter, str) else prompter
        self.residence: Residence | None = None
        self._is_placed = False
        if not isinstance(self.backbone, Backbone) or not isinstance(self.prompter, Prompter):
            raise UsageError("backbone and prompter; accepted: names, or objects of the classes Backbone and Prompter")

    def place(self, pictures: int = 1) -> None:
        """Plan, once, where the networks of backbone and prompter go together, before they are read.

        pictures: how many are to come. Raises UsageError for a device that is not there, BackboneError when none fits.
        """
        if self._is_placed:
            return
        self._is_placed = True
        needing = [(each, needs) for each in (self.prompter, self.backbone) if (needs := each.needs())]
        if needing:
            from chain_of_zoom.runtime.placement import place  # brings in torch

            self.residence = place([needs for _, needs in needing], pictures=pictures)
            for each, _ in needing:
                each.place(self.residence)

    def load(self, *, words: bool = True) -> None:
        """Read the weights of the backbone and, for `words`, of the prompter. Raises MissingError."""
        self.place()
        self.backbone.load()
        if words:
            self.prompter.load()

    @property
    def placement(self) -> dict[str, str]:
        """Where the networks lie and in which precision, once they are read; empty for those without choice."""
        return self.residence.recorded() if self.residence else {}

    def together(self, pictures: int) -> int:
        """How many of so many pictures should advance together: one where that gains nothing, as on a CPU."""
        self.place(pictures)
        if self.residence is None or not self.backbone.info.text_aware:
            return 1
        return self.residence.placement.together

    def zoom(self, photo: Photo | Picture, **settings: Any) -> Iterator[ScaleState]:
        """Yield the states of a zoom as they come. Settings are those of `zoom`, without files."""
        return self.run(self.prepare(self.picture(photo), make_request(**settings)))

    def picture(self, photo: Photo | Picture) -> Picture:
        """A photo, read if it is not loaded yet. Raises BadInputError and UsageError."""
        if isinstance(photo, Picture):
            return photo
        return render(read_photo(photo, self.reading.limits), self.reading)

    def prepare(self, photo: Picture, request: ZoomRequest) -> Zoom:
        """Plan a zoom. Raises UsageError when it does not fit the photo."""
        info = self.backbone.info
        canvas, output, steps = plan(request, photo.pixels, info.factor, resampled=info.resample is not None)
        return Zoom(photo=photo, request=request, canvas=canvas, output=output, steps=steps)

    def run(self, zoom: Zoom, done: Sequence[ScaleState] = (), choices: Sequence[Choice] = ()) -> Iterator[ScaleState]:
        """Yield the states of a planned zoom that are not `done`; choices: what was decided about single ones."""
        return (state for _, state in self._engine(zoom).run([_job(zoom, done, choices)]))

    def run_together(
        self, zooms: Sequence[tuple[Zoom, Sequence[ScaleState], Sequence[Choice]]]
    ) -> Iterator[tuple[int, ScaleState]]:
        """Yield (index, state) of zooms that advance together; (zoom, done, choices) of each as for `run`.

        Protocol and colour fix are those of the first. A picture gets the noise and, but for rounding on a GPU, the
        pixels that it gets alone.
        """
        engine = self._engine(zooms[0][0])
        jobs = [_job(*each) for each in zooms]
        if self.residence and self.residence.placement.pipelined and len(jobs) > 1:
            from chain_of_zoom.chain.lanes import in_lanes

            return in_lanes(engine, jobs, 2)
        return engine.run(jobs)

    def candidates(
        self, zoom: Zoom, done: Sequence[ScaleState], count: int, choices: Sequence[Choice] = ()
    ) -> Iterator[ScaleState]:
        """Yield `count` alternatives of the state after those `done`. Raises UsageError when there are not so many."""
        seeded = self.backbone.info.seeded
        seed = zoom.request.seed + len(done)
        variants = [Variant.of(number, seed, seeded=seeded) for number in range(1, count + 1)]
        return self._engine(zoom).candidates(_job(zoom, done, choices), variants)

    def branch(self, zoom: Zoom, revision: Revision) -> Branch | None:
        """A revision in terms of the planned states. Raises UsageError when there is no such state or alternative."""
        if revision.is_none:
            return None
        info = self.backbone.info
        enlarged = [index for index, step in enumerate(zoom.steps) if step.enlarge]
        alternatives = revision.candidates if revision.candidates is not None else revision.candidate
        if alternatives is not None and (info.resample or not enlarged):
            why = f"{info.name} makes nothing up" if info.resample else "all states show the photo's own pixels"
            raise UsageError(f"there is one candidate only: {why}; accepted: generated states; leave the option out")
        step = revision.resume_from if revision.resume_from is not None else enlarged[0]
        accepted = enlarged if alternatives is not None else range(len(zoom.steps))
        if step not in accepted:
            raise UsageError(
                f"--resume-from {step}; accepted: {accepted[0]} to {accepted[-1]}"
                f"{'' if alternatives is None else ', the generated states'}; for example --resume-from {accepted[-1]}"
            )
        variant = None
        if alternatives is not None:
            variant = Variant.of(alternatives, zoom.request.seed + step, seeded=info.seeded)
        stop = revision.candidates is not None
        return Branch(step=step, variant=None if stop else variant, stop=stop)

    def _engine(self, zoom: Zoom) -> Engine:
        self.place()
        paper = zoom.request.protocol == "paper"
        return Engine(
            self.backbone,
            self.prompter,
            quantise="truncate" if paper else "round",
            color_fix=zoom.request.color_fix,
            raw_prompts=paper,
        )

    def open_folder(
        self,
        zoom: Zoom,
        path: Path,
        *,
        name: str | None = None,
        force: bool = False,
        layout: Layout = "default",
        branch: Branch | None = None,
    ) -> RunFolder:
        """The folder to write a zoom to, once the weights are read, so that missing ones leave nothing behind.

        name: of the photo's own folder in the published layout; its stem by default. branch: see RunFolder.
        Raises MissingError, and OutputError when it holds another run and `force` is not given.
        """
        if any(step.enlarge for step in zoom.steps):
            self.load()
            if not self.backbone.info.resample:
                self._check_memory(zoom)
        kind = FOLDERS[layout]
        path = kind.home(path, name or zoom.photo.path.stem)
        photo = InputRecord.of(zoom.photo, os.path.relpath(zoom.photo.path, path))
        record = self.begin(photo, zoom.request)
        grey = zoom.is_grey and layout == "default" and zoom.photo.kept.profile is None  # which would be one of RGB
        return kind(path, record, force=force, branch=branch, kept=zoom.photo.kept, grey=grey)

    def _check_memory(self, zoom: Zoom) -> None:
        """Raises ShortageError when a step of a zoom needs more memory than there is."""
        factor = self.backbone.info.factor
        windows = [window_size(step, zoom.output, factor) for step in zoom.steps if step.enlarge]
        largest = max(max(window) for window in windows)

        def advice(side: int) -> str:
            smaller = Size(*(length * side // largest // 8 * 8 for length in zoom.output))
            fits = min(smaller) >= 64 and zoom.request.protocol != "paper"
            return f"--size {smaller}" if fits else "another --backbone"

        self.backbone.check_memory(windows, advice)

    def begin(self, photo: InputRecord, request: ZoomRequest) -> Record:
        """The record of a zoom before its first state. Raises MissingError for weights that are not there."""
        device = self.backbone.runs_on()
        return Record.begin(photo, request, self.backbone_record, self.prompter, self.options, device, self.placement)

    @cached_property
    def backbone_record(self) -> BackboneRecord:
        """The backbone as records name it; its weights are hashed once. Raises MissingError."""
        return BackboneRecord.of(self.backbone)

    def write(
        self, zoom: Zoom, folder: RunFolder, *, animate: bool | None = False, track: Track = iter
    ) -> Iterator[tuple[ScaleState, StateRecord]]:
        """Run a zoom into its folder: yields every new state once its file is there; sheet and animation come last.

        Where the folder's branch stops for candidates, only the states before it are made. animate: None means where
        it is quick. track: is given the frames of the animation and hands them on, to show how far it is.
        """
        stop = folder.branch.step if folder.branch and folder.branch.stop else None
        states = list(folder.done)
        for state in self.run(replace(zoom, steps=zoom.steps[:stop]), folder.done, folder.record.choices):
            entry = folder.add(state)
            states.append(state)
            yield state, entry
        if stop is None:
            self.finish(zoom, folder, states, animate=animate, track=track)

    def finish(
        self,
        zoom: Zoom,
        folder: RunFolder,
        states: Sequence[ScaleState],
        *,
        animate: bool | None = False,
        track: Track = iter,
    ) -> None:
        """Write what comes after the last state: the animation, if so, and the sheet."""
        if animate is not False and folder.record.animation is None:
            from chain_of_zoom.movie.animation import Animation, encode, is_quick

            if animate or is_quick(states):
                animation = Animation(states)
                profile = zoom.photo.kept.profile
                folder.animate(encode(animation, track(animation), ".webp", self._about(zoom), profile))
        folder.finish(self.sheet(zoom, states))

    def offer(self, zoom: Zoom, folder: RunFolder, states: Sequence[ScaleState]) -> CandidateSet:
        """Write the alternatives that differ, and a sheet of them to choose from."""
        from chain_of_zoom.chain.sheet import candidates_sheet

        assert folder.branch is not None
        different = {state.image.tobytes(): state for state in reversed(states)}
        offered = sorted(different.values(), key=lambda state: state.variant.candidate if state.variant else 0)
        sheet = candidates_sheet(zoom.photo.path.name or "picture", folder.branch.step, offered, self.backbone.info)
        text = f"Alternatives of state {folder.branch.step} of a zoom {self._about(zoom)}, all made by a model"
        return folder.offer(
            folder.branch.step, offered, encode_png(sheet, *label(text, COMPOSITE), zoom.photo.kept.only_profile)
        )

    def _about(self, zoom: Zoom) -> str:
        return f"into {zoom.photo.path.name or 'picture'} with {self.backbone.info.name}"

    def sheet(self, zoom: Zoom, states: Sequence[ScaleState]) -> bytes:
        """The contact sheet as a labelled PNG."""
        from chain_of_zoom.chain.sheet import run_sheet  # fonts and drawing, needed at the end only

        name = zoom.photo.path.name or "picture"
        generated = any(state.origin == "generated" for state in states)
        text = f"Contact sheet of a zoom {self._about(zoom)}" + (
            "; panels marked generated were made by a model" if generated else ""
        )
        sheet = run_sheet(name, states, self.backbone.info)
        return encode_png(sheet, *label(text, COMPOSITE if generated else None), zoom.photo.kept.only_profile)


@python_words()
def zoom(
    photo: Photo | Picture,
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
    photo_options: Mapping[str, Any] | None = None,
    layout: Layout = "default",
    out: str | os.PathLike[str] | None = None,
    force: bool = False,
    animate: bool | None = False,
    resume_from: int | None = None,
    candidates: int | None = None,
    candidate: int | None = None,
) -> ZoomResult:
    """Zoom into a spot of a photo.

    photo: a file, its bytes, a loaded Picture, a picture of Pillow, or uint8 pixels (H x W x 3, sRGB). at: fractions
    of the picture, or text with pixels ("310px,200px"). magnification: linear, from 1. box: the final window instead of
    both. size: width and height of every state. out: a folder for states, sheet and record; nothing is written without
    it. layout: "published" writes there as the published scripts do. animate: zoom.webp in that folder, None where it
    is quick. resume_from, candidates, candidate: as for `coz zoom`, of the run in that folder.
    The rest is as for `coz zoom` (docs/reference.md).
    Raises the errors of chain_of_zoom.errors.
    """
    chain = ChainOfZoom(
        backbone,
        prompter,
        backbone_options=backbone_options,
        prompter_options=prompter_options,
        photo_options=photo_options,
    )
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
    planned = chain.prepare(chain.picture(photo), request)
    branch = chain.branch(planned, Revision(resume_from=resume_from, candidates=candidates, candidate=candidate))
    if out is None:
        if branch or animate:
            raise UsageError("animate, resume_from and candidates are about a folder; accepted: out='folder' with them")
        return ZoomResult(states=tuple(chain.run(planned)), folder=None, record=None)
    with chain.open_folder(planned, Path(out), force=force, layout=layout, branch=branch) as folder:
        states = (*folder.done, *(state for state, _ in chain.write(planned, folder, animate=animate)))
        offered: tuple[ScaleState, ...] = ()
        if branch and candidates is not None:
            states = states[: branch.step]
            offered = tuple(chain.candidates(planned, states, candidates, folder.record.choices))
            chain.offer(planned, folder, offered)
    return ZoomResult(states=states, folder=folder.path, record=folder.record, candidates=offered)


@python_words()
def animate(
    run: str | os.PathLike[str] | Sequence[ScaleState],
    out: str | os.PathLike[str] | None = None,
    *,
    seconds: float | None = None,
    track: Track = iter,
) -> Path:
    """Make an animation, a smooth zoom through all states, and return its file.

    run: the folder of a run, or states with `out`. out: a .webp or .mp4 file (which needs ffmpeg: the extra [video]);
    by default zoom.webp in the folder; its record lists an animation beside it. seconds: of the movement; by default
    1 and 1.4 for every 4x. track: see ChainOfZoom.write. Raises the errors of chain_of_zoom.errors.
    """
    from chain_of_zoom.movie.stored import animate_folder, animate_states

    if isinstance(run, (str, os.PathLike)):
        return animate_folder(Path(run), None if out is None else Path(out), seconds, track)
    if out is None:
        raise UsageError("states without a folder; accepted: a file to write; for example animate(states, 'zoom.webp')")
    return animate_states(run, Path(out), seconds, track)


def _plain(options: Mapping[str, Any] | None) -> dict[str, Any]:
    """Options with Python's own numbers. Raises UsageError for values that no record can hold."""
    values = {key: plain(value) for key, value in (options or {}).items()}
    for key, value in values.items():
        if not is_text(str(value)):
            raise UsageError(f"the value of the option {key}; accepted: a text in UTF-8, or a number; check it")
    return values


def _job(zoom: Zoom, done: Sequence[ScaleState], choices: Sequence[Choice]) -> ZoomJob:
    return ZoomJob(
        picture=zoom.canvas,
        steps=zoom.steps,
        output=zoom.output,
        seed=zoom.request.seed,
        text=zoom.request.prompt,
        done=done,
        choices={choice.step: choice for choice in choices},
        grey=zoom.is_grey,
    )
