"""The folder of an alignment: whose run it is, what of it is done, and the files that are more than TRL's."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from chain_of_zoom.alignment.config import AlignConfig
from chain_of_zoom.errors import OccupiedError
from chain_of_zoom.files import make_folder, write_atomic
from chain_of_zoom.json_bytes import format_json
from chain_of_zoom.parsing import parse_json, parse_toml
from chain_of_zoom.runs.lock import lock_folder

CONFIG = "config.toml"
CHECKPOINTS = "checkpoints"
TENSORBOARD = "tensorboard"
SAMPLES = "samples.json"
UNSCORED = "unscored.jsonl"
CACHE = "critic.sqlite"
REPORT = "report.html"
CARD = "README.md"
ADAPTER = ("adapter_config.json", "adapter_model.safetensors")
WHOLE = "complete"
"""A file in a checkpoint that says nothing of it is missing."""


class UnscoredText(msgspec.Struct, frozen=True, kw_only=True):
    """A text that a reward had no number for."""

    step: int
    reward: str
    pair: str
    text: str
    why: str


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What a model said of a held-out pair, greedily, and its rewards: None where there is no number."""

    text: str
    rewards: dict[str, float | None]


class HeldOutSample(msgspec.Struct, frozen=True, kw_only=True):
    """A held-out pair. after: once training is over."""

    pair: str
    before: Answer
    after: Answer | None = None


class AlignFolder:
    """A folder, locked for this run. Raises OccupiedError when it holds another run, unless `force`; OutputError."""

    def __init__(self, path: Path, config: AlignConfig, *, force: bool = False) -> None:
        self.path = path
        make_folder(path)
        self.unlock: Callable[[], object] = lock_folder(self, path)
        try:
            self._open(config, force)
        except BaseException:
            self.unlock()
            raise

    def _open(self, config: AlignConfig, force: bool) -> None:
        if force:
            for name in (CONFIG, SAMPLES, UNSCORED, REPORT, CARD, *ADAPTER):
                (self.path / name).unlink(missing_ok=True)
            for name in (CHECKPOINTS, TENSORBOARD):
                shutil.rmtree(self.path / name, ignore_errors=True)
        elif (self.path / CONFIG).exists():
            begun = find_last_checkpoint(self.path) or (self.path / SAMPLES).exists()
            earlier = _read_config(self.path / CONFIG) if begun else config  # what never began holds nobody up
            if difference := config.difference(earlier) if earlier else f"{CONFIG} cannot be read":
                raise OccupiedError(
                    f"{self.path} holds another alignment: {difference}; accepted: the same settings; "
                    "add --force to begin anew, or name another folder with -o"
                )
        elif found := [name for name in (CHECKPOINTS, SAMPLES, REPORT, *ADAPTER) if (self.path / name).exists()]:
            raise OccupiedError(
                f"{self.path / found[0]} is there already and no {CONFIG} says where it comes from; "
                "add --force to overwrite it, or name another folder with -o"
            )
        write_atomic(self.path / CONFIG, config.to_toml())

    def file(self, name: str) -> Path:
        """A path inside."""
        return self.path / name

    @staticmethod
    def is_done(path: Path, steps: int) -> bool:
        """Whether everything that a run of so many steps leaves is there."""
        last = find_last_checkpoint(path)
        files = (*ADAPTER, CARD, REPORT)
        return last is not None and read_step(last) >= steps and all((path / name).exists() for name in files)

    def read_samples(self) -> list[HeldOutSample]:
        """What was said of held-out pairs so far."""
        found: list[HeldOutSample] = _read(self.path / SAMPLES, list[HeldOutSample]) or []
        return found

    def write_samples(self, samples: Sequence[HeldOutSample]) -> None:
        """Write them."""
        write_atomic(self.path / SAMPLES, format_json(samples))

    def read_unscored(self, until: int | None = None) -> list[UnscoredText]:
        """Texts without a score, in order; of steps up to `until`."""
        file = self.path / UNSCORED
        lines = file.read_bytes().splitlines() if file.exists() else []
        found = []
        for line in lines:
            try:
                found.append(parse_json(line, UnscoredText))
            except msgspec.DecodeError:  # torn by a kill: that step is done again
                continue
        return [gap for gap in found if until is None or gap.step <= until]

    def write_unscored(self, gaps: Sequence[UnscoredText]) -> None:
        """Write them all."""
        write_atomic(self.path / UNSCORED, b"".join(msgspec.json.encode(gap) + b"\n" for gap in gaps))


def find_last_checkpoint(folder: Path) -> Path | None:
    """The newest complete checkpoint of a run's folder."""
    whole = [mark.parent for mark in (folder / CHECKPOINTS).glob(f"checkpoint-*/{WHOLE}")]
    return max(whole, key=read_step, default=None)


def read_step(checkpoint: Path) -> int:
    """The steps that were done when it was written."""
    return int(checkpoint.name.rpartition("-")[2])


def _read_config(file: Path) -> AlignConfig | None:
    try:
        return msgspec.convert(parse_toml(file.read_text(encoding="utf-8")), AlignConfig)
    except (OSError, ValueError):
        return None


def _read(file: Path, kind: Any) -> Any:
    try:
        return parse_json(file.read_bytes(), kind)
    except (OSError, msgspec.DecodeError):
        return None
