"""Make the states of one zoom and keep them in a folder, or find them there: whole, and made by the same means."""

from __future__ import annotations

import hashlib
import os
from importlib import metadata
from pathlib import Path

import msgspec

from chain_of_zoom.api import ChainOfZoom
from chain_of_zoom.chain.folder import RECORD, RunFolder
from chain_of_zoom.chain.record import BackboneRecord, InputRecord, Record, software
from chain_of_zoom.evaluation.methods import Method
from chain_of_zoom.evaluation.protocols import Run
from chain_of_zoom.evaluation.results import MethodNote
from chain_of_zoom.imaging.geometry import Size
from chain_of_zoom.imaging.images import Picture, decode_png, encode_png, load, write_atomic
from chain_of_zoom.plugins import BACKBONES, PROMPTERS

TORCH = ("torch", "transformers", "diffusers")


class Maker:
    """Makes states with one method. Weights are read when the first missing state is made."""

    def __init__(self, method: Method, chain: ChainOfZoom) -> None:
        """Hashes the weights, once for all pictures. Raises MissingError."""
        self.method = method
        self.chain = chain
        self._backbone = BackboneRecord.of(chain.backbone)
        self._prompter_sha256 = chain.prompter.weights_sha256()
        self._software = _software(method)

    def make(self, run: Run, *, force: bool = False) -> Record:
        """The record of a complete run. Raises the errors of `coz zoom`; OutputError for another run's folder."""
        wanted = self._record(run)
        if (found := finished(run.folder)) and not wanted.difference(found):
            return found
        photo = load(run.photo)
        zoom = self.chain.prepare(photo, run.request)
        folder = _Folder(run.folder, self._record(run, photo), force=force)
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
            licence=self._backbone.licence,
            text_aware=self._backbone.text_aware,
            weights_sha256=self._backbone.weights_sha256,
            options=self.chain.options,
            software=self._software,
            seconds=seconds,
        )

    def _record(self, run: Run, photo: Picture | None = None) -> Record:
        size = photo.size if photo else Size(0, 0)
        return Record(
            software=self._software,
            input=InputRecord(
                path=os.path.relpath(run.photo, run.folder),
                sha256=run.photo_sha256,
                size=(size.width, size.height),
                notes=photo.notes if photo else (),
            ),
            settings=run.request,
            backbone=self._backbone,
            prompter=self.chain.prompter.name,
            prompter_sha256=self._prompter_sha256,
            options=self.chain.options,
            seed=run.request.seed,
        )


class _Folder(RunFolder):
    """A run's folder without a sheet: the report shows the states."""

    def complete(self) -> None:
        self.record = msgspec.structs.replace(self.record, complete=True)
        self._write_record()


def _software(method: Method) -> dict[str, str]:
    """Versions that can change a pixel of this method: what other methods have loaded does not count."""
    versions = {name: version for name, version in software().items() if name not in TORCH}
    if BACKBONES[method.backbone][2] or PROMPTERS[method.prompter][2]:
        versions |= {name: metadata.version(name) for name in TORCH}
    return versions


def finished(folder: Path) -> Record | None:
    """The record of a complete run whose files are as it says; None when there is none."""
    try:
        record = Record.from_json((folder / RECORD).read_bytes())
        if record.complete and all(
            hashlib.sha256((folder / Path(state.file).name).read_bytes()).hexdigest() == state.sha256
            for state in record.states
        ):
            return record
    except (OSError, msgspec.DecodeError):
        pass
    return None
