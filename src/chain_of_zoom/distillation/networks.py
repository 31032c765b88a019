"""From the name of a network to its settings and its trainer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chain_of_zoom.backbones.onestep import DEFAULT_BASE
from chain_of_zoom.distillation.loop import Say, TrainingLoop
from chain_of_zoom.distillation.settings import Settings, check_tables, merge_tables
from chain_of_zoom.distillation.small.settings import SmallSettings
from chain_of_zoom.errors import UsageError

NETWORKS = ("sd3", "small")


def read_training(*layers: Mapping[str, Mapping[str, Any]]) -> Settings | SmallSettings:
    """Merge tables, of which later ones win, into the settings of the network that model.network names.

    Raises UsageError.
    """
    tables = merge_tables(layers)
    network = tables["model"].get("network", NETWORKS[0])
    if network not in NETWORKS:
        raise UsageError(f"network {network!r}; accepted: {', '.join(NETWORKS)}; for example --network small")
    if network == "small":
        return check_tables(tables, SmallSettings)
    tables["model"].setdefault("base", DEFAULT_BASE)
    return check_tables(tables, Settings)


def make_trainer(settings: Settings | SmallSettings, folder: Path, *, force: bool, say: Say) -> TrainingLoop[Any]:
    """Make the trainer of the network; arguments and errors as for `TrainingLoop`."""
    if isinstance(settings, SmallSettings):
        from chain_of_zoom.distillation.small.trainer import SmallTrainer

        return SmallTrainer(settings, folder, force=force, say=say)
    from chain_of_zoom.distillation.trainer import Trainer

    return Trainer(settings, folder, force=force, say=say)
