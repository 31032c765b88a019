"""The embedded networks by MNN, from the same weights: RRDB in about 0.6 of ncnn's time on a CPU (docs/performance.md).

Its converter reads ONNX (onnx_file.py) once; the result lies in the user's cache folder. Its package MNN.tools is never
imported: what that logs goes to a server of its authors.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import threading
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from chain_of_zoom.errors import BackboneError
from chain_of_zoom.files import make_folder, write_atomic
from chain_of_zoom.imaging.images import RGB8, RGBF
from chain_of_zoom.networks.rrdb.ncnn_weights import read_network
from chain_of_zoom.networks.rrdb.onnx_file import format_onnx
from chain_of_zoom.resources import prepare_threads
from chain_of_zoom.runtime.quiet import silence
from chain_of_zoom.weights.hub import cache_folder

# Run apart: it prints, it takes memory that it keeps, and what is damaged may crash it.
_CONVERT = "import _tools; _tools.mnnconvert(['', '-f', 'ONNX', '--modelFile', {source!r}, '--MNNModel', {target!r}])"
_DIGEST = hashlib.sha256().digest_size
# MNN chooses how to compute a convolution when it first hears of a size, and stays with it. Told of a small one it
# takes 225 MB less and is five times closer to ncnn, in the same time; and no result depends on which window was first.
_FIRST_SIDE = 16


def convert(param: Path, weights: Path, sha256: str) -> Path:
    """Return the network as MNN reads it, from the cache folder, where it is made if it is not there or damaged.

    sha256: of the two files. The file ends with the SHA-256 of all before it, which MNN does not read.
    Raises ValueError for damaged weights, OutputError where it cannot be written, BackboneError if the converter fails.
    """
    path = cache_folder() / "mnn" / f"{sha256}-{metadata.version('MNN')}.mnn"
    if _is_whole(path):
        return path
    make_folder(path.parent)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        source, target = Path(folder) / "network.onnx", Path(folder) / "network.mnn"
        write_atomic(source, format_onnx(read_network(param, weights)))
        command = [sys.executable, "-c", _CONVERT.format(source=str(source), target=str(target))]
        process = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)
        if process.returncode or not target.is_file():
            raise BackboneError(
                f"MNN's converter failed on {weights.name} (exit code {process.returncode}); "
                "type: --set backbone.runtime=ncnn"
            )
        data = target.read_bytes()
    write_atomic(path, data + hashlib.sha256(data).digest())
    return path


def _is_whole(path: Path) -> bool:
    try:
        data = memoryview(path.read_bytes())
    except OSError:
        return False
    return bytes(data[-_DIGEST:]) == hashlib.sha256(data[:-_DIGEST]).digest()


class MnnNetwork:
    """A network on the CPU, called with one window at a time, from any thread."""

    label: str
    """What records call the device, "cpu (mnn 3.6.1)": its results differ from ncnn's by a fraction of a grey level."""

    def __init__(self, path: Path, threads: int) -> None:
        prepare_threads()
        with silence(1):  # it prints what the processor can do
            import MNN
        self._tensor, self._float, self._order = MNN.Tensor, MNN.Halide_Type_Float, MNN.Tensor_DimensionType_Caffe
        self.label = f"cpu (mnn {metadata.version('MNN')})"
        self._lock = threading.Lock()
        self._network = MNN.Interpreter(str(path))
        self._session = self._network.createSession({"backend": "CPU", "numThread": threads})
        self._input: Any = self._network.getSessionInput(self._session)
        self._shape: tuple[int, ...] = ()
        self._resize((1, 3, _FIRST_SIDE, _FIRST_SIDE))

    def __call__(self, window: RGB8) -> RGBF:
        """Map a window (uint8, h x w x 3) to float32, 4h x 4w x 3, about [0, 1]. Raises MemoryError."""
        planes = np.ascontiguousarray(window.transpose(2, 0, 1)[None], dtype=np.float32) / np.float32(255)
        with self._lock:  # a session computes one window at a time
            self._resize(planes.shape)
            self._input.copyFrom(self._tensor(planes.shape, self._float, planes, self._order))
            if self._network.runSession(self._session):
                raise MemoryError
            output = self._network.getSessionOutput(self._session)
            shape = output.getShape()
            enlarged = self._tensor(shape, self._float, np.empty(shape, np.float32), self._order)
            output.copyToHostTensor(enlarged)
        pixels: RGBF = np.ascontiguousarray(enlarged.getNumpyData().reshape(shape)[0].transpose(1, 2, 0))
        return pixels

    def _resize(self, shape: tuple[int, ...]) -> None:
        if shape != self._shape:
            self._network.resizeTensor(self._input, shape)
            self._network.resizeSession(self._session)
            self._shape = shape
