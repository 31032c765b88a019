"""The folder of a run: states, sheet and record, each written whole or not at all, and resumed after a stop."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from chain_of_zoom.chain.place import Place
from chain_of_zoom.chain.record import CandidateSet, Record, StateRecord
from chain_of_zoom.chain.revision import Branch, carry_over, edited_prompts
from chain_of_zoom.chain.schedule import Origin
from chain_of_zoom.chain.state import ScaleState, magnification_name
from chain_of_zoom.errors import OccupiedError, UsageError
from chain_of_zoom.files import explain_write_errors, write_atomic
from chain_of_zoom.imaging.encode import TRAINED_MODEL, encode_png, label
from chain_of_zoom.imaging.images import decode_png
from chain_of_zoom.imaging.metadata import NO_METADATA, EmbeddedMetadata
from chain_of_zoom.provenance.signing import FOLDER as SIGNED
from chain_of_zoom.runs.folder import WorkFolder
from chain_of_zoom.truth.trust import draw_trust

RECORD = "record.json"
SHEET = "sheet.png"
ANIMATION = "zoom.webp"
_RUN_FILE = re.compile(r"[0-9]+(_[0-9.]+x|_trust)?\.png|candidates?_[0-9_]+\.png|sheet\.png|zoom\.webp")
"""Names that a run gives to its files, and the only ones that it removes."""


def read_finished(path: Path, *, intact: bool = True, with_sheet: bool = True) -> Record | None:
    """Return the record of a run that lies finished in a folder; None for one with something missing or edited.

    intact: whether every state must have the bytes that the record says; otherwise it is enough that its file exists.
    with_sheet: whether a contact sheet belongs to the run.
    """
    try:
        record = Record.from_json((path / RECORD).read_bytes())
        if not record.complete or edited_prompts(record):
            return None
    except (OSError, msgspec.DecodeError, UsageError):
        return None
    files = [*([record.sheet] if with_sheet else []), *([record.animation] if record.animation else [])]
    if not all(name and (path / name).is_file() for name in files):
        return None
    for entry in record.states:
        if entry.read(path) is None if intact else not (path / Path(entry.file).name).is_file():
            return None
    return record


def read_place(path: Path, words: str, photo_sha256: str) -> Place | None:
    """Read from the record of an earlier run where the words are in the same photo; None where none says it."""
    try:
        record = Record.from_json((path / RECORD).read_bytes())
    except (OSError, msgspec.DecodeError, UsageError):
        return None
    return record.place if record.settings.find == words and record.input.sha256 == photo_sha256 else None


class RunFolder(WorkFolder[Record]):
    """Writes a run as it goes. The record is rewritten after every state, so what it lists is complete."""

    marker = RECORD
    owns = ("[0-9]*.png", SHEET, ANIMATION, "candidate_*.png", "candidates_*.png")

    record: Record
    """Record of the run so far."""
    branch: Branch | None
    """State from which an earlier run is gone through again; its later states are replaced once there is a new one."""
    metadata: EmbeddedMetadata
    """Profile and EXIF data of the photo, which every state gets."""
    is_grey: bool
    """Whether states are written without colour."""
    finished_states: tuple[ScaleState, ...]
    """States that the earlier run has made and that stay."""

    def __init__(
        self,
        path: Path,
        record: Record,
        *,
        force: bool = False,
        branch: Branch | None = None,
        metadata: EmbeddedMetadata = NO_METADATA,
        is_grey: bool = False,
    ) -> None:
        """Open or create the folder, for this process alone.

        Raises OutputError when it cannot be written, OccupiedError when it holds another run or is in use, and
        UsageError when the branch does not fit the earlier run.
        """
        self.record = record
        self.branch = branch
        self.metadata = metadata
        self.is_grey = is_grey
        self.finished_states = ()
        self._outdated: set[str] = set()
        super().__init__(path, force=force)

    def parse(self, data: bytes) -> Record:
        """Read the record of an earlier run."""
        return Record.from_json(data)

    def difference(self, earlier: Record) -> str | None:
        """Describe what makes the earlier run another one."""
        return self.record.difference(earlier)

    def claim(self, force: bool) -> Record | None:
        """Claim the folder and take over the states of the same run."""
        photo = (self.path / self.record.input.path).resolve()
        if photo in {file.resolve() for file in self.find_owned()}:
            raise OccupiedError(
                f"{photo.name} is the photo itself and would be overwritten; name another folder with -o"
            )
        earlier = super().claim(force)
        if earlier:
            self._resume(earlier)
        elif self.branch and not self.branch.stop:
            raise UsageError(
                f"{self.path} holds no run to resume; accepted: the folder of one; leave out --resume-from"
            )
        if self.branch is None or earlier is None:
            self._write_record()
        return earlier

    def clear(self, earlier: Record | None) -> None:
        """Remove the files that a replaced run lists; nothing else in the folder is touched."""
        if earlier:
            self.remove(earlier.files)

    def remove(self, names: Iterable[str]) -> None:
        """Remove files with the names of a run, for a record from elsewhere may list any, and their signed copies."""
        files = [name for name in names if _RUN_FILE.fullmatch(name)]
        super().remove(files)
        if not (self.path / SIGNED).is_symlink():
            for name in files:
                (self.path / SIGNED / name).unlink(missing_ok=True)

    def add(self, state: ScaleState) -> StateRecord:
        """Write one state and then the record that lists it."""
        states = self.record.states
        name = self._name(len(states), state)
        data = self._encode(state)
        self._write_state(name, state, data)
        trust_file = None
        if state.trust is not None:
            trust_file = f"{len(states):02d}_trust.png"
            write_atomic(self.path / trust_file, encode_png(draw_trust(state.trust, state.image)))
        entry = StateRecord.of(state, name, hashlib.sha256(data).hexdigest(), trust_file)
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
        image = state.image[..., 0] if self.is_grey else state.image
        return encode_png(image, *label(self._describe(state), source_type), self.metadata)

    @staticmethod
    def home(path: Path, name: str) -> Path:
        """Return where the record lies, given the folder that the user named and the photo's name."""
        return path

    def _write_state(self, name: str, state: ScaleState, data: bytes) -> None:
        """Write all files of a state, before the record lists it."""
        write_atomic(self.path / name, data)

    def _name(self, index: int, state: ScaleState) -> str:
        return f"{index:02d}_{magnification_name(state.magnification)}.png"

    def animate(self, data: bytes) -> None:
        """Write the animation; `finish` lists it."""
        write_atomic(self.path / ANIMATION, data)
        self.record = msgspec.structs.replace(self.record, animation=ANIMATION)

    def finish(self, sheet: bytes | None) -> None:
        """Write the sheet, if there is to be one, and the record as complete, and unlock the folder."""
        if sheet is not None:
            write_atomic(self.path / SHEET, sheet)
        self.record = msgspec.structs.replace(self.record, complete=True, sheet=SHEET if sheet else None)
        self._write_record()
        self.close()

    def _describe(self, state: ScaleState) -> str:
        photo = self.record.input
        name = Path(photo.path).name
        window = ", ".join(f"{edge:g}" for edge in state.window)
        source = f"{name} (SHA-256 {photo.sha256}), window {window} px"
        if state.origin is Origin.MEASURED:
            treatment = "1:1" if state.source_scale == 1 else "reduced"
            return f"Pixels of the photo, {treatment}, not generated: {source}"
        if state.origin is Origin.INTERPOLATED:
            return f"Pixels of the photo, interpolated, not generated: {source}"
        backbone = self.record.backbone
        weights = f" (weights SHA-256 {backbone.weights_sha256})" if backbone.weights_sha256 else ""
        beyond = "; beyond the magnification that evidence supports" if state.beyond_evidence else ""
        variant = f" ({state.variant})" if state.variant else ""
        return (
            f"GENERATED by the model {backbone.name}{weights} at {magnification_name(state.magnification)}{variant}, "
            f"not photographed{beyond}. Detail is invented from {source}"
        )

    def _resume(self, earlier: Record) -> None:
        """Take over the states whose files are as the record says, up to the first that is not."""
        carryover = carry_over(earlier, self.branch)
        states: list[ScaleState] = []
        for entry in earlier.states[: carryover.states]:
            if (state := entry.read_state(self.path)) is None:
                break
            states.append(state)
        is_whole = earlier.complete and len(states) == len(earlier.states)
        has_animation = is_whole and earlier.animation and (self.path / earlier.animation).is_file()
        self.finished_states = tuple(states)
        self.record = msgspec.structs.replace(
            self.record,
            states=earlier.states[: len(states)],
            choices=carryover.choices,
            candidates=carryover.candidates,
            animation=earlier.animation if has_animation else None,
        )
        if is_whole and self.branch and self.branch.stop:  # only alternatives will be made: the run stays complete
            self.record = msgspec.structs.replace(self.record, complete=True, sheet=earlier.sheet)
        self._outdated = earlier.extras
        adopted = carryover.adopted if len(states) == carryover.states else None
        if adopted and (data := adopted.read(self.path)) is not None:
            state = adopted.state(decode_png(data))
            self.add(state)
            self.finished_states = (*self.finished_states, state)

    def _write_record(self) -> None:
        write_atomic(self.path / RECORD, self.record.to_json())
        with explain_write_errors(self.path):  # only now does no record list them any more
            self.remove(self._outdated - self.record.extras)
        self._outdated = set()
