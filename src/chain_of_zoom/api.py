"""The Python API: names become objects, photos become states.

from chain_of_zoom import zoom
result = zoom("photo.jpg", at=(0.62, 0.4), magnification=64)
result.states[-1].image      # uint8, H x W x 3
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from chain_of_zoom import plugins
from chain_of_zoom.backbones.base import Backbone
from chain_of_zoom.chain.choice import Revision
from chain_of_zoom.chain.folder import read_place
from chain_of_zoom.chain.place import ChoosePlace, Place, choose_place, refuse_to_choose
from chain_of_zoom.chain.record import BackboneRecord, Record
from chain_of_zoom.chain.request import ZoomRequest, ZoomSettings, make_request, spell_settings
from chain_of_zoom.chain.run import EncodeAnimation, Layout, ZoomRun
from chain_of_zoom.chain.state import ScaleState
from chain_of_zoom.errors import UsageError
from chain_of_zoom.imaging.decode import Photo, read_photo
from chain_of_zoom.imaging.images import Picture, render
from chain_of_zoom.imaging.reading import Reading
from chain_of_zoom.parsing import is_text, plain
from chain_of_zoom.prompters.base import Prompter
from chain_of_zoom.runtime.residence import Residence
from chain_of_zoom.wording import python_words

if TYPE_CHECKING:
    from chain_of_zoom.movie.animation import Track

DEFAULT_BACKBONE = "zoom"
"""The embedded backbone that is true as far as there is evidence, and reads words beyond (docs/evidence.md)."""
DEFAULT_PROMPTER = "words"
"""What writes for it in a zoom, where the user gives no words."""
WHOLE_PICTURE_BACKBONE = "span"
"""Of whole pictures without words, which are seldom enlarged beyond that evidence."""


def load_backbone(name: str = DEFAULT_BACKBONE, **options: Any) -> Backbone:
    """Make the backbone called `name` (see `coz backbones`); its weights are read at the first use."""
    backbone: Backbone = plugins.create("backbone", plugins.BACKBONES, name, **options)
    return backbone


def load_prompter(name: str = "null", **options: Any) -> Prompter:
    """Make the prompter called `name`; its weights are read at the first use."""
    prompter: Prompter = plugins.create("prompter", plugins.PROMPTERS, name, **options)
    return prompter


def choose_models(
    backbone: str | Backbone | None,
    prompter: str | Prompter | None,
    prompt: str = "",
    *,
    usual: str = DEFAULT_BACKBONE,
) -> tuple[str | Backbone, str | Prompter]:
    """Choose backbone and prompter where they are not given.

    The backbone is the `usual` one; where there are words to read it is one that reads them. The prompter is "null" but
    in zooms by the default backbone, and where the user gives the words.
    """
    if backbone is None:
        name = prompter.name if isinstance(prompter, Prompter) else prompter
        backbone = DEFAULT_BACKBONE if prompt or name not in (None, "null") else usual
    if prompter is None:
        prompter = DEFAULT_PROMPTER if backbone == usual == DEFAULT_BACKBONE and not prompt else "null"
    return backbone, prompter


@dataclass(frozen=True, kw_only=True)
class ZoomResult:
    """A finished zoom."""

    states: tuple[ScaleState, ...]
    """The states, from the widest; with candidates only those before them."""
    folder: Path | None
    """Where they were written, if they were."""
    record: Record | None
    """What record.json holds, if it was written."""
    candidates: tuple[ScaleState, ...] = ()
    """The alternatives of the next state, if asked for."""


class ChainOfZoom:
    """Zooms into photos with one backbone and one prompter, each given by name or as an object.

    What is not given is chosen as by `coz zoom`: the backbone "zoom", and for it the prompter "words".

        for state in ChainOfZoom(backbone="realsr").zoom("photo.jpg", at=(0.62, 0.4), magnification=64):
            print(state.magnification, state.origin, state.image.shape)

    backbone_options, prompter_options: loader details (weights, device ...) for those given by name. photo_options: how
    photos are read, as `Reading.parse` takes it.
    """

    def __init__(
        self,
        backbone: str | Backbone | None = None,
        prompter: str | Prompter | None = None,
        *,
        backbone_options: Mapping[str, Any] | None = None,
        prompter_options: Mapping[str, Any] | None = None,
        photo_options: Mapping[str, Any] | None = None,
    ) -> None:
        backbone, prompter = choose_models(backbone, prompter)
        loader_options = {"backbone": _plain(backbone_options), "prompter": _plain(prompter_options)}
        self.reading = Reading.parse(_plain(photo_options))
        self.options = {kind: {k: str(v) for k, v in values.items()} for kind, values in loader_options.items()}
        if choices := self.reading.choices:
            self.options["photo"] = choices
        self.backbone = load_backbone(backbone, **loader_options["backbone"]) if isinstance(backbone, str) else backbone
        self.prompter = load_prompter(prompter, **loader_options["prompter"]) if isinstance(prompter, str) else prompter
        self.residence: Residence | None = None
        self._is_placed = False
        if not isinstance(self.backbone, Backbone) or not isinstance(self.prompter, Prompter):
            raise UsageError("backbone and prompter; accepted: names, or objects of the classes Backbone and Prompter")

    @spell_settings
    def zoom(
        self, photo: Photo | Picture, *, at: tuple[float, float] | str | None = None, **settings: Unpack[ZoomSettings]
    ) -> Iterator[ScaleState]:
        """Yield the states of a zoom as they come. Settings are those of `zoom`, without files."""
        return self.plan(self.read_photo(photo), make_request(at=at, **settings)).states()

    def plan(
        self,
        photo: Picture,
        request: ZoomRequest,
        *,
        earlier: Path | None = None,
        choose: ChoosePlace = refuse_to_choose,
    ) -> ZoomRun:
        """Plan a zoom; nothing is computed yet, but a place that the request has words for is asked for.

        earlier: folder of a run that may have the answer in its record. choose: called where the model is unsure.
        Raises UsageError when the request does not fit the photo, and what `find` raises.
        """
        place = read_place(earlier, request.find, photo.sha256) if earlier and request.find else None
        if request.find and not place:
            place = choose_place(request.find, self.find(photo, request.find), choose)
        return ZoomRun(self, photo, request, place)

    def find(self, photo: Picture, words: str) -> list[Place]:
        """Ask the prompter, a vision-language model, where `words` are in a photo; the likeliest place comes first.

        Raises UsageError for a prompter that cannot say it, BadInputError for one that gives no box, MissingError.
        """
        from chain_of_zoom.prompters.grounding import AnsweringModel, find_places

        model = self.prompter
        if not isinstance(model, AnsweringModel):
            raise UsageError(
                f"--find {words!r} needs a model that looks at the picture, and prompter {model.name} cannot say where "
                "things are; accepted: --prompter remote --url URL --model NAME, or --prompter vlm; or type --at X,Y"
            )
        return [
            Place(box=sighting.box.floats(), model=f"{model.name} {model.model}", confirmed=sighting.is_confirmed)
            for sighting in find_places(model, photo.pixels, words)
        ]

    def read_photo(self, photo: Photo | Picture) -> Picture:
        """Read a photo, unless it is loaded already. Raises BadInputError and UsageError."""
        if isinstance(photo, Picture):
            return photo
        return render(read_photo(photo, self.reading), self.reading)

    def place(self, pictures: int = 1) -> None:
        """Plan, once, where the networks of backbone and prompter go together, before they are read.

        pictures: how many are to come. Raises UsageError for a device that is not there, BackboneError when none fits.
        """
        if self._is_placed:
            return
        self._is_placed = True
        models = [(model, needs) for model in (self.prompter, self.backbone) if (needs := model.needs())]
        if models:
            from chain_of_zoom.runtime.placement import place  # brings in torch

            self.residence = place([needs for _, needs in models], pictures=pictures)
            for model, _ in models:
                model.place(self.residence)

    def load(self, *, words: bool = True) -> None:
        """Read the weights of the backbone and, for `words`, of the prompter. Raises MissingError."""
        self.place()
        self.backbone.load()
        if words:
            self.prompter.load()

    @property
    def placement(self) -> dict[str, str]:
        """Where the networks lie and in which precision, once they are read; empty for those without choice."""
        return self.residence.as_record() if self.residence else {}

    @property
    def is_pipelined(self) -> bool:
        """Whether prompter and backbone have a device each, so that pictures may take turns."""
        return self.residence is not None and self.residence.placement.is_pipelined

    def pictures_at_once(self, pictures: int) -> int:
        """How many of so many pictures should advance together: one where that gains nothing, as on a CPU."""
        self.place(pictures)
        if self.residence is None or not self.backbone.info.text_aware:
            return 1
        return self.residence.placement.together

    @property
    def lanes(self) -> int:
        """How many tasks `ask` does at a time: one in this process."""
        return 1

    def ask(self, task: Callable[..., Any], *arguments: Any) -> Any:
        """Have a function done with this chain before its arguments, wherever it works; return what it returns."""
        return task(self, *arguments)

    def close(self) -> None:
        """Let go of whoever does what is asked: nobody else in this process."""

    @cached_property
    def backbone_record(self) -> BackboneRecord:
        """The backbone as records name it; its weights are hashed once. Raises MissingError."""
        return BackboneRecord.of(self.backbone)


@spell_settings
@python_words()
def zoom(
    photo: Photo | Picture,
    *,
    at: tuple[float, float] | str | None = None,
    backbone: str | Backbone | None = None,
    prompter: str | Prompter | None = None,
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
    **settings: Unpack[ZoomSettings],
) -> ZoomResult:
    """Zoom into a spot of a photo.

    photo: a file, its bytes, a loaded Picture, a picture of Pillow, or uint8 pixels (H x W x 3, sRGB). at: fractions of
    the picture, or text with pixels ("310px,200px"). magnification: linear, from 1. box: the final window instead of
    both. backbone, prompter: by default "zoom", and for it "words" where there is no prompt. size: of every state.
    out: a folder for states, sheet and record; nothing is written without it. layout: "published" writes there as the
    published scripts do. animate: zoom.webp in that folder, None where it is quick. resume_from, candidates, candidate:
    as for `coz zoom`, of the run in that folder. The rest is as for `coz zoom` (docs/reference.md).
    Raises the errors of chain_of_zoom.errors.
    """
    request = make_request(at=at, **settings)
    chain = ChainOfZoom(
        *choose_models(backbone, prompter or request.usual_prompter, request.prompt),
        backbone_options=backbone_options,
        prompter_options=prompter_options,
        photo_options=photo_options,
    )
    run = chain.plan(chain.read_photo(photo), request, earlier=None if out is None or force else Path(out))
    branch = run.find_branch(Revision(resume_from=resume_from, candidates=candidates, candidate=candidate))
    if out is None:
        if branch or animate:
            raise UsageError("animate, resume_from and candidates are about a folder; accepted: out='folder' with them")
        return ZoomResult(states=tuple(run.states()), folder=None, record=None)
    with run.open(Path(out), force=force, layout=layout, branch=branch) as folder:
        states = (*folder.finished_states, *(state for state, _ in run.write(choose_encoder(animate))))
        offered: tuple[ScaleState, ...] = ()
        if branch and candidates is not None:
            states = states[: branch.step]
            offered = tuple(run.candidates(candidates, states, folder.record.choices))
            run.offer(offered)
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
    1 and 1.4 for every 4x. track: is given the frames and hands
    them on, to show how far it is. Raises the errors of chain_of_zoom.errors.
    """
    from chain_of_zoom.movie.stored import animate_folder, animate_states

    if isinstance(run, (str, os.PathLike)):
        return animate_folder(Path(run), None if out is None else Path(out), seconds, track)
    if out is None:
        raise UsageError("states without a folder; accepted: a file to write; for example animate(states, 'zoom.webp')")
    return animate_states(run, Path(out), seconds, track)


def choose_encoder(animate: bool | None, track: Track = iter) -> EncodeAnimation | None:
    """Choose how a run ends: with an animation, without, or, for None, with one where that is quick.

    track: is given the frames of the animation and hands them on, to show how far it is.
    """
    if animate is False:
        return None

    def encode_animation(run: ZoomRun, states: Sequence[ScaleState]) -> bytes | None:
        from chain_of_zoom.movie.animation import Animation, encode, is_quick  # needed at the end only

        if not animate and not is_quick(states):
            return None
        animation = Animation(states)
        return encode(animation, track(animation), ".webp", run.describe(), run.photo.kept.profile)

    return encode_animation


def _plain(options: Mapping[str, Any] | None) -> dict[str, Any]:
    """Turn options into Python's own numbers. Raises UsageError for values that no record can hold."""
    values = {key: plain(value) for key, value in (options or {}).items()}
    for key, value in values.items():
        if not is_text(str(value)):
            raise UsageError(f"the value of the option {key}; accepted: a text in UTF-8, or a number; check it")
    return values
