"""The folder of a run: states, sheet and record, each written whole or not at all, and resumed after a stop."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import msgspec

from chain_of_zoom.chain.record import CandidateSet, Record, StateRecord
from chain_of_zoom.chain.revision import Branch, edited_prompts, keep
from chain_of_zoom.chain.schedule import Origin
from chain_of_zoom.chain.state import ScaleState, magnification_name
from chain_of_zoom.errors import OccupiedError, OutputError, UsageError
from chain_of_zoom.files import make_folder, naming, write_atomic
from chain_of_zoom.imaging.encode import TRAINED_MODEL, encode_png, label
from chain_of_zoom.imaging.images import decode_png
from chain_of_zoom.imaging.metadata import NO_METADATA, EmbeddedMetadata
from chain_of_zoom.runs.lock import lock_folder

RECORD = "record.json"
SHEET = "sheet.png"
ANIMATION = "zoom.webp"
_GIVEN = re.compile(r"[0-9]+(_[0-9.]+x)?\.png|candidates?_[0-9_]+\.png|sheet\.png|zoom\.webp")
"""Names that a run gives to its files."""


def finished(path: Path, *, intact: bool = True) -> Record | None:
    """The record of a run that lies complete in a folder, else None.

    intact: also that every state still has the bytes that the record says; else only that its file is there.
    """
    try:
        record = Record.from_json((path / RECORD).read_bytes())
        if not (record.complete and record.sheet):
            return None
        if not all((path / name).is_file() for name in (record.sheet, record.animation) if name):
            return None
        for entry in record.states:
            if entry.read(path) is None if intact else not (path / Path(entry.file).name).is_file():
                return None
        return None if edited_prompts(record) else record
    except (OSError, msgspec.DecodeError, UsageError):
        return None


class RunFolder:
    """Writes a run as it goes. The record is rewritten after every state, so what it lists is complete."""

    def __init__(
        self,
        path: Path,
        record: Record,
        *,
        force: bool = False,
        branch: Branch | None = None,
        kept: EmbeddedMetadata = NO_METADATA,
        grey: bool = False,
    ) -> None:
        """Open or create the folder, for this process alone.

        branch: from where an earlier run is gone through again; what it says is replaced once there is something new.
        kept: profile and EXIF data of the photo, for the states. grey: whether those are written without colour.
        Raises OutputError when it cannot be written, OccupiedError when it holds another run or is in use, and
        UsageError when the branch does not fit the earlier run.
        """
        self.path = path
        self.record = record
        self.branch = branch
        self.kept = kept
        self.grey = grey
        self.done: tuple[ScaleState, ...] = ()
        self._stale: set[str] = set()
        with naming(make_folder(path)):
            self._unlock = lock_folder(self, path)
        try:
            self._open(force)
        except BaseException:
            self.close()
            raise

    def _open(self, force: bool) -> None:
        path, record = self.path, self.record
        earlier = self._earlier(force)
        photo = (path / record.input.path).resolve()
        if photo.parent == path.resolve() and photo in self._states():
            raise OccupiedError(
                f"{photo.name} is the photo itself and would be overwritten; name another folder with -o"
            )
        if earlier is None and not force and (stranger := self._stranger()):
            raise OccupiedError(
                f"{stranger} is there already and no {RECORD} says where it comes from; "
                "add --force to overwrite it, or name another folder with -o"
            )
        if earlier and not force and (difference := record.difference(earlier)):
            raise OccupiedError(
                f"{path} holds another run: {difference}; accepted: a new folder or the same run; "
                "add --force to replace it, or name another folder with -o"
            )
        with naming(path):
            if earlier and force:
                self._forget(earlier)
        if earlier and not force:
            self._resume(earlier)
        elif self.branch and not self.branch.stop:
            raise UsageError(f"{path} holds no run to resume; accepted: the folder of one; leave out --resume-from")
        if self.branch is None or earlier is None:
            self._write_record()

    def add(self, state: ScaleState) -> StateRecord:
        """Write one state and then the record that lists it."""
        states = self.record.states
        name = self._name(len(states), state)
        data = self._encode(state)
        self._write_state(name, state, data)
        entry = StateRecord.of(state, name, hashlib.sha256(data).hexdigest())
        self.record = msgspec.structs.replace(self.record, states=(*states, entry))
        self._write_record()
        return entry

    def offer(self, step: int, states: Sequence[ScaleState], sheet: bytes) -> CandidateSet:
        """Write alternatives of a state and their sheet; states that are there already stay."""
        entries = []
        for state in states:
            assert state.variant is not None
            name = f"candidate_{step:02d}_{state.variant.candidate}.png"
            data = self._encode(state)
            write_atomic(self.path / name, data)
            entries.append(StateRecord.of(state, name, hashlib.sha256(data).hexdigest()))
        offered = CandidateSet(step=step, sheet=f"candidates_{step:02d}.png", states=tuple(entries))
        write_atomic(self.path / offered.sheet, sheet)
        self.record = msgspec.structs.replace(self.record, candidates=(*self.record.candidates, offered))
        self._write_record()
        return offered

    def _encode(self, state: ScaleState) -> bytes:
        source_type = TRAINED_MODEL if state.origin is Origin.GENERATED else None
        image = state.image[..., 0] if self.grey else state.image
        return encode_png(image, *label(self._describe(state), source_type), self.kept)

    @staticmethod
    def home(path: Path, name: str) -> Path:
        """Where the record lies, given the folder that the user named and the photo's name."""
        return path

    def _write_state(self, name: str, state: ScaleState, data: bytes) -> None:
        """All files of a state; the record lists it when they are there."""
        write_atomic(self.path / name, data)

    def _name(self, index: int, state: ScaleState) -> str:
        return f"{index:02d}_{magnification_name(state.magnification)}.png"

    def animate(self, data: bytes) -> None:
        """Write the animation; `finish` lists it."""
        write_atomic(self.path / ANIMATION, data)
        self.record = msgspec.structs.replace(self.record, animation=ANIMATION)

    def finish(self, sheet: bytes) -> None:
        """Write the sheet, and the record as complete; other processes may have the folder again."""
        write_atomic(self.path / SHEET, sheet)
        self.record = msgspec.structs.replace(self.record, complete=True, sheet=SHEET)
        self._write_record()
        self.close()

    def close(self) -> None:
        """Let other processes have the folder; what is written stays. `with` does it at the end of its block."""
        self._unlock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _describe(self, state: ScaleState) -> str:
        photo = self.record.input
        name = Path(photo.path).name
        window = ", ".join(f"{edge:g}" for edge in state.window)
        source = f"{name} (SHA-256 {photo.sha256}), window {window} px"
        if state.origin is Origin.MEASURED:
            how = "1:1" if state.source_scale == 1 else "reduced"
            return f"Pixels of the photo, {how}, not generated: {source}"
        backbone = self.record.backbone
        if state.origin is Origin.INTERPOLATED:
            return f"Pixels of the photo, interpolated, not generated: {source}"
        weights = f" (weights SHA-256 {backbone.weights_sha256})" if backbone.weights_sha256 else ""
        beyond = "; beyond the magnification that evidence supports" if state.beyond_evidence else ""
        variant = f" ({state.variant})" if state.variant else ""
        return (
            f"GENERATED by the model {backbone.name}{weights} at {magnification_name(state.magnification)}{variant}, "
            f"not photographed{beyond}. Detail is invented from {source}"
        )

    def _stranger(self) -> Path | None:
        """A file that this run would overwrite."""
        return next(iter(self._states()), None)

    def _states(self) -> list[Path]:
        """Files with the names that a run gives, whosever they are."""
        names = ("[0-9]*.png", SHEET, ANIMATION, "candidate_*.png", "candidates_*.png")
        return [found.resolve() for name in names for found in self.path.glob(name)]

    def _earlier(self, force: bool) -> Record | None:
        try:
            data = (self.path / RECORD).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise OutputError(f"cannot read {self.path / RECORD} ({error.strerror or error})") from error
        try:
            return Record.from_json(data)
        except msgspec.DecodeError as error:
            if force:
                return None
            raise OccupiedError(
                f"{self.path / RECORD} is no record of this program ({error}); "
                "add --force to replace it, or name another folder with -o"
            ) from error

    def _forget(self, earlier: Record) -> None:
        """Remove the files that a replaced run lists; nothing else in the folder is touched."""
        self._remove({entry.file for entry in earlier.states} | ({earlier.sheet} if earlier.sheet else set()))
        self._remove(earlier.extras)

    def _remove(self, names: set[str]) -> None:
        for name in names:
            if _GIVEN.fullmatch(name):  # a record from elsewhere may list any file
                (self.path / name).unlink(missing_ok=True)

    def _resume(self, earlier: Record) -> None:
        """Take over what is kept: states whose files are as the record says, up to the first that is not."""
        kept = keep(earlier, self.branch)
        done: list[ScaleState] = []
        for entry in earlier.states[: kept.states]:
            if (data := entry.read(self.path)) is None:
                break
            done.append(entry.state(decode_png(data)))
        whole = earlier.complete and len(done) == len(earlier.states)
        animation = (
            earlier.animation if whole and earlier.animation and (self.path / earlier.animation).is_file() else None
        )
        self.done = tuple(done)
        self.record = msgspec.structs.replace(
            self.record,
            states=earlier.states[: len(done)],
            choices=kept.choices,
            candidates=kept.candidates,
            animation=animation,
        )
        if whole and self.branch and self.branch.stop:  # only alternatives will be made: the run stays complete
            self.record = msgspec.structs.replace(self.record, complete=True, sheet=earlier.sheet)
        self._stale = earlier.extras
        if kept.adopt and len(done) == kept.states and (data := kept.adopt.read(self.path)) is not None:
            state = kept.adopt.state(decode_png(data))
            self.add(state)
            self.done = (*self.done, state)

    def _write_record(self) -> None:
        write_atomic(self.path / RECORD, self.record.to_json())
        with naming(self.path):  # only now does no record list them any more
            self._remove(self._stale - self.record.extras)
        self._stale = set()
