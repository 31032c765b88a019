"""What backbones with diffusers models on this machine share: base model, adapters, device, memory, what is missing."""

from __future__ import annotations

import importlib.util
from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from chain_of_zoom.backbones.base import Backbone
from chain_of_zoom.errors import MissingError
from chain_of_zoom.runtime.local import LocalModel
from chain_of_zoom.runtime.plan import Need
from chain_of_zoom.runtime.residence import Residence
from chain_of_zoom.weights.hashes import combined_sha256


class LocalBackbone(LocalModel, Backbone):
    """A backbone whose networks are a model in diffusers layout, and files of adapters.

    base: its folder, or its name in the Hugging Face cache; nothing is downloaded. files: of the adapters.
    """

    stage = "image"
    extra: ClassVar[str] = "diffusion"
    """The extra of this package that installs what it imports."""
    packages: ClassVar[Sequence[str]] = ("torch", "diffusers", "transformers")
    """What it imports."""
    model: Any
    """The networks with their `device`, once they are read."""

    def __init__(
        self,
        base: str | Path,
        files: Sequence[str] = (),
        device: str = "auto",
        dtype: str = "auto",
        memory: str = "auto",
    ) -> None:
        super().__init__(device, dtype, memory)
        self.base, self.files = str(base), list(files)

    def missing(self) -> str | None:
        """Return the pip command when something that it imports is not installed."""
        is_absent = any(importlib.util.find_spec(package) is None for package in self.packages)
        return f"pip install 'chain-of-zoom[{self.extra}]'" if is_absent else None

    def weights_sha256(self) -> str | None:
        """Return the SHA-256 over weight files of a local base model and the adapters, computed once; None for none."""
        return self._weights

    @cached_property
    def _weights(self) -> str | None:
        folder = Path(self.base)
        weights = sorted(folder.rglob("*.safetensors")) if folder.is_dir() else []
        return combined_sha256([*weights, *map(Path, self.files)])

    def runs_on(self) -> str | None:
        """Return "cpu", or "cuda:0" and the like."""
        return str(self.model.device) if self._loaded else None

    def needs(self) -> Need | None:
        """Return the sizes of its networks; None once they are read, and where packages are missing."""
        return None if self.missing() else super().needs()

    def _load(self) -> None:
        if command := self.missing():
            raise MissingError(f"backbone {self.info.name} needs torch and diffusers; type: {command}")
        self._read_in_place()

    @abstractmethod
    def _read(self, residence: Residence) -> None:
        """Read the weights into `self.model` and give its networks to the residence. Raises MissingError."""
