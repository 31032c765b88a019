"""A super-resolution network in a file of the user's own, of any architecture that spandrel recognises."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chain_of_zoom.backbones.base import BackboneInfo
from chain_of_zoom.backbones.windows import WindowBackbone
from chain_of_zoom.errors import MissingError, UsageError
from chain_of_zoom.imaging.images import RGB8, RGBF
from chain_of_zoom.runtime.retry import is_usable, retry_in_float32
from chain_of_zoom.weights.hashes import remember_sha256

if TYPE_CHECKING:
    import torch

INSTALL = "pip install 'chain-of-zoom[models]'"
HALO = 32  # what RRDB needs to be within a grey level of the untiled result; few networks see farther


class ModelFile(WindowBackbone):
    """Enlarges by the network in a .safetensors or .pth file, by the factor that it was trained for.

    path: the file; a .pth is read as tensors alone, nothing in it is run. tile: side of the largest window handed to
    the network at once. device: "auto" is CUDA where there is one. dtype: "auto" is float16 on a GPU for networks that
    bear it, else float32; windows that overflow in float16 are computed again in float32, and say so; so do those that
    a GPU has room for only in smaller tiles.
    The file is read at once, since only it knows its factor. Raises MissingError for a file that is absent or damaged
    and without spandrel, UsageError for one that holds no network that enlarges RGB pictures.
    """

    def __init__(self, path: str | Path, tile: int = 192, device: str = "auto", dtype: str = "auto") -> None:
        super().__init__()
        self.path = Path(path).expanduser()
        self.device, self.dtype = device, dtype
        self.network = _read(self.path)
        tiles = getattr(self.network.tiling, "name", "") != "INTERNAL"
        needs = self.network.size_requirements
        self.info = BackboneInfo(
            name=self.path.stem,
            summary=f"{self.network.architecture.name} from a file",
            factor=self.network.scale,
            text_aware=False,
            licence="as the file's author says",
            evidence_limit=1.0,  # not compared with real pixels
            max_pixels=tile * tile if tiles else None,
            halo=HALO,
            chained_halo=HALO * 3 // 2,  # as for RRDB
            min_side=max(16, needs.minimum),
            multiple=needs.multiple_of,
        )
        if tile < 2 * HALO + self.info.min_side:
            raise UsageError(
                f"tile {tile}; accepted: from {2 * HALO + self.info.min_side}; type: --set backbone.tile=192"
            )

    def weights_sha256(self) -> str | None:
        """Return the SHA-256 of the file."""
        return remember_sha256(self.path)

    def runs_on(self) -> str | None:
        """Return "cpu", or "cuda:0" and the like."""
        return str(self.network.device) if self._loaded else None

    def _load(self) -> None:
        from chain_of_zoom.runtime.placement import choose_device

        device = choose_device(self.device)
        self.network.to(device, self._choose_precision(device)).eval()

    def _choose_precision(self, device: torch.device) -> torch.dtype:
        """Choose the float type for a device. Raises UsageError for one that the network does not bear."""
        import torch

        from chain_of_zoom.runtime.placement import choose_dtype

        bears = {
            torch.float32: True,
            torch.float16: self.network.supports_half,
            torch.bfloat16: self.network.supports_bfloat16,
        }
        if self.dtype == "auto":
            return torch.float16 if device.type == "cuda" and bears[torch.float16] else torch.float32
        dtype = choose_dtype(self.dtype, device)
        if not bears[dtype]:
            raise UsageError(
                f"dtype {self.dtype} overflows in {self.network.architecture.name}; accepted: float32; "
                "type: --dtype float32"
            )
        return dtype

    def _enlarge(self, windows: list[RGB8], prompts: list[str], seeds: list[int]) -> list[RGBF]:
        return [self._enlarge_window(index, window) for index, window in enumerate(windows)]

    def _enlarge_window(self, index: int, window: RGB8) -> RGBF:
        compute = partial(self._enlarge_in_memory, index, window, self._pass)
        return retry_in_float32(
            compute(),
            self.network.dtype,
            self._in_float32,
            is_usable=is_usable,
            compute=compute,
            tell=lambda dtype: self._tell(index, f"made in float32: {dtype} overflowed"),
        )

    @contextmanager
    def _in_float32(self) -> Iterator[None]:
        import torch

        dtype = self.network.dtype
        self.network.to(torch.float32)
        try:
            yield
        finally:
            self.network.to(dtype)

    def _pass(self, window: RGB8) -> RGBF:
        import torch

        with torch.inference_mode():
            planes = torch.tensor(window, device=self.network.device).permute(2, 0, 1)[None]
            enlarged = self.network((planes.float() / 255).to(self.network.dtype))[0].float()
        pixels: RGBF = np.ascontiguousarray(enlarged.permute(1, 2, 0).cpu().numpy())
        return pixels


def _read(path: Path) -> Any:
    """Read spandrel's descriptor of the network in a file, on the CPU. Raises MissingError and UsageError."""
    if not path.is_file():
        raise MissingError(f"model file {path} is not there; accepted: a .safetensors or .pth file; check the path")
    if any(importlib.util.find_spec(package) is None for package in ("torch", "spandrel")):
        raise MissingError(
            f"model file {path.name} needs spandrel, torch and a torchvision that fits that torch; type: {INSTALL}"
        )
    from chain_of_zoom.weights.checkpoints import read_tensors

    tensors = read_tensors(path)  # ours, since spandrel's own reader of .pth unpickles
    if not isinstance(tensors, dict):
        raise UsageError(f"{path.name} holds no state dict; accepted: the weights of one network; choose another file")
    try:
        spandrel: Any = importlib.import_module("spandrel")
    except Exception as error:  # a torchvision of another torch raises anything
        reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise MissingError(f"spandrel cannot be imported ({reason}); type: {INSTALL}") from error
    try:
        network = spandrel.ModelLoader().load_from_state_dict(tensors)
    except spandrel.UnsupportedModelError as error:
        raise UsageError(
            f"{path.name} is of no architecture that spandrel knows; accepted: ESRGAN, SwinIR, DAT and many more; "
            "choose another file"
        ) from error
    except (RuntimeError, KeyError, ValueError, TypeError, AssertionError) as error:
        reason = " ".join(str(error).split())[:120]
        raise MissingError(f"{path.name} is damaged ({reason}); accepted: a whole model file; get it again") from error
    if not isinstance(network, spandrel.ImageModelDescriptor) or network.scale < 2:
        raise UsageError(
            f"{path.name} ({network.architecture.name}) does not enlarge pictures; accepted: networks that do, 2x or "
            "more; choose another file"
        )
    if (network.input_channels, network.output_channels) != (3, 3):
        raise UsageError(
            f"{path.name} takes {network.input_channels} channels and makes {network.output_channels}; accepted: "
            "3 and 3, RGB; choose another file"
        )
    return network
