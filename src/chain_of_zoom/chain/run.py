"""A zoom from its plan to its finished folder: the one object that commands, batches and evaluation share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from chain_of_zoom.backbones.base import Backbone
from chain_of_zoom.chain.choice import Choice, Revision, Variant
from chain_of_zoom.chain.engine import Engine
from chain_of_zoom.chain.enlargement import ZoomJob
from chain_of_zoom.chain.evidence import find_supported
from chain_of_zoom.chain.folder import RunFolder
from chain_of_zoom.chain.lanes import run_in_lanes
from chain_of_zoom.chain.place import Place
from chain_of_zoom.chain.published import PublishedFolder
from chain_of_zoom.chain.record import BackboneRecord, CandidateSet, InputRecord, Record, StateRecord
from chain_of_zoom.chain.request import ZoomRequest, plan
from chain_of_zoom.chain.revision import Branch
from chain_of_zoom.chain.schedule import Aim
from chain_of_zoom.chain.state import ScaleState
from chain_of_zoom.chain.window import fit_window
from chain_of_zoom.errors import UsageError
from chain_of_zoom.files import relate
from chain_of_zoom.imaging.encode import COMPOSITE, encode_png, label
from chain_of_zoom.imaging.geometry import Size
from chain_of_zoom.imaging.images import Picture
from chain_of_zoom.prompters.base import Prompter
from chain_of_zoom.truth.resolution import DetailMeter
from chain_of_zoom.truth.trust import list_backbones

Layout = Literal["default", "published"]
FOLDERS: dict[Layout, type[RunFolder]] = {"default": RunFolder, "published": PublishedFolder}
LANES = 2  # one at the prompter, one at the backbone

EncodeAnimation = Callable[["ZoomRun", Sequence[ScaleState]], bytes | None]
"""Makes the animation of all states as a file's bytes, or None where there is to be none."""


class ZoomModels(Protocol):
    """The backbone and the prompter of a zoom, as `ChainOfZoom` holds them."""

    backbone: Backbone
    prompter: Prompter
    options: dict[str, dict[str, str]]

    def place(self, pictures: int = 1) -> None:
        """Plan, once, where the networks go."""

    def load(self, *, words: bool = True) -> None:
        """Read the weights."""

    @property
    def placement(self) -> dict[str, str]:
        """Where the networks lie, as records say it."""

    @property
    def is_pipelined(self) -> bool:
        """Whether prompter and backbone have a device each, so that pictures may take turns."""

    @property
    def backbone_record(self) -> BackboneRecord:
        """The backbone as records name it."""


