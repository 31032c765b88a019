"""Choose where a model runs and in which precision: ask torch what is there and hand it to the policy of `plan`."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import replace

import torch

from chain_of_zoom.errors import ShortageError, UsageError
from chain_of_zoom.resources import lack_of_memory
from chain_of_zoom.runtime.locking import lock_weights
from chain_of_zoom.runtime.plan import Need, Placement, plan
from chain_of_zoom.runtime.residence import Residence
from chain_of_zoom.runtime.retry import name_dtype

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def choose_device(name: str = "auto") -> torch.device:
    """Find a torch device; "auto" is the GPU when there is one, "gpu" is cuda. Raises UsageError for one not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device("cuda" + name[3:] if name.partition(":")[0] == "gpu" else name)
        if device.type not in ("cpu", "cuda", "mps"):  # a kind that torch can name and nothing here runs on
            raise RuntimeError(device)
    except RuntimeError:
        raise UsageError(f"device {name!r}; accepted: auto, cpu, gpu, cuda, cuda:N; for example --device cpu") from None
    if device.type == "cuda" and (not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()):
        raise UsageError(f"device {name} is not there; accepted: auto, cpu; type: --device cpu, and see coz doctor")
    return device


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """Find a float type; "auto" is the short one of a GPU (`choose_half`), float32 elsewhere. Raises UsageError.

    On a CPU half precision is hundreds of times slower, but for bfloat16 where the CPU has instructions for it.
    """
    if name == "auto":
        return choose_half(device) if device.type == "cuda" else torch.float32
    if name not in _DTYPES:
        raise UsageError(f"dtype {name!r}; accepted: auto, {', '.join(_DTYPES)}; for example --dtype float32")
    if device.type == "cpu" and name != "float32" and not (name == "bfloat16" and cpu_has_bfloat16()):
        raise UsageError(
            f"dtype {name} on a CPU like this is hundreds of times slower; accepted: float32; type: --dtype float32"
        )
    return _DTYPES[name]


def choose_half(device: torch.device | str) -> torch.dtype:
    """Choose the short float type of a GPU: bfloat16 where it computes in it (from Ampere on), else float16."""
    return torch.bfloat16 if torch.cuda.get_device_capability(device) >= (8, 0) else torch.float16


def list_half_types() -> dict[str, str]:
    """Return the name of the short float type of every GPU, by its torch name."""
    if not torch.cuda.is_available():
        return {}
    devices = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    return {device: name_dtype(choose_half(device)) for device in devices}


def can_compile() -> bool:
    """Tell whether torch compiles for these GPUs: it needs triton, and from the second GPU on torch 2.13."""
    version = tuple(int(number) for number in torch.__version__.split(".")[:2])
    return importlib.util.find_spec("triton") is not None and (torch.cuda.device_count() < 2 or version >= (2, 13))


def cpu_has_bfloat16() -> bool:
    """Tell whether the CPU computes in bfloat16 itself (AVX-512 BF16, AMX)."""
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16"))


def find_dtype(name: str) -> torch.dtype:
    """Return the torch type that a placement calls `name`."""
    return _DTYPES[name]


def measure_free_memory() -> dict[str, int]:
    """Return the free bytes of every GPU, by its torch name."""
    if not torch.cuda.is_available():
        return {}
    return {f"cuda:{index}": torch.cuda.mem_get_info(index)[0] for index in range(torch.cuda.device_count())}


def place(needs: Sequence[Need], *, pictures: int = 1) -> Residence:
    """Plan with the memory that is free now.

    Raises UsageError for an absent device or precision, BackboneError where the GPU has too little memory, and
    ShortageError where this machine has too little for the weights that wait off the GPU.
    """
    resolved = []
    for need in needs:
        device = choose_device(need.device)
        choose_dtype(need.dtype, device)
        name = need.device
        if name != "auto":
            name = f"cuda:{device.index or 0}" if device.type == "cuda" else str(device)
        resolved.append(replace(need, device=name))
    free = measure_free_memory()
    placement = plan(free, resolved, pictures=pictures, half=list_half_types(), can_compile=can_compile())
    check_host_memory(placement)
    return Residence(placement, lock_weights)


def check_host_memory(placement: Placement) -> None:
    """Raises ShortageError where the weights that stay in this machine's memory, or are read through it, do not fit."""
    waiting = [part for part in placement.parts if part.device == "cpu" or part.part.stage not in placement.pinned]
    # The largest is read here, whole, before it becomes int8 or goes to its GPU.
    largest = max((part.part.weights(part.dtype) for part in placement.parts), default=0)
    if lack := lack_of_memory(max(sum(part.weights for part in waiting), largest)):
        raise ShortageError(
            f"not enough memory for the weights that wait outside the GPU: {lack}; accepted: a machine with more, or "
            "fewer models; close other programs, or type: --memory low"
        )
