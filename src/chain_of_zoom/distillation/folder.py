"""The folder of a run: what it holds, whose it is, and what of it a new run replaces."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chain_of_zoom.distillation import checkpoint, journal
from chain_of_zoom.distillation.checkpoint import Progress, read_progress
from chain_of_zoom.errors import OccupiedError
from chain_of_zoom.files import naming
from chain_of_zoom.weights.files import TRAINED

SETTINGS = "settings.toml"
_OURS = (
    checkpoint.NAME, journal.NAME, TRAINED, SETTINGS, "sheets", "tensorboard", "SR_LoRA", "SR_VAE",
)  # fmt: skip


def earlier_run(folder: Path, identity: Mapping[str, Any]) -> Progress | None:
    """The run in the folder that goes on. Raises OccupiedError when it is another one."""
    found = read_progress(folder)
    if found is None or found.identity == identity:
        return found
    changed = [key for key in sorted({*identity, *found.identity}) if identity.get(key) != found.identity.get(key)]
    told = ", ".join(f"{key} was {found.identity.get(key)!r}, is {identity.get(key)!r}" for key in changed[:3])
    raise OccupiedError(f"{folder} holds another run ({told}); name another folder with -o, or type: --force")


def clear(folder: Path) -> None:
    """Remove what an earlier run wrote. Raises OutputError."""
    with naming(folder):
        for path in (folder / name for name in _OURS):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
