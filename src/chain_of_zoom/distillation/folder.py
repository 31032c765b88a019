"""The folder of a training run: which files belong to it, and whether the run in it may go on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chain_of_zoom.distillation import checkpoint, journal
from chain_of_zoom.distillation.checkpoint import TrainingProgress, read_progress
from chain_of_zoom.runs.folder import WorkFolder, list_changes
from chain_of_zoom.weights.files import TRAINED

SETTINGS = "settings.toml"
SMALL = "small.param", "small.bin"
"""Files of the small network, as ncnn reads them."""
_COMMON = (checkpoint.NAME, journal.LOSSES, journal.VALIDATION, SETTINGS, "sheets", "tensorboard")
_FILES = (*_COMMON, TRAINED, "SR_LoRA", "SR_VAE", *SMALL)


class TrainingFolder(WorkFolder[TrainingProgress]):
    """The folder of a training run, whose marker is the header of its checkpoint.

    It owns no names: a run that was killed before its first checkpoint leaves files, and has to begin again.
    """

    marker = checkpoint.NAME

    def __init__(self, path: Path, identity: Mapping[str, Any], *, force: bool = False) -> None:
        self.identity = identity
        super().__init__(path, force=force)

    def read_earlier(self, force: bool) -> TrainingProgress | None:
        """Read how far the run in the folder is. Raises MissingError for a damaged checkpoint, unless `force`."""
        return None if force else read_progress(self.path)

    def difference(self, earlier: TrainingProgress) -> str:
        """Describe up to three settings that may not change within a run and differ."""
        changes = list_changes(earlier.identity, self.identity, "{key} was {earlier!r}, is {current!r}")
        return ", ".join(changes[:3])

    def clear(self, earlier: TrainingProgress | None) -> None:
        """Remove the files that training writes."""
        self.remove(_FILES)