class ZoomRun:
    """A planned zoom of one photo and, once `open` was called, the folder it is written to.

    Use: `run = chain.plan(photo, request)`, then `for state in run.states()`, which writes nothing; or
    `with run.open(path):` and `for state, entry in run.write()`, after which sheet and record are there.
    """

    folder: RunFolder

    def __init__(self, models: ZoomModels, photo: Picture, request: ZoomRequest, place: Place | None = None) -> None:
        """Plan a zoom; nothing is computed. place: what the words of the request mean.

        Raises UsageError when it does not fit the photo.
        """
        self.models = models
        self.photo = photo
        self.request = request
        self.place = place
        info = models.backbone.info
        if request.trust and info.acting_as(uses_words=False).name not in list_backbones():
            raise UsageError(
                f"--trust: no zoom of {info.name} was compared with the truth; accepted: backbones that were; "
                f"type: --backbone {' or '.join(list_backbones())}"
            )
        self.meter = DetailMeter(photo.pixels)
        self.canvas, self.output, self.steps = plan(
            request,
            photo.pixels,
            info.factor,
            resampled=self.is_plain,
            place=place,
            find_limit=lambda aim: self._find_supported(aim, uses_words=self.may_use_words),
        )

    @property
    def name(self) -> str:
        """The photo's file name, for sheets and labels."""
        return self.photo.path.name or "picture"

    @property
    def is_plain(self) -> bool:
        """Whether all states are resampled, so that no detail is made up."""
        return self.models.backbone.info.resample is not None or self.request.detail == 0

    @property
    def may_use_words(self) -> bool:
        """Whether a state may be made with words: the user's, or those of a prompter that looks."""
        return self.models.backbone.info.text_aware and bool(self.request.prompt or self.models.prompter.looks)

    def find_supported(self, states: Sequence[ScaleState | StateRecord] = ()) -> float:
        """Find the magnification up to which the photo at this spot and the evidence of the backbone support a zoom.

        states: those there are; what counts is whether words changed them. Without any, the user's words count.
        """
        aim = self.request.aim(self.photo.size, self.place)
        wordless = float(self._find_supported(aim, uses_words=not states and bool(self.request.prompt)))
        first = next((number for number, state in enumerate(states) if state.prompt_used), None)
        if first is None or states[first].magnification > wordless:
            return wordless
        before = max((state.magnification for state in states[:first]), default=1.0)
        return max(float(self._find_supported(aim, uses_words=True)), before)

    def _find_supported(self, aim: Aim, *, uses_words: bool) -> Fraction:
        info = self.models.backbone.info.acting_as(uses_words=uses_words)
        return find_supported(aim, self.meter, None if self.is_plain else info.evidence_limit)

    @property
    def is_grey(self) -> bool:
        """Whether states have no colour, since the photo has none; the published loop gives them any."""
        return self.request.protocol != "paper" and self.photo.is_grey

    def count_enlargements(self, done: int = 0) -> int:
        """Count the passes of the backbone that are still to come after the first `done` states."""
        return sum(step.enlarge for step in self.steps[done:])

    # Without a folder

    def states(
        self, done: Sequence[ScaleState] = (), choices: Sequence[Choice] = (), stop: int | None = None
    ) -> Iterator[ScaleState]:
        """Yield the states that are not `done`, up to state number `stop`; choices: decisions about single ones."""
        job = replace(self._job(done, choices), steps=self.steps[:stop])
        return (state for _, state in self._engine().run([job]))

    def candidates(
        self, count: int, done: Sequence[ScaleState], choices: Sequence[Choice] = ()
    ) -> Iterator[ScaleState]:
        """Yield `count` alternatives of the state after those `done`. Raises UsageError when there are not so many."""
        seeded = self.models.backbone.info.seeded
        seed = self.request.seed + len(done)
        variants = [Variant.of(number, seed, seeded=seeded) for number in range(1, count + 1)]
        return self._engine().candidates(self._job(done, choices), variants)

    # With a folder

    def find_branch(self, revision: Revision) -> Branch | None:
        """Put a revision in terms of the planned states; None where nothing is gone through again.

        Raises UsageError when there is no such state or alternative.
        """
        if revision.is_none:
            return None
        info = self.models.backbone.info
        enlarged = [index for index, step in enumerate(self.steps) if step.enlarge]
        number = revision.candidates if revision.candidates is not None else revision.candidate
        if number is not None and (info.resample or not enlarged):
            reason = f"{info.name} makes nothing up" if info.resample else "all states show the photo's own pixels"
            raise UsageError(f"there is one candidate only: {reason}; accepted: generated states; leave the option out")
        step = revision.resume_from if revision.resume_from is not None else enlarged[0]
        accepted = enlarged if number is not None else range(len(self.steps))
        if step not in accepted:
            raise UsageError(
                f"--resume-from {step}; accepted: {accepted[0]} to {accepted[-1]}"
                f"{'' if number is None else ', the generated states'}; for example --resume-from {accepted[-1]}"
            )
        variant = None
        if number is not None:  # of all alternatives the last number is checked, of one its own
            variant = Variant.of(number, self.request.seed + step, seeded=info.seeded)
        stop = revision.candidates is not None
        return Branch(step=step, variant=None if stop else variant, stop=stop)

    def open(
        self,
        path: Path,
        *,
        name: str | None = None,
        force: bool = False,
        layout: Layout = "default",
        branch: Branch | None = None,
    ) -> RunFolder:
        """Open the folder to write to, once the weights are read, so that missing ones leave nothing behind.

        name: of the photo's own folder in the published layout; its stem by default. branch: see RunFolder.
        Raises MissingError, ShortageError where a step needs more memory than there is, and OutputError when it holds
        another run and `force` is not given.
        """
        if self.count_enlargements():
            self.models.load()
            if not self.models.backbone.info.resample:
                self._check_memory()
        kind = FOLDERS[layout]
        path = kind.home(path, name or self.photo.path.stem)
        photo = InputRecord.of(self.photo, relate(self.photo.path, path))
        record = msgspec.structs.replace(
            begin_record(self.models, photo, self.request),
            place=self.place,
            finest=self.meter.finest,
            supported=self.find_supported(),
        )
        is_grey = self.is_grey and layout == "default" and self.photo.kept.profile is None  # a profile is one of RGB
        self.folder = kind(path, record, force=force, branch=branch, metadata=self.photo.kept, is_grey=is_grey)
        return self.folder

    def write(self, encode_animation: EncodeAnimation | None = None) -> Iterator[tuple[ScaleState, StateRecord]]:
        """Run the zoom into its folder: yields every new state once its file is there; sheet and animation come last.

        Where the folder's branch stops for candidates, only the states before it are made.
        """
        folder = self.folder
        stop = folder.branch.step if folder.branch and folder.branch.stop else None
        states = list(folder.finished_states)
        for state in self.states(folder.finished_states, folder.record.choices, stop):
            entry = folder.add(state)
            states.append(state)
            yield state, entry
        if stop is None:
            self.finish(states, encode_animation)

    def finish(self, states: Sequence[ScaleState], encode_animation: EncodeAnimation | None = None) -> None:
        """Write what comes after the last state: the animation, if there is to be one, and the sheet."""
        if encode_animation and self.folder.record.animation is None:
            animation = encode_animation(self, states)
            if animation is not None:
                self.folder.animate(animation)
        self.folder.finish(self.draw_sheet(states))

    def offer(self, states: Sequence[ScaleState]) -> CandidateSet:
        """Write the alternatives that differ, and a sheet of them to choose from."""
        from chain_of_zoom.chain.sheet import candidates_sheet

        branch = self.folder.branch
        assert branch is not None
        different = {state.image.tobytes(): state for state in reversed(states)}
        offered = sorted(different.values(), key=lambda state: state.variant.candidate if state.variant else 0)
        sheet = candidates_sheet(self.name, branch.step, offered, self.models.backbone.info)
        text = f"Alternatives of state {branch.step} of a zoom {self.describe()}, all made by a model"
        return self.folder.offer(
            branch.step, offered, encode_png(sheet, *label(text, COMPOSITE), self.photo.kept.only_profile)
        )

    def draw_sheet(self, states: Sequence[ScaleState]) -> bytes:
        """Draw the contact sheet as a labelled PNG."""
        from chain_of_zoom.chain.sheet import run_sheet  # fonts and drawing, needed at the end only

        is_generated = any(state.origin == "generated" for state in states)
        remark = "; panels marked generated were made by a model" if is_generated else ""
        text = f"Contact sheet of a zoom {self.describe()}{remark}"
        sighting = (self.request.find, self.place.box) if self.place else None
        sheet = run_sheet(self.name, states, self.models.backbone.info, sighting, self.find_supported(states))
        return encode_png(sheet, *label(text, COMPOSITE if is_generated else None), self.photo.kept.only_profile)

    def describe(self) -> str:
        """Say into what and with which backbone this run zooms, for labels."""
        return f"into {self.name} with {self.models.backbone.info.name}"

    def _check_memory(self) -> None:
        """Raises ShortageError when a step needs more memory than there is."""
        backbone, output = self.models.backbone, self.output
        windows = [fit_window(step, output, backbone.info.factor).size for step in self.steps if step.enlarge]
        largest = max(max(window) for window in windows)

        def advise(side: int) -> str:
            smaller = Size(*(length * side // largest // 8 * 8 for length in output))
            fits = min(smaller) >= 64 and self.request.protocol != "paper"
            return f"--size {smaller}" if fits else "another --backbone"

        backbone.check_memory(windows, advise)

    def _engine(self) -> Engine:
        self.models.place()
        is_paper = self.request.protocol == "paper"
        return Engine(
            self.models.backbone,
            self.models.prompter,
            quantise="truncate" if is_paper else "round",
            color_fix=self.request.color_fix,
            raw_prompts=is_paper,
        )

    def _job(self, finished_states: Sequence[ScaleState], choices: Sequence[Choice]) -> ZoomJob:
        return ZoomJob(
            picture=self.canvas,
            steps=self.steps,
            output=self.output,
            seed=self.request.seed,
            text=self.request.prompt,
            finished_states=finished_states,
            choices={choice.step: choice for choice in choices},
            grey=self.is_grey,
            trust=self.request.trust,
            meter=self.meter,
            restraint=self.request.restraint,
        )


def begin_record(models: ZoomModels, photo: InputRecord, request: ZoomRequest) -> Record:
    """Make the record of a zoom into a photo that need not be read. Raises MissingError for weights that are absent."""
    device = models.backbone.runs_on()
    return Record.begin(
        photo, request, models.backbone_record, models.prompter, models.options, device, models.placement
    )


def advance_together(runs: Sequence[ZoomRun]) -> Iterator[tuple[int, ScaleState]]:
    """Yield (index of the run, state) of runs that advance together, scale by scale, from what their folders hold.

    Protocol and colour fix are those of the first. A picture gets the noise and, but for rounding on a GPU, the
    pixels that it gets alone.
    """
    engine = runs[0]._engine()
    jobs = [run._job(run.folder.finished_states, run.folder.record.choices) for run in runs]
    if runs[0].models.is_pipelined and len(jobs) > 1:
        return run_in_lanes(engine, jobs, LANES)
    return engine.run(jobs)
