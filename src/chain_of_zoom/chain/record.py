"""The record of a run: what was asked, with what, and how every state came about. Its keys are stable.

The JSON schema beside this file is generated from these classes (`python -m chain_of_zoom.chain.record`).
"""

from __future__ import annotations

import hashlib
import platform
import sys
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import msgspec
from msgspec import Meta

from chain_of_zoom.backbones.base import MAX_FACTOR, Backbone
from chain_of_zoom.chain.choice import Choice, Variant
from chain_of_zoom.chain.place import Place
from chain_of_zoom.chain.request import ZoomRequest
from chain_of_zoom.chain.schedule import MAX_MAGNIFICATION, PLAN, Origin
from chain_of_zoom.chain.state import ScaleState
from chain_of_zoom.imaging.geometry import Size, covers
from chain_of_zoom.imaging.images import RGB8, Picture, decode_png, size_of
from chain_of_zoom.json_bytes import format_json
from chain_of_zoom.parsing import parse_json, printable
from chain_of_zoom.prompters.base import Prompter
from chain_of_zoom.runs.folder import list_changes
from chain_of_zoom.truth.trust import Blocks, read_trust

VERSION: Literal[1] = 1
SCHEMA = Path(__file__).with_name("record.schema.json")

# What a record that is read back has to keep to; msgspec.DecodeError otherwise.
Text = Annotated[str, Meta(pattern=r"^[^\x00]*$")]
FileName = Annotated[str, Meta(pattern=r"^(?!\.{1,2}$)[^/\x00]+$", max_length=255)]
Count = Annotated[int, Meta(ge=0)]
Seconds = Annotated[float, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0, le=1)]
Scale = Annotated[float, Meta(ge=1e-9, le=1e10)]
Pixels = tuple[Annotated[int, Meta(ge=1)], Annotated[int, Meta(ge=1)]]


class InputRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The photo of a run."""

    path: Text
    """Path relative to the record."""
    sha256: str
    """SHA-256 of the file, in hexadecimal."""
    size: Pixels
    """Width and height of the oriented picture, in pixels."""
    notes: tuple[str, ...] = ()
    """What loading has changed."""

    @classmethod
    def of(cls, picture: Picture, path: str) -> InputRecord:
        """Return the record of a loaded picture; path: relative to the record."""
        size = (picture.size.width, picture.size.height)
        return cls(path=printable(path), sha256=picture.sha256, size=size, notes=picture.notes)


class BackboneRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The backbone of a run."""

    name: Text
    """Name of the backbone."""
    licence: str
    """Licence of its weights."""
    weights_sha256: str | None
    """SHA-256 of its weights; null where it has none."""
    text_aware: bool
    """Whether it reads prompts."""
    factor: Annotated[int, Meta(ge=2, le=MAX_FACTOR)]
    """Enlargement of one pass."""
    evidence_limit: Scale | None
    """Output pixels per source pixel up to which tests on real pixels support its detail; null where all do."""
    package: str | None = None
    """Name and version of the package that brings it, for a plugin."""

    @classmethod
    def of(cls, backbone: Backbone) -> BackboneRecord:
        """Return the record of a backbone; reads its weights for the hash."""
        info = backbone.info
        return cls(
            name=info.name,
            licence=info.licence,
            weights_sha256=backbone.weights_sha256(),
            text_aware=info.text_aware,
            factor=info.factor,
            evidence_limit=info.evidence_limit,
            package=backbone.package,
        )


class StateRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One state: the fields of ScaleState, with the file instead of the pixels."""

    file: FileName
    """Name of the file."""
    sha256: str
    """SHA-256 of the file, in hexadecimal."""
    magnification: Annotated[float, Meta(ge=1, le=MAX_MAGNIFICATION)]
    """Linear magnification, relative to the 1x frame."""
    source_scale: Scale
    """Output pixels per source pixel."""
    origin: Origin
    """Where the pixels come from."""
    window: tuple[float, float, float, float]
    """Window (x0, y0, x1, y1) in pixels of the oriented photo."""
    prompter: str | None
    """Name of the prompter, "edited" for the user's own text; null for states that no backbone made."""
    prompt: str | None
    """Text as sent."""
    prompt_raw: str | None
    """Text as extracted."""
    prompt_confidences: dict[str, Share] | None = None
    """How sure the prompter is of every word, 0 to 1; null where it cannot say."""
    prompt_used: bool
    """Whether the prompt changed the result."""
    variant: Variant | None = None
    """Alternative that the user chose."""
    finest: Annotated[float, Meta(ge=1)] | None = None
    """Finest real detail of the photo in the window, in its pixels; null where nothing stands out of the noise, and in
    runs of before that was measured."""
    trusted: Share | None = None
    """Share of its area that is expected to differ little from what was there; null where that is not known."""
    trust_file: FileName | None = None
    """Name of the picture that shows where that is: white is trusted, black is not."""
    beyond_evidence: bool
    """Whether it is generated, and deeper than the photo's detail there and the backbone's evidence limit support."""
    seconds: Seconds
    """Seconds for prompt and super-resolution together."""
    fallbacks: tuple[str, ...]
    """Notes about what did not go the plain way."""

    def __post_init__(self) -> None:
        x0, y0, x1, y1 = self.window
        if not all(0.4 < side * self.source_scale < 1e5 for side in (x1 - x0, y1 - y0)):  # pixels of the state
            raise ValueError(f"the window {self.window} and the source scale {self.source_scale} make no picture")

    @classmethod
    def of(cls, state: ScaleState, file: str, sha256: str, trust_file: str | None = None) -> StateRecord:
        """Return the record of a state that lies in `file`, and its trust map in `trust_file`."""
        return cls(
            file=file, sha256=sha256, trust_file=trust_file, **{name: getattr(state, name) for name in _SHARED_FIELDS}
        )

    def read(self, folder: Path) -> bytes | None:
        """Read the state's file; None when it is not there or not as recorded."""
        try:
            data = (folder / Path(self.file).name).read_bytes()
        except OSError:
            return None
        return data if hashlib.sha256(data).hexdigest() == self.sha256 else None

    def read_state(self, folder: Path) -> ScaleState | None:
        """Read the state again, and the map of its trust where one fits it; None as by `read`."""
        if (data := self.read(folder)) is None:
            return None
        state = self.state(decode_png(data))
        return replace(state, trust=self._read_trust(folder, size_of(state.image)))

    def state(self, image: RGB8) -> ScaleState:
        """Return the state again, with its pixels."""
        return ScaleState(image=image, **{name: getattr(self, name) for name in _SHARED_FIELDS})

    def _read_trust(self, folder: Path, size: Size) -> Blocks | None:
        with suppress(OSError, ValueError, SyntaxError):  # of Pillow, for what is no PNG
            if self.trust_file:
                picture = decode_png((folder / Path(self.trust_file).name).read_bytes())
                return read_trust(picture[..., 0]) if size_of(picture) == size else None
        return None


_SHARED_FIELDS = tuple(name for name in StateRecord.__struct_fields__ if name not in ("file", "sha256", "trust_file"))


class CandidateSet(msgspec.Struct, frozen=True, kw_only=True):
    """Alternatives of one state that were offered."""

    step: Count
    """Number of the state."""
    sheet: FileName
    """Name of the picture that shows them side by side."""
    states: tuple[StateRecord, ...]
    """The alternatives, each with its variant."""


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What the records of all kinds of run have in common; each kind adds its `settings`."""

    version: Literal[1] = VERSION
    """Version of this layout."""
    complete: bool = False
    """Whether nothing is missing."""
    software: dict[str, str]
    """Versions of the packages that can change a pixel."""
    input: InputRecord
    """The photo."""
    backbone: BackboneRecord
    """The backbone."""
    prompter: str
    """Name of the prompter."""
    prompter_sha256: dict[str, str] = {}
    """SHA-256 of the prompter's weight files, by role."""
    prompter_package: str | None = None
    """Name and version of the package that brings the prompter, for a plugin."""
    options: dict[str, dict[str, str]] = {}
    """Loader details given to backbone, prompter and photo, as text."""
    device: str | None = None
    """Device of the backbone; null for one that has no choice, or where nothing is enlarged."""
    placement: dict[str, str] = {}
    """Use of memory ("resident", "staged", "low") and, for every network, device and precision; empty without any."""

    def difference(self, earlier: Self, *, ignored: str = "") -> str | None:
        """Describe what makes an earlier run another one than this; None where they are the same.

        ignored: a part of the record that may differ.
        """
        photo, earlier_photo = self.input, earlier.input
        if photo.sha256 != earlier_photo.sha256:
            return f"another photo ({earlier_photo.path})"
        if photo.size != earlier_photo.size and all(photo.size):  # (0, 0) before the photo is read
            return f"the photo in another size ({earlier_photo.size}; now {photo.size})"
        if photo.notes != earlier_photo.notes:
            return f"the photo read otherwise ({_join(earlier_photo.notes)}; now {_join(photo.notes)})"
        # Device and memory may be asked for by other names than those of what was used, which are compared below.
        placed = {"backbone.device"} if self.device or earlier.device else set()
        if self.placement and earlier.placement:
            placed |= {"backbone.memory", "prompter.memory"}
        for part in ("settings", "backbone", "prompter", "prompter_sha256", "prompter_package", "options", "software"):
            old, new = msgspec.to_builtins([getattr(earlier, part), getattr(self, part)])
            if part == "software":  # packages loaded in one run alone, such as torch, change nothing
                old, new = ({name: versions[name] for name in old.keys() & new} for versions in (old, new))
            if part != ignored and (change := _first_change(old, new, placed)):
                return f"other {part} ({change})"
        if self.device and earlier.device and self.device != earlier.device:
            return f"other device ({earlier.device}, now {self.device})"
        # Where in memory the networks lie changes nothing, their precision does.
        old, new = _precisions(earlier.placement), _precisions(self.placement)
        change = _first_change(old, new) if old and new else None
        return f"other precision ({change})" if change else None

    def to_json(self) -> bytes:
        """Return the record as indented JSON."""
        return format_json(self)

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Read a record. Raises msgspec.DecodeError when `data` is none of this version."""
        return parse_json(data, cls)


class Record(RunRecord, frozen=True, kw_only=True):
    """The record of a whole zoom."""

    settings: ZoomRequest
    """Settings of the zoom."""
    seed: Count
    """Seed of its first state."""
    place: Place | None = None
    """Where the words of `find` are, so that the same command need not ask again; null without words."""
    finest: Annotated[float, Meta(ge=1)] | None = None
    """Finest detail of the whole photo, in its pixels: from 1.4 on it is soft or was enlarged; null as for a state."""
    supported: Annotated[float, Meta(ge=1)] | None = None
    """Magnification that the photo's detail at the spot and the backbone's evidence support, while no words but the
    user's are used; null as for a state."""
    states: tuple[StateRecord, ...] = ()
    """Its states, in the order of their magnification."""
    sheet: FileName | None = None
    """Name of the contact sheet."""
    animation: FileName | None = None
    """Name of the animation."""
    choices: tuple[Choice, ...] = ()
    """Decisions of the user about single states."""
    candidates: tuple[CandidateSet, ...] = ()
    """Alternatives that were offered."""

    def __post_init__(self) -> None:
        if self.complete and not self.states:
            raise ValueError("a complete run without states")
        _check_order(self.input.size, self.states)
        for offer in self.candidates:
            for entry in offer.states:
                _check_order(self.input.size, (*self.states[: offer.step], entry))

    @property
    def extras(self) -> set[str]:
        """Names of the files beside the states and their sheet."""
        names = {entry.file for offer in self.candidates for entry in offer.states}
        names |= {offer.sheet for offer in self.candidates}
        names |= {entry.trust_file for entry in self.states if entry.trust_file}
        return names | ({self.animation} if self.animation else set())

    @property
    def files(self) -> list[str]:
        """Names of all files, the states first."""
        return [*(entry.file for entry in self.states), *([self.sheet] if self.sheet else []), *sorted(self.extras)]

    @classmethod
    def begin(
        cls,
        photo: InputRecord,
        settings: ZoomRequest,
        backbone: BackboneRecord,
        prompter: Prompter,
        options: dict[str, dict[str, str]],
        device: str | None = None,
        placement: dict[str, str] | None = None,
    ) -> Record:
        """Return the record of a run before its first state."""
        return cls(
            software=software(),
            input=photo,
            settings=settings,
            backbone=backbone,
            prompter=prompter.name,
            prompter_sha256=prompter.weights_sha256(),
            prompter_package=prompter.package,
            options=options,
            device=device,
            placement=placement or {},
            seed=settings.seed,
        )


