"""Make the states of one zoom and keep them in a folder, or read them there when the same run was made before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from chain_of_zoom.api import ChainOfZoom
from chain_of_zoom.chain.folder import RunFolder, read_finished
from chain_of_zoom.chain.record import InputRecord, Record, software
from chain_of_zoom.chain.run import begin_record
from chain_of_zoom.errors import BackboneError, BadInputError, UsageError
from chain_of_zoom.evaluation.methods import Method
from chain_of_zoom.evaluation.protocols import MeasuredRun
from chain_of_zoom.evaluation.results import MethodNote
from chain_of_zoom.files import relate, write_atomic
from chain_of_zoom.imaging.encode import encode_png
from chain_of_zoom.imaging.images import decode_png, load
from chain_of_zoom.plugins import BACKBONES, PROMPTERS

OF_ONE_PICTURE = (UsageError, BadInputError, BackboneError)
"""What goes wrong with one picture; anything else (a full disk, missing weights) ends the benchmark."""
TORCH_PACKAGES = ("torch", "transformers", "diffusers")


class StateCache:
    """Makes the states of runs with one method and keeps them; weights are read for the first missing state."""

    def __init__(self, method: Method, chain: ChainOfZoom) -> None:
        self.method = method
        self.chain = chain
        self._software = _relevant_software(method)

    def make(self, run: MeasuredRun, *, force: bool = False) -> Record:
        """Return the record of the complete run, made now or before.

        force: replace another run in the folder. Raises the errors of `coz zoom`; OccupiedError for another run's
        folder.
        """
        path = relate(run.photo, run.folder)
        # The size and the notes are not known before the photo is read, and do not make another run.
        expected = self._begin_record(InputRecord(path=path, sha256=run.photo_sha256, size=(0, 0)), run)
        record = read_finished(run.folder, with_sheet=False)
        if record and not expected.difference(record):
            return record
        photo = load(run.photo)
        zoom = self.chain.plan(photo, run.request)
        with RunFolder(run.folder, self._begin_record(InputRecord.of(photo, path), run), force=force) as folder:
            for state in zoom.states(folder.finished_states):
                folder.add(state)
            folder.finish(None)  # the report shows the states
        return folder.record

    def make_without_prompts(self, run: MeasuredRun, record: Record) -> dict[int, str]:
        """Repeat every measured step that had a prompt from the same parent without one.

        Only a step from the same parent shows what its own prompt changed: two whole chains also differ by earlier
        prompts. Returns for every depth the name of a file in the folder, which holds the hash of the state it belongs
        to, so that it cannot be taken for that of another state.
        """
        names: dict[int, str] = {}
        for depth, index in run.states.items():
            entry = record.states[index]
            if not entry.prompt_used:
                continue
            names[depth] = name = f"without_prompt_{depth}x_{entry.sha256[:16]}.png"
            if (run.folder / name).is_file():
                continue
            entries = record.states[: index % len(record.states)]
            parents = [parent.state(decode_png((run.folder / parent.file).read_bytes())) for parent in entries]
            mute_chain = ChainOfZoom(self.chain.backbone, "null")
            zoom = mute_chain.plan(load(run.photo), msgspec.structs.replace(run.request, prompt=""))
            write_atomic(run.folder / name, encode_png(next(zoom.states(parents)).image))
        return names

    def describe_method(self, seconds: dict[int, float]) -> MethodNote:
        """Return what the report says of the method; seconds: of one picture, by depth."""
        backbone = self.chain.backbone_record
        return MethodNote(
            name=self.method.name,
            backbone=self.method.backbone,
            mode=self.method.mode,
            writer=self.method.writer,
            licence=backbone.licence,
            text_aware=backbone.text_aware,
            weights_sha256=backbone.weights_sha256,
            options=self.chain.options,
            software=self._software,
            seconds=seconds,
        )

    def _begin_record(self, photo: InputRecord, run: MeasuredRun) -> Record:
        return msgspec.structs.replace(begin_record(self.chain, photo, run.request), software=self._software)


class RunMaking(NamedTuple):
    """What came of a run: its record, or the error that it ended with."""

    record: Record | None
    """The record of the complete run."""
    unprompted: dict[int, str]
    """For every depth whose state had a prompt, the file of the same step without it."""
    error: str
    """What went wrong with this picture; empty where nothing did."""


def make_runs(chain: ChainOfZoom, method: Method, runs: Sequence[MeasuredRun], force: bool) -> list[RunMaking]:
    """Make the runs of one picture with a method, wherever the chain is. Raises what is wrong with all pictures."""
    cache = StateCache(method, chain)
    makings: list[RunMaking] = []
    for run in runs:
        try:
            record = cache.make(run, force=force)
            makings.append(RunMaking(record, cache.make_without_prompts(run, record), ""))
        except OF_ONE_PICTURE as error:
            makings.append(RunMaking(None, {}, str(error)))
    return makings


def _relevant_software(method: Method) -> dict[str, str]:
    """Return the versions that can change a pixel of this method, not of what other methods have loaded."""
    entries = (BACKBONES.get(method.backbone), PROMPTERS.get(method.prompter))
    needs_no_extra = all(entry is not None and entry[2] is None for entry in entries)
    versions = software(TORCH_PACKAGES)
    if needs_no_extra:
        return {name: version for name, version in versions.items() if name not in TORCH_PACKAGES}
    return versions
