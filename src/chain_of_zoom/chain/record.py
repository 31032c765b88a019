"""The record of a run: what was asked, with what, and how every state came about. Its keys are stable.

The JSON schema beside this file is generated from these classes (`python -m chain_of_zoom.chain.record`).
"""

from __future__ import annotations

import hashlib
import platform
import sys
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, Self

import msgspec
from msgspec import Meta

from chain_of_zoom.backbones.base import MAX_FACTOR, Backbone
from chain_of_zoom.chain.choice import Choice, Variant
from chain_of_zoom.chain.request import ZoomRequest
from chain_of_zoom.chain.schedule import MAX_MAGNIFICATION, Origin
from chain_of_zoom.chain.state import ScaleState
from chain_of_zoom.imaging.geometry import covers
from chain_of_zoom.imaging.images import RGB8, Picture
from chain_of_zoom.json_bytes import format_json
from chain_of_zoom.parsing import parse_json, printable
from chain_of_zoom.prompters.base import Prompter

VERSION: Literal[1] = 1
SCHEMA = Path(__file__).with_name("record.schema.json")

# What a record that is read back has to keep to; msgspec.DecodeError otherwise.
Text = Annotated[str, Meta(pattern=r"^[^\x00]*$")]
FileName = Annotated[str, Meta(pattern=r"^(?!\.{1,2}$)[^/\x00]+$", max_length=255)]
Count = Annotated[int, Meta(ge=0)]
Seconds = Annotated[float, Meta(ge=0)]
Scale = Annotated[float, Meta(ge=1e-9, le=1e10)]
Pixels = tuple[Annotated[int, Meta(ge=1)], Annotated[int, Meta(ge=1)]]


class InputRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The photo: path relative to the record, SHA-256 of the file, oriented size, what loading changed."""

    path: Text
    sha256: str
    size: Pixels
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, picture: Picture, path: str) -> InputRecord:
        """The record of a loaded picture; path: relative to the record."""
        size = (picture.size.width, picture.size.height)
        return cls(path=printable(path), sha256=picture.sha256, size=size, notes=picture.notes)


class BackboneRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The backbone; evidence_limit is in output pixels per source pixel.

    package: name and version of the package that brings it, for a plugin.
    """

    name: Text
    licence: str
    weights_sha256: str | None
    text_aware: bool
    factor: Annotated[int, Meta(ge=2, le=MAX_FACTOR)]
    evidence_limit: Scale | None
    package: str | None = None

    @classmethod
    def of(cls, backbone: Backbone) -> BackboneRecord:
        """The record of a backbone; reads its weights for the hash."""
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
    """One state; the fields of ScaleState, with the file instead of the pixels."""

    file: FileName
    sha256: str
    magnification: Annotated[float, Meta(ge=1, le=MAX_MAGNIFICATION)]
    source_scale: Scale
    origin: Origin
    window: tuple[float, float, float, float]
    prompter: str | None
    prompt: str | None
    prompt_raw: str | None
    prompt_used: bool
    variant: Variant | None = None
    beyond_evidence: bool
    seconds: Seconds
    fallbacks: tuple[str, ...]

    def __post_init__(self) -> None:
        x0, y0, x1, y1 = self.window
        if not all(0.4 < side * self.source_scale < 1e5 for side in (x1 - x0, y1 - y0)):  # pixels of the state
            raise ValueError(f"the window {self.window} and the source scale {self.source_scale} make no picture")

    @classmethod
    def of(cls, state: ScaleState, file: str, sha256: str) -> StateRecord:
        """The record of a state that lies in `file`."""
        fields = {name: getattr(state, name) for name in cls.__struct_fields__ if name not in ("file", "sha256")}
        return cls(file=file, sha256=sha256, **fields)

    def read(self, folder: Path) -> bytes | None:
        """The state's file, or None when it is not there or not as recorded."""
        try:
            data = (folder / Path(self.file).name).read_bytes()
        except OSError:
            return None
        return data if hashlib.sha256(data).hexdigest() == self.sha256 else None

    def state(self, image: RGB8) -> ScaleState:
        """The state again, with its pixels."""
        fields = {name: getattr(self, name) for name in self.__struct_fields__ if name not in ("file", "sha256")}
        return ScaleState(image=image, **fields)