def _check_order(size: tuple[int, int], states: tuple[StateRecord, ...]) -> None:
    """Raise ValueError for states that are no zoom into a picture of this size; windows are rounded to its pixels."""
    magnifications = [entry.magnification for entry in states]
    if magnifications != sorted(magnifications):
        raise ValueError("the states are not in the order of their magnification")
    around = (0.0, 0.0, float(size[0]), float(size[1]))
    for entry in states:
        if not covers(around, entry.window, slack=1):
            raise ValueError(f"the window {entry.window} is not in that of the first state")
        around = states[0].window


def _join(notes: tuple[str, ...]) -> str:
    return ", ".join(notes) or "as it is"


def _precisions(placement: dict[str, str]) -> dict[str, str]:
    return {name: place.partition(" ")[2] for name, place in placement.items() if name != "memory"}


def _first_change(old: Any, new: Any, ignored: Collection[str] = ()) -> str | None:
    if not isinstance(old, dict):
        return None if old == new else f"{old}, now {new}"
    return next(iter(list_changes(old, new, "{key} {earlier}, now {current}", ignored=ignored)), None)


def software(also: Iterable[str] = ()) -> dict[str, str]:
    """Return the versions of everything that can change a pixel: what is loaded, and packages of `also` that exist."""
    packages = ["chain-of-zoom", "numpy", "pillow", "pyvips-binary", "ncnn"]
    packages += [name for name in ("torch", "transformers", "diffusers") if name in sys.modules or name in also]
    installed = {name: version for name in packages if (version := _version(name))}
    # A package may change how it plans without a new version; records of before are of another program then.
    if version := installed.get("chain-of-zoom"):
        installed["chain-of-zoom"] = f"{version}, plan {PLAN}"
    return {"python": platform.python_version(), **installed}


@cache
def _version(package: str) -> str | None:
    from importlib import metadata  # 70 ms, and not before the weights are being read

    with suppress(metadata.PackageNotFoundError):
        return metadata.version(package)
    return None


def schema() -> bytes:
    """Return the JSON schema of `Record`, as shipped in `SCHEMA`."""
    return format_json(msgspec.json.schema(Record))


if __name__ == "__main__":
    SCHEMA.write_bytes(schema())
