"""Make the states of one zoom and keep them in a folder, or find them there: whole, and made by the same means."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from chain_of_zoom.api import ChainOfZoom
from chain_of_zoom.chain.folder import RECORD, RunFolder
from chain_of_zoom.chain.record import InputRecord, Record, software
from chain_of_zoom.evaluation.methods import Method
from chain_of_zoom.evaluation.protocols import Run
from chain_of_zoom.evaluation.results import MethodNote
from chain_of_zoom.imaging.encode import encode_png
from chain_of_zoom.imaging.images import decode_png, load, write_atomic
from chain_of_zoom.plugins import BACKBONES, PROMPTERS

TORCH = ("torch", "transformers", "diffusers")


class Maker:
    """Makes states with one method. Weights are read when the first missing state is made."""

    def __init__(self, method: Method, chain: ChainOfZoom) -> None:
        self.method = method
        self.chain = chain
        self._software = _software(method)

    def make(self, run: Run, *, force: bool = False) -> Record:
        """The record of a complete run. Raises the errors of `coz zoom`; OccupiedError for another run's folder."""
        path = os.path.relpath(run.photo, run.folder)
        # Size and notes are not known before the photo is read, and do not make another run.
        wanted = self._record(InputRecord(path=path, sha256=run.photo_sha256, size=(0, 0)), run)
        if (found := complete(run.folder)) and not wanted.difference(found):
            return found
        photo = load(run.photo)
        zoom = self.chain.prepare(photo, run.request)
        with _Folder(run.folder, self._record(InputRecord.of(photo, path), run), force=force) as folder:
            for state in self.chain.run(zoom, folder.done):
                folder.add(state)
            folder.complete()
        return folder.record

    def without_prompts(self, run: Run, record: Record) -> dict[int, str]:
        """For every depth whose state had a prompt: the same step from the same parent with none; its file.

        The name of the file holds the hash of the state it belongs to, so that it cannot be taken for another's.
        """
        found: dict[int, str] = {}
        for depth, index in run.states.items():
            entry = record.states[index]
            if not entry.prompt_used:
                continue
            found[depth] = name = f"without_prompt_{depth}x_{entry.sha256[:16]}.png"
            if not (run.folder / name).is_file():
                before = record.states[: index % len(record.states)]
                done = [state.state(decode_png((run.folder / state.file).read_bytes())) for state in before]
                mute = ChainOfZoom(self.chain.backbone, "null")
                zoom = mute.prepare(load(run.photo), msgspec.structs.replace(run.request, prompt=""))
                write_atomic(run.folder / name, encode_png(next(iter(mute.run(zoom, done))).image))
        return found

    def note(self, seconds: dict[int, float]) -> MethodNote:
        """What the method is, for the report."""
        return MethodNote(
            name=self.method.name,
            backbone=self.method.backbone,
            mode=self.method.mode,
            writer=self.method.writer,
            licence=self.chain.backbone_record.licence,
            text_aware=self.chain.backbone_record.text_aware,
            weights_sha256=self.chain.backbone_record.weights_sha256,
            options=self.chain.options,
            software=self._software,
            seconds=seconds,
        )

    def _record(self, photo: InputRecord, run: Run) -> Record:
        return msgspec.structs.replace(self.chain.begin(photo, run.request), software=self._software)


class _Folder(RunFolder):
    """A run's folder without a sheet: the report shows the states."""

    def complete(self) -> None:
        self.record = msgspec.structs.replace(self.record, complete=True)
        self._write_record()


def _software(method: Method) -> dict[str, str]:
    """Versions that can change a pixel of this method: what other methods have loaded does not count."""
    kinds = ((BACKBONES, method.backbone), (PROMPTERS, method.prompter))
    core = [table.get(name, ("", {}, "plugin"))[2] is None for table, name in kinds]
    return {name: version for name, version in software(TORCH).items() if not all(core) or name not in TORCH}


def complete(folder: Path) -> Record | None:
    """The record of a complete run whose files are as it says; None when there is none."""
    try:
        record = Record.from_json((folder / RECORD).read_bytes())
    except (OSError, msgspec.DecodeError):
        return None
    return record if record.complete and all(state.read(folder) for state in record.states) else None
