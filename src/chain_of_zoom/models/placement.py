"""Where a model runs and in which precision."""

from __future__ import annotations

import torch

from chain_of_zoom.errors import UsageError

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def choose_device(name: str = "auto") -> torch.device:
    """A torch device; "auto" is the GPU when there is one, "gpu" is cuda. Raises UsageError for one not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device("cuda" + name[3:] if name.partition(":")[0] == "gpu" else name)
    except RuntimeError:
        raise UsageError(f"device {name!r}; accepted: auto, cpu, gpu, cuda, cuda:N; for example --device cpu") from None
    if device.type == "cuda" and (not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()):
        raise UsageError(f"device {name} is not there; accepted: auto, cpu; type: --device cpu, and see coz doctor")
    return device


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """A float type; "auto" is bfloat16 on a GPU, float32 elsewhere. Half precision on a CPU is refused: 600x slower."""
    if name == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    if name not in _DTYPES:
        raise UsageError(f"dtype {name!r}; accepted: auto, {', '.join(_DTYPES)}; for example --dtype float32")
    if device.type == "cpu" and name != "float32":
        raise UsageError(f"dtype {name} on a CPU is hundreds of times slower; accepted: float32; type: --dtype float32")
    return _DTYPES[name]
