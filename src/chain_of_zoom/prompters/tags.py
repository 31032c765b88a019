"""The published "dape" prompt: tags that RAM, with or without DAPE's LoRA, sees in the zoomed picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch

from chain_of_zoom.errors import MissingError
from chain_of_zoom.networks.ram.network import Ram, normalise_pictures
from chain_of_zoom.networks.ram.weights import load_ram
from chain_of_zoom.prompters.base import PromptContext
from chain_of_zoom.prompters.local import LocalPrompter
from chain_of_zoom.runtime.placement import choose_device
from chain_of_zoom.runtime.plan import NetworkPart
from chain_of_zoom.runtime.residence import Residence
from chain_of_zoom.weights.hashes import remember_sha256

# Of the published network, whose file holds a text decoder too; and what a picture takes through Swin-L and 4585 tags.
PARAMETERS, WORK = 213_000_000, 200_000_000


class Dape(LocalPrompter):
    """Writes every tag whose probability is above its own threshold, in the order of the list: "leaf, moss, stone".

    ram: `ram_swin_large_14m.pth`; tags, thresholds: the RAM project's `ram_tag_list.txt` and
    `ram_tag_list_threshold.txt`, one a line; dape: SeeSR's `DAPE.pth`, without which these are RAM's own tags.
    device: auto (CUDA where there is any), cpu, cuda, cuda:1 ... Always float32. Only the zoomed picture is looked at
    (code of the paper, prompt type "dape"). The weights are read at the first call, or by `load`.
    Raises MissingError for files that are absent or do not fit, UsageError for an unknown device.
    """

    def __init__(
        self,
        ram: str | Path,
        tags: str | Path,
        thresholds: str | Path,
        dape: str | Path | None = None,
        device: str = "auto",
        memory: str = "auto",
    ) -> None:
        super().__init__(device, memory=memory)
        self.name = "ram" if dape is None else "dape"
        self.files = {"ram": Path(ram), "tags": Path(tags), "thresholds": Path(thresholds)}
        if dape is not None:
            self.files["dape"] = Path(dape)
        for role, path in self.files.items():
            if not path.is_file():
                raise MissingError(
                    f"{role} file {path} is not there; accepted: a file of the RAM release; check the path"
                )
        self.tags = _read_lines(self.files["tags"])
        self.thresholds = [
            _parse_probability(line, self.files["thresholds"]) for line in _read_lines(self.files["thresholds"])
        ]
        if len(self.tags) != len(self.thresholds):
            raise MissingError(
                f"{len(self.tags)} tags in {self.files['tags'].name} but {len(self.thresholds)} thresholds in "
                f"{self.files['thresholds'].name}; accepted: one threshold per tag; get both from one RAM release"
            )
        self.device = choose_device(device)
        self._model: Ram | None = None
        self._sha256: dict[str, str] = {}

    def weights_sha256(self) -> dict[str, str]:
        """Return the SHA-256 of every file, by role (ram, tags, thresholds, dape); computed once."""
        if not self._sha256:
            self._sha256 = {role: remember_sha256(path) for role, path in self.files.items()}
        return dict(self._sha256)

    def _list_parts(self) -> tuple[NetworkPart, ...]:
        count = min(PARAMETERS, self.files["ram"].stat().st_size // 4)
        return (NetworkPart(name=self.name, stage="prompts", parameters=count, work=WORK, dtype="float32"),)

    def _read(self, residence: Residence) -> None:
        model = load_ram(self.files["ram"], self.files.get("dape"))
        if model.sizes.tags != len(self.tags):
            raise MissingError(
                f"{self.files['ram'].name} knows {model.sizes.tags} tags but {self.files['tags'].name} lists "
                f"{len(self.tags)}; accepted: the list these weights were trained with; get both from one release"
            )
        self.device = torch.device(residence.device("prompts"))
        residence.add("prompts", model)
        self._model = model

    def _ask(self, contexts: Sequence[PromptContext]) -> list[str]:
        """Return the tags of each zoomed picture, joined by ", "; empty where no tag is above its threshold."""
        assert self._residence
        assert self._model
        with self._residence.using("prompts"), torch.inference_mode():
            pictures = normalise_pictures([context.zoomed for context in contexts], self._model.sizes.image)
            logits = self._model(pictures.to(self.device))
            chosen = (logits.sigmoid() > torch.tensor(self.thresholds, device=self.device)).tolist()
        return [", ".join(tag for tag, is_seen in zip(self.tags, row, strict=True) if is_seen) for row in chosen]


def _read_lines(path: Path) -> list[str]:
    """Read the lines of a text file, as they are; none may be empty."""
    try:
        lines = path.read_text(encoding="utf-8").rstrip("\n").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise MissingError(
            f"{path.name} cannot be read ({error}); accepted: a text file in UTF-8; get it again"
        ) from error
    if not lines or not all(line.strip() for line in lines):
        raise MissingError(f"{path.name} has an empty line, or none at all; accepted: one entry a line; get it again")
    return lines


def _parse_probability(line: str, path: Path) -> float:
    try:
        value = float(line)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise MissingError(f"{path.name} holds {line[:40]!r}; accepted: one number from 0 to 1 a line; get it again")
    return value
