"""A tiny model, pairs and critics for tests of alignment."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from conftest import PHOTO, ROOT
from PIL import Image

from chain_of_zoom.alignment.training.align import align
from chain_of_zoom.alignment.training.config import AlignConfig, resolve
from chain_of_zoom.alignment.training.run_folder import ADAPTER

WORD = "helmet"
QUICK = {"group": 4, "batch": 4, "learning_rate": 0.01, "max_new_tokens": 6, "loggers": [], "samples": 0}


def example() -> Any:
    """examples/align_tiny.py as a module."""
    spec = importlib.util.spec_from_file_location("align_tiny", ROOT / "examples" / "align_tiny.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_pairs(folder: Path, train: int = 4, held_out: int = 2) -> Path:
    """Pairs of 56 x 56 pixels from the portrait, in a folder as `coz align pairs` writes it."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    with Image.open(PHOTO) as photo:
        for i in range(train + held_out):
            parent = photo.convert("RGB").crop((40 * i, 30 * i, 40 * i + 160, 30 * i + 160)).resize((56, 56))
            zoomed = parent.crop((21, 21, 35, 35)).resize((56, 56), Image.Resampling.BICUBIC)
            parent.save(folder / f"{i}p.png")
            zoomed.save(folder / f"{i}z.png")
            split = "train" if i < train else "held-out"
            row = {"name": f"view{i}", "parent_file_name": f"{i}p.png", "zoomed_file_name": f"{i}z.png", "split": split}
            lines.append(json.dumps(row))
    (folder / "metadata.jsonl").write_text("\n".join(lines))
    return folder


class Likes:
    """A critic's model: 100 times the share of words that are `word`. fails: raised at the n-th question."""

    def __init__(self, word: str = WORD, fails: dict[int, Exception] | None = None) -> None:
        self.word, self.fails, self.asked = word, fails or {}, 0

    def ask(self, conversations: Sequence[Any]) -> list[str]:
        """A rating each."""
        self.asked += 1
        if self.asked in self.fails:
            raise self.fails[self.asked]
        return [self._rating(messages[-1]["content"][-1]["text"]) for messages in conversations]

    def _rating(self, question: str) -> str:
        words = question.split("Description: ")[1].split("\nRating")[0].split()
        return f"Rating: {round(100 * words.count(self.word) / max(len(words), 1))}"


def settings(data: Path, model: Path, **changed: Any) -> AlignConfig:
    """Of a quick run without a critic, changed."""
    quick = {**QUICK, "data": str(data), "model": str(model), "weights": {"critic": 0.0}}
    return resolve("safe", quick, changed)


def run(config: AlignConfig, out: Path) -> dict[str, torch.Tensor]:
    """Align; the tensors of the adapter."""
    from safetensors.torch import load_file

    align(config, out)
    return load_file(out / ADAPTER[1])
