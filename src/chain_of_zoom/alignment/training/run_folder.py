"""Keep the folder of an alignment: its settings, its checkpoints, and the files beside those of TRL."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from chain_of_zoom.alignment.training.config import AlignConfig
from chain_of_zoom.errors import OccupiedError
from chain_of_zoom.files import make_folder, write_atomic
from chain_of_zoom.json_bytes import format_json
from chain_of_zoom.parsing import parse_json
from chain_of_zoom.runs.lock import lock_folder
from chain_of_zoom.settings import format_toml, parse_toml

CONFIG = "config.toml"
CHECKPOINTS = "checkpoints"
TENSORBOARD = "tensorboard"
SAMPLES = "samples.json"
UNSCORED = "unscored.jsonl"
CACHE = "critic.sqlite"
REPORT = "report.html"
CARD = "README.md"
ADAPTER = ("adapter_config.json", "adapter_model.safetensors")
COMPLETE_MARK = "complete"
"""Name of the file that marks a checkpoint whose files are all written."""


class UnscoredText(msgspec.Struct, frozen=True, kw_only=True):
    """A text that a reward had no number for."""

    step: int
    """Step of training."""
    reward: str
    """Name of the reward."""
    pair: str
    """Name of the pair."""
    text: str
    """The text."""
    why: str
    """Why there is no number."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What a model writes about a held-out pair, greedily."""

    text: str
    """The text."""
    rewards: dict[str, float | None]
    """Its rewards by name; None where there is no number."""


class HeldOutSample(msgspec.Struct, frozen=True, kw_only=True):
    """A held-out pair with what the model writes about it."""

    pair: str
    """Name of the pair."""
    before: Answer
    """Answer before training."""
    after: Answer | None = None
    """Answer once training is over."""


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
            # Settings without a checkpoint or a sample are of a run that never began: any other may replace them.
            has_begun = find_last_checkpoint(self.path) or (self.path / SAMPLES).exists()
            earlier = _read_config(self.path / CONFIG) if has_begun else config
            if difference := config.difference(earlier) if earlier else f"{CONFIG} cannot be read":
                raise OccupiedError(
                    f"{self.path} holds another alignment: {difference}; accepted: the same settings; "
                    "add --force to begin anew, or name another folder with -o"
                )
        elif files := [name for name in (CHECKPOINTS, SAMPLES, REPORT, *ADAPTER) if (self.path / name).exists()]:
            raise OccupiedError(
                f"{self.path / files[0]} is there already and no {CONFIG} says where it comes from; "
                "add --force to overwrite it, or name another folder with -o"
            )
        write_atomic(self.path / CONFIG, format_toml(config))

    def file(self, name: str) -> Path:
        """Return the path of a file inside."""
        return self.path / name

    @staticmethod
    def is_done(path: Path, steps: int) -> bool:
        """Return whether everything that a run of `steps` steps leaves is there."""
        last = find_last_checkpoint(path)
        files = (*ADAPTER, CARD, REPORT)
        return last is not None and read_step(last) >= steps and all((path / name).exists() for name in files)

    def read_samples(self) -> list[HeldOutSample]:
        """Read the answers about held-out pairs; empty where there are none yet."""
        samples: list[HeldOutSample] = _read(self.path / SAMPLES, list[HeldOutSample]) or []
        return samples

    def write_samples(self, samples: Sequence[HeldOutSample]) -> None:
        """Replace the answers about held-out pairs."""
        write_atomic(self.path / SAMPLES, format_json(samples))

    def read_unscored(self, until: int | None = None) -> list[UnscoredText]:
        """Read the texts without a score, in order. until: the last step, all by default."""
        file = self.path / UNSCORED
        lines = file.read_bytes().splitlines() if file.exists() else []
        texts = []
        for line in lines:
            try:
                texts.append(parse_json(line, UnscoredText))
            except msgspec.DecodeError:  # cut off by a kill: that step runs again
                continue
        return [text for text in texts if until is None or text.step <= until]

    def write_unscored(self, texts: Sequence[UnscoredText]) -> None:
        """Replace the texts without a score."""
        write_atomic(self.path / UNSCORED, b"".join(msgspec.json.encode(text) + b"\n" for text in texts))


def find_last_checkpoint(folder: Path) -> Path | None:
    """Return the newest complete checkpoint of a run's folder; None without one."""
    checkpoints = [mark.parent for mark in (folder / CHECKPOINTS).glob(f"checkpoint-*/{COMPLETE_MARK}")]
    numbered = [checkpoint for checkpoint in checkpoints if checkpoint.name.rpartition("-")[2].isdecimal()]
    return max(numbered, key=read_step, default=None)


def read_step(checkpoint: Path) -> int:
    """Return the number of steps before a checkpoint."""
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