class CandidateSet(msgspec.Struct, frozen=True, kw_only=True):
    """Alternatives of state number `step` that were offered, each with its variant; sheet: all side by side."""

    step: Count
    sheet: FileName
    states: tuple[StateRecord, ...]


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What every kind of run has. `complete` is False while something is missing. Each kind adds its `settings`.

    prompter_sha256: of the prompter's weight files, by role. prompter_package: for a plugin, as for the backbone.
    options: loader details given to backbone and prompter. device: where the backbone ran; null for one that has no
    choice, or where nothing is enlarged. placement: how memory is used ("resident", "staged", "low"), and of every
    network the device and the precision; empty where there was nothing to place.
    """

    version: Literal[1] = VERSION
    complete: bool = False
    software: dict[str, str]
    input: InputRecord
    backbone: BackboneRecord
    prompter: str
    prompter_sha256: dict[str, str] = {}
    prompter_package: str | None = None
    options: dict[str, dict[str, str]] = {}
    device: str | None = None
    placement: dict[str, str] = {}

    def difference(self, other: Self, *, but: str = "") -> str | None:
        """What makes `other` a different run, in words, or None when it is the same; `but`: a part that may differ."""
        if self.input.sha256 != other.input.sha256:
            return f"another photo ({other.input.path})"
        if self.input.size != other.input.size and all(self.input.size):  # which is not known to whoever only looks
            return f"the photo in another size ({other.input.size}; now {self.input.size})"
        if self.input.notes != other.input.notes:
            return f"the photo read otherwise ({_listed(other.input.notes)}; now {_listed(self.input.notes)})"
        for part in ("settings", "backbone", "prompter", "prompter_sha256", "prompter_package", "options", "software"):
            ours, theirs = getattr(self, part), getattr(other, part)
            if part == "options" and (self.device or other.device):  # which say more than the name asked for
                ours, theirs = _without_device(ours), _without_device(theirs)
            if part == "options" and self.placement and other.placement:
                ours, theirs = _without_memory(ours), _without_memory(theirs)
            if part == "software":  # what else was loaded, torch or not, changes nothing
                ours, theirs = ({name: each[name] for name in ours.keys() & theirs} for each in (ours, theirs))
            if part != but and ours != theirs:
                return f"other {part} ({_first_difference(theirs, ours)})"
        if self.device and other.device and self.device != other.device:
            return f"other device ({other.device}, now {self.device})"
        ours, theirs = _precisions(self.placement), _precisions(other.placement)
        if ours and theirs and ours != theirs:  # where in memory they lay changes nothing
            return f"other precision ({_first_difference(theirs, ours)})"
        return None

    def to_json(self) -> bytes:
        """Indented JSON."""
        return format_json(self)

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Raises msgspec.DecodeError when `data` is no record of this version."""
        return parse_json(data, cls)


class Record(RunRecord, frozen=True, kw_only=True):
    """A whole zoom.

    choices: what the user decided about single states. candidates: alternatives that were offered. animation: its file.
    """

    settings: ZoomRequest
    seed: Count
    states: tuple[StateRecord, ...] = ()
    sheet: FileName | None = None
    animation: FileName | None = None
    choices: tuple[Choice, ...] = ()
    candidates: tuple[CandidateSet, ...] = ()

    def __post_init__(self) -> None:
        if self.complete and not self.states:
            raise ValueError("a complete run without states")
        _check_order(self.input.size, self.states)
        for offered in self.candidates:
            for entry in offered.states:
                _check_order(self.input.size, (*self.states[: offered.step], entry))

    @property
    def extras(self) -> set[str]:
        """Names of the files beside the states and their sheet."""
        names = {entry.file for each in self.candidates for entry in each.states} | {c.sheet for c in self.candidates}
        return names | ({self.animation} if self.animation else set())

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
        """The record of a run before its first state."""
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
    """Raises ValueError for states that are no zoom into a picture of this size; windows are rounded to its pixels."""
    magnifications = [entry.magnification for entry in states]
    if magnifications != sorted(magnifications):
        raise ValueError("the states are not in the order of their magnification")
    around = (0.0, 0.0, float(size[0]), float(size[1]))
    for entry in states:
        if not covers(around, entry.window, slack=1):
            raise ValueError(f"the window {entry.window} is not in that of the first state")
        around = states[0].window


def _listed(notes: tuple[str, ...]) -> str:
    return ", ".join(notes) or "as it is"


def _without_device(options: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    backbone = {key: value for key, value in options.get("backbone", {}).items() if key != "device"}
    return {**options, "backbone": backbone}


def _without_memory(options: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    return {kind: {key: v for key, v in values.items() if key != "memory"} for kind, values in options.items()}


def _precisions(placement: dict[str, str]) -> dict[str, str]:
    return {name: where.partition(" ")[2] for name, where in placement.items() if name != "memory"}


def _first_difference(theirs: object, ours: object) -> str:
    old, new = msgspec.to_builtins(theirs), msgspec.to_builtins(ours)
    if not isinstance(old, dict):
        return f"{old}, now {new}"
    key = next(key for key in {**old, **new} if old.get(key) != new.get(key))
    return f"{key} {old.get(key)}, now {new.get(key)}"


def software(also: Iterable[str] = ()) -> dict[str, str]:
    """Versions of everything that can change a pixel: what is loaded, and the packages of `also` that are here."""
    packages = ["chain-of-zoom", "numpy", "pillow", "pyvips-binary", "ncnn"]
    packages += [name for name in ("torch", "transformers", "diffusers") if name in sys.modules or name in also]
    found = {"python": platform.python_version()}
    for name in packages:
        if version := _version(name):
            found[name] = version
    return found


@cache
def _version(package: str) -> str | None:
    from importlib import metadata  # 70 ms, and not before the weights are being read

    with suppress(metadata.PackageNotFoundError):
        return metadata.version(package)
    return None


def schema() -> bytes:
    """The JSON schema of `Record`, as shipped in `SCHEMA`."""
    return format_json(msgspec.json.schema(Record))


if __name__ == "__main__":
    SCHEMA.write_bytes(schema())
