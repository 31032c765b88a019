"""The settings of a training run, a tree of tables as in its TOML file; the defaults are the published values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from chain_of_zoom import settings
from chain_of_zoom.distillation.degradation import Degradation
from chain_of_zoom.errors import UsageError

Count = Annotated[int, Meta(ge=1)]
Amount = Annotated[float, Meta(ge=0)]
Positive = Annotated[float, Meta(gt=0)]

# Settings that a resumed run may change.
_FREE = (
    "data.workers", "data.validation", "model.checkpointing", "optimizer.batch", "optimizer.accumulate",
    "run.steps", "run.save", "run.sheet", "run.device", "run.published_layout",
)  # fmt: skip

STEPS = {"real-esrgan": 25_000, "bicubic": 20_000}


class DataSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Names the pictures to learn from and their degradation."""

    source: str
    """Path of a folder of pictures, or of a list of them."""
    captions: str | None = None
    """Path of a file of captions; without it all texts are empty."""
    validation: str | None = None
    """Path of other pictures for the sheets, which otherwise show training pictures."""
    size: Annotated[int, Meta(ge=32)] = 512
    """Side of a crop in pixels."""
    stage: Degradation = "real-esrgan"
    """The degradation."""
    workers: Annotated[int, Meta(ge=0)] = 2
    """Processes that make examples; 0 makes them in this one."""


class ModelSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Names the base model and how it is used; all but base and checkpointing is written into the trained weights."""

    base: str
    """Folder or hub name of Stable Diffusion 3 medium in diffusers layout."""
    shift_in: bool = True
    """Subtract the VAE's shift on the way in, as the published training does and the published test does not."""
    t5: bool = True
    """Use the text encoder T5."""
    t5_tokens: Annotated[int, Meta(ge=1, le=512)] = 512
    """Length to which texts for T5 are padded."""
    checkpointing: bool = True
    """Compute activations twice to save memory."""


class LossSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Weighs the generator's losses (see distillation/losses.py)."""

    l2: Amount = 1.0
    """Weight of the mean squared error."""
    perceptual: Amount = 2.0
    """Weight of the perceptual distance."""
    matching: Amount = 1.0
    """Weight of distribution matching."""
    network: Literal["lpips", "stlpips", "none"] = "lpips"
    """Network of the perceptual distance."""


class OptimizerSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sets AdamW, for generator and regulariser alike."""

    lr: Positive = 5e-5
    """Learning rate."""
    weight_decay: Amount = 1e-2
    """Weight decay."""
    clip: Positive = 1.0
    """Norm to which gradients are clipped."""
    batch: Count = 2
    """Pictures that a device computes at once."""
    accumulate: Count = 2
    """Batches of every device in one step."""


class RunSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sets the length, the files and the device of a run."""

    steps: Count | None = None
    """Steps of the optimizers in all; by default as many as published."""
    seed: Annotated[int, Meta(ge=0)] = 123
    """Seed of everything that is random."""
    save: Count = 500
    """Steps between two checkpoints."""
    sheet: Count = 500
    """Steps between two sheets of restored pictures."""
    init: str | None = None
    """Folder of an earlier run whose adapters this one begins with."""
    device: str = "auto"
    """Device of torch."""
    dtype: str = "auto"
    """Precision of the base weights."""
    published_layout: bool = False
    """Also write files in the published layout."""


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Holds all settings of a training run."""

    data: DataSettings
    """Table of the training pictures."""
    model: ModelSettings
    """Table of the base model."""
    losses: LossSettings = LossSettings()
    """Table of the losses."""
    optimizer: OptimizerSettings = OptimizerSettings()
    """Table of the optimizers."""
    run: RunSettings = RunSettings()
    """Table of the run."""

    @property
    def steps(self) -> int:
        """Steps of the optimizers in all."""
        return self.run.steps or STEPS[self.data.stage]

    def identity(self, *, pictures: int, ranks: int) -> dict[str, Any]:
        """Collect the settings that influence the losses and so must not change when a run is resumed.

        pictures: in the training set. ranks: number of processes. Batches may be divided in another way, as long as a
        step has as many pictures.
        """
        identity: dict[str, Any] = {
            f"{table}.{key}": value
            for table, values in msgspec.to_builtins(self).items()
            for key, value in values.items()
            if f"{table}.{key}" not in _FREE
        }
        for key in ("data.source", "data.captions", "run.init"):
            identity[key] = str(Path(identity[key]).resolve()) if identity[key] else None
        identity["pictures"] = pictures
        identity["pictures a step"] = self.optimizer.batch * self.optimizer.accumulate * ranks
        return identity


TABLES = Settings.__struct_fields__


def read_settings(*layers: Mapping[str, Mapping[str, Any]]) -> Settings:
    """Merge tables, of which later ones win, into settings. Raises UsageError."""
    merged: dict[str, dict[str, Any]] = {table: {} for table in TABLES}
    for layer in layers:
        for table, values in layer.items():
            if table not in merged or not isinstance(values, Mapping):
                raise UsageError(f"settings have {table!r}; accepted: tables {', '.join(TABLES)}; remove it")
            merged[table].update(values)
    for table, key, flag in (("data", "source", "--data FOLDER"), ("model", "base", "--base MODEL")):
        if not merged[table].get(key):
            raise UsageError(f"{table}.{key} is missing; accepted: a path; type: {flag}")
    hint = "accepted: what docs/training.md lists; check the option"
    return settings.check_settings(merged, Settings, "settings", hint)


def read_sets(texts: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Read `optimizer.lr=1e-4` and the like as tables. Raises UsageError."""
    accepted = f"TABLE.KEY=VALUE, tables {', '.join(TABLES)}; for example --set optimizer.lr=1e-4"
    return settings.read_sets(texts, accepted, TABLES)
