"""The settings of a training run, a tree of tables as in its TOML file: what all networks share, and those of SD3.

The defaults of Stable Diffusion 3 are the published values.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from chain_of_zoom import settings
from chain_of_zoom.distillation.degradation import Degradation
from chain_of_zoom.errors import UsageError

Count = Annotated[int, Meta(ge=1)]
Amount = Annotated[float, Meta(ge=0)]
Positive = Annotated[float, Meta(gt=0)]

# Settings that a resumed run may change, or that cannot change.
_FREE = (
    "data.workers", "data.validation", "model.network", "model.checkpointing", "optimizer.batch",
    "optimizer.accumulate", "run.steps", "run.save", "run.sheet", "run.device", "run.published_layout",
)  # fmt: skip

SPANS = ("span", "span-official")
"""Names of shipped networks that run.init takes beside paths."""

STEPS = {"real-esrgan": 25_000, "bicubic": 20_000}


class PictureSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Names the pictures to learn from."""

    source: str
    """Path of a folder of pictures, or of a list of them."""
    validation: str | None = None
    """Path of other pictures for the sheets, which otherwise show training pictures."""
    size: Annotated[int, Meta(ge=32)] = 512
    """Side of a crop in pixels."""
    workers: Annotated[int, Meta(ge=0)] = 2
    """Processes that make examples; 0 makes them in this one."""


class OptimizerSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sets AdamW, for everything that is trained alike."""

    lr: Positive = 5e-5
    """Learning rate."""
    weight_decay: Amount = 1e-2
    """Weight decay."""
    clip: Positive = 1.0
    """Norm to which the gradients of each group of weights are clipped: of generator, encoder and regulariser apart."""
    batch: Count = 2
    """Pictures that a device computes at once."""
    accumulate: Count = 2
    """Batches of every device in one step."""


class RunSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sets the length, the files and the device of a run."""

    steps: Count | None = None
    """Steps of the optimizers in all; by default as many as the network's own training."""
    seed: Annotated[int, Meta(ge=0)] = 123
    """Seed of everything that is random."""
    save: Count = 500
    """Steps between two checkpoints."""
    sheet: Count = 500
    """Steps between two sheets of restored pictures."""
    init: str | None = None
    """Where the weights are that the run begins with, such as the folder of an earlier run."""
    device: str = "auto"
    """Device of torch."""


class TrainingSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Holds the settings that the training of every network has; each network adds to them."""

    data: PictureSettings
    """Table of the training pictures."""
    optimizer: OptimizerSettings = OptimizerSettings()
    """Table of the optimizers."""
    run: RunSettings = RunSettings()
    """Table of the run."""

    @property
    @abstractmethod
    def steps(self) -> int:
        """Steps of the optimizers in all."""

    def identity(self, *, pictures: int, ranks: int) -> dict[str, Any]:
        """Collect the settings that influence the losses and so must not change when a run is resumed.

        pictures: in the training set. ranks: number of processes. Batches may be divided in another way, as long as a
        step has as many pictures.
        """
        tables = msgspec.json.decode(msgspec.json.encode(self))  # as it is read again: lists, not tuples
        identity: dict[str, Any] = {
            f"{table}.{key}": value
            for table, values in tables.items()
            for key, value in values.items()
            if f"{table}.{key}" not in _FREE
        }
        for key in ("data.source", "data.captions", "run.init"):
            if identity.get(key) and identity[key] not in SPANS:
                identity[key] = str(Path(identity[key]).resolve())
        identity["pictures"] = pictures
        identity["pictures a step"] = self.optimizer.batch * self.optimizer.accumulate * ranks
        return identity


class DataSettings(PictureSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Names the pictures to learn from, their captions and their degradation."""

    captions: str | None = None
    """Path of a file of captions; without it all texts are empty."""
    stage: Degradation = "real-esrgan"
    """The degradation."""


class ModelSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Names the base model and how it is used; all but base and checkpointing is written into the trained weights."""

    network: Literal["sd3"] = "sd3"
    """The network that is trained."""
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


class DiffusionRunSettings(RunSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sets the length, the files, the device and the precision of a run."""

    dtype: str = "auto"
    """Precision of the base weights."""
    published_layout: bool = False
    """Also write files in the published layout."""


class Settings(TrainingSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Holds all settings of a training run of Stable Diffusion 3."""

    data: DataSettings
    """Table of the training pictures."""
    model: ModelSettings
    """Table of the base model."""
    losses: LossSettings = LossSettings()
    """Table of the losses."""
    run: DiffusionRunSettings = DiffusionRunSettings()
    """Table of the run."""

    @property
    def steps(self) -> int:
        """Steps of the optimizers in all."""
        return self.run.steps or STEPS[self.data.stage]


TABLES = ("data", "model", "losses", "optimizer", "run")
Plan = TypeVar("Plan", bound=TrainingSettings)


def merge_tables(layers: Iterable[Mapping[str, Mapping[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Merge tables, of which later ones win. Raises UsageError for a table that no network has."""
    merged: dict[str, dict[str, Any]] = {table: {} for table in TABLES}
    for layer in layers:
        for table, values in layer.items():
            if table not in merged or not isinstance(values, Mapping):
                raise UsageError(f"settings have {table!r}; accepted: tables {', '.join(TABLES)}; remove it")
            merged[table].update(values)
    return merged


def check_tables(tables: Mapping[str, Mapping[str, Any]], kind: type[Plan]) -> Plan:
    """Turn tables into the settings of a network. Raises UsageError."""
    for table, key, flag in (("data", "source", "--data FOLDER"), ("model", "base", "--base MODEL")):
        if not tables[table].get(key) and (table == "data" or kind is Settings):
            raise UsageError(f"{table}.{key} is missing; accepted: a path; type: {flag}")
    hint = "accepted: what docs/training.md lists; check the option"
    return settings.check_settings(tables, kind, "settings", hint)


def read_settings(*layers: Mapping[str, Mapping[str, Any]]) -> Settings:
    """Merge tables, of which later ones win, into settings of Stable Diffusion 3. Raises UsageError."""
    return check_tables(merge_tables(layers), Settings)


def read_sets(texts: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Read `optimizer.lr=1e-4` and the like as tables. Raises UsageError."""
    accepted = f"TABLE.KEY=VALUE, tables {', '.join(TABLES)}; for example --set optimizer.lr=1e-4"
    return settings.read_sets(texts, accepted, TABLES)
