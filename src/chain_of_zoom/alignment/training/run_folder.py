"""Keep the folder of an alignment: its settings, its checkpoints, and the files beside those of TRL."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from chain_of_zoom.alignment.training.config import AlignConfig
from chain_of_zoom.files import write_atomic
from chain_of_zoom.json_bytes import format_json
from chain_of_zoom.parsing import parse_json
from chain_of_zoom.runs.folder import WorkFolder
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


class AlignFolder(WorkFolder[AlignConfig]):
    """The folder of an alignment."""

    another = "another alignment"
    marker = CONFIG
    owns = (CHECKPOINTS, TENSORBOARD, SAMPLES, UNSCORED, REPORT, CARD, *ADAPTER)

    def __init__(self, path: Path, config: AlignConfig, *, force: bool = False) -> None:
        self.config = config
        super().__init__(path, force=force)
        write_atomic(path / CONFIG, format_toml(config))

    def parse(self, data: bytes) -> AlignConfig | None:
        """Read the settings of an earlier run; one without a checkpoint or a sample never began."""
        if find_last_checkpoint(self.path) is None and not (self.path / SAMPLES).exists():
            return None
        return msgspec.convert(parse_toml(data.decode()), AlignConfig)

    def difference(self, earlier: AlignConfig) -> str:
        """Describe which settings that may not change within a run differ."""
        return self.config.difference(earlier)

    @staticmethod
    def is_finished(path: Path, steps: int) -> bool:
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


def _read(file: Path, kind: Any) -> Any:
    try:
        return parse_json(file.read_bytes(), kind)
    except (OSError, msgspec.DecodeError):
        return None
