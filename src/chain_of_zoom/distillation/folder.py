"""The folder of a training run: which files belong to it, and whether the run in it may go on."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chain_of_zoom.distillation import checkpoint, journal
from chain_of_zoom.distillation.checkpoint import TrainingProgress, read_progress
from chain_of_zoom.errors import OccupiedError
from chain_of_zoom.files import naming
from chain_of_zoom.weights.files import TRAINED

SETTINGS = "settings.toml"
_OURS = (
    checkpoint.NAME, journal.NAME, TRAINED, SETTINGS, "sheets", "tensorboard", "SR_LoRA", "SR_VAE",
)  # fmt: skip


def read_earlier_run(folder: Path, identity: Mapping[str, Any]) -> TrainingProgress | None:
    """Read how far the run in the folder is; None without one. Raises OccupiedError for one of other settings."""
    progress = read_progress(folder)
    if progress is None or progress.identity == identity:
        return progress
    earlier = progress.identity
    changed_keys = [key for key in sorted({*identity, *earlier}) if identity.get(key) != earlier.get(key)]
    changes = ", ".join(f"{key} was {earlier.get(key)!r}, is {identity.get(key)!r}" for key in changed_keys[:3])
    raise OccupiedError(f"{folder} holds another run ({changes}); name another folder with -o, or type: --force")


def remove_earlier_run(folder: Path) -> None:
    """Remove the files that an earlier run wrote. Raises OutputError."""
    with naming(folder):
        for path in (folder / name for name in _OURS):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
