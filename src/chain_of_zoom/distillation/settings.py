"""Everything a training run can be told: a tree of tables, as in its TOML file. Defaults are the published values."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from chain_of_zoom.distillation.degradation import Degradation
from chain_of_zoom.errors import UsageError
from chain_of_zoom.parsing import parse_toml

Count = Annotated[int, Meta(ge=1)]
Amount = Annotated[float, Meta(ge=0)]
Positive = Annotated[float, Meta(gt=0)]

# What a resumed run may change.
_FREE = (
    "data.workers", "data.validation", "model.checkpointing", "optimizer.batch", "optimizer.accumulate",
    "run.steps", "run.save", "run.sheet", "run.device", "run.published_layout",
)  # fmt: skip

STEPS = {"real-esrgan": 25_000, "bicubic": 20_000}


class Data(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is learnt from. source, captions, validation: paths; size: of a crop, pixels; stage: the degradation.

    validation: other pictures to show on the sheets, which otherwise show training pictures. workers: processes that
    make examples; 0 makes them in this one.
    """

    source: str
    captions: str | None = None
    validation: str | None = None
    size: Annotated[int, Meta(ge=32)] = 512
    stage: Degradation = "real-esrgan"
    workers: Annotated[int, Meta(ge=0)] = 2


class Model(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is taught. base: a folder or hub name; the rest is how it is used, and goes into the weights that come out.

    shift_in: subtract the VAE's shift on the way in, as the published training does and the published test does not.
    t5, t5_tokens: use T5 at all, and the length it is padded to. checkpointing: compute activations twice, for memory.
    """

    base: str
    shift_in: bool = True
    t5: bool = True
    t5_tokens: Annotated[int, Meta(ge=1, le=512)] = 512
    checkpointing: bool = True


class Losses(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Weights of the generator's losses (distillation/losses.py), and which perceptual network is used."""

    l2: Amount = 1.0
    perceptual: Amount = 2.0
    matching: Amount = 1.0
    network: Literal["lpips", "stlpips", "none"] = "lpips"


class Optimizer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """AdamW of generator and regulariser alike. batch: pictures at a time on each device; accumulate: such batches."""

    lr: Positive = 5e-5
    weight_decay: Amount = 1e-2
    clip: Positive = 1.0
    batch: Count = 2
    accumulate: Count = 2


class Run(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How it runs. steps: of the optimizer, in all; by default as many as published. save, sheet: every how many steps.

    init: a folder of an earlier run, to begin with its adapters. published_layout: write the published files, too.
    """

    steps: Count | None = None
    seed: Annotated[int, Meta(ge=0)] = 123
    save: Count = 500
    sheet: Count = 500
    init: str | None = None
    device: str = "auto"
    dtype: str = "auto"
    published_layout: bool = False


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A training run."""

    data: Data
    model: Model
    losses: Losses = Losses()
    optimizer: Optimizer = Optimizer()
    run: Run = Run()

    @property
    def steps(self) -> int:
        """Steps of the optimizer."""
        return self.run.steps or STEPS[self.data.stage]

    def identity(self, *, pictures: int, ranks: int) -> dict[str, Any]:
        """What may not change when a run of so many pictures and processes is resumed: what has a part in the losses.

        Batches may be cut in another way, as long as a step has as many pictures.
        """
        found: dict[str, Any] = {
            f"{table}.{key}": value
            for table, values in msgspec.to_builtins(self).items()
            for key, value in values.items()
            if f"{table}.{key}" not in _FREE
        }
        for key in ("data.source", "data.captions", "run.init"):
            found[key] = str(Path(found[key]).resolve()) if found[key] else None
        found["pictures"] = pictures
        found["pictures a step"] = self.optimizer.batch * self.optimizer.accumulate * ranks
        return found


TABLES = Settings.__struct_fields__


def read_settings(*layers: Mapping[str, Mapping[str, Any]]) -> Settings:
    """Tables on top of one another, the last one winning. Raises UsageError."""
    merged: dict[str, dict[str, Any]] = {table: {} for table in TABLES}
    for layer in layers:
        for table, values in layer.items():
            if table not in merged or not isinstance(values, Mapping):
                raise UsageError(f"settings have {table!r}; accepted: tables {', '.join(TABLES)}; remove it")
            merged[table].update(values)
    for table, key, flag in (("data", "source", "--data FOLDER"), ("model", "base", "--base MODEL")):
        if not merged[table].get(key):
            raise UsageError(f"{table}.{key} is missing; accepted: a path; type: {flag}")
    try:
        return msgspec.convert(merged, Settings)
    except msgspec.ValidationError as error:
        raise UsageError(f"settings: {error}; accepted: what docs/training.md lists; check the option") from error


def read_sets(texts: Iterable[str]) -> dict[str, dict[str, Any]]:
    """`optimizer.lr=1e-4` and the like, as tables. Raises UsageError."""
    tables: dict[str, dict[str, Any]] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        table, _, key = name.partition(".")
        if not equals or table not in TABLES or not key:
            raise UsageError(
                f"--set {text!r}; accepted: TABLE.KEY=VALUE, tables {', '.join(TABLES)}; "
                "for example --set optimizer.lr=1e-4"
            )
        try:
            tables.setdefault(table, {})[key] = parse_toml(f"v = {value}")["v"]
        except ValueError:
            tables.setdefault(table, {})[key] = value
    return tables


def to_toml(settings: Settings) -> str:
    """The tables as TOML, which `--config` reads again; values that are not set are left out."""
    lines: list[str] = []
    for table, values in msgspec.to_builtins(settings).items():
        lines.append(f"[{table}]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in values.items() if value is not None]  # TOML here
        lines.append("")
    return "\n".join(lines)
