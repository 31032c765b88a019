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
    """Find a torch device; "auto" is the GPU of CUDA when there is one. Raises UsageError for one that is not there.

    "gpu" is cuda, on a Mac Apple's GPU (mps). "auto" is never that: nothing here was seen running on one.
    """
    has_cuda, has_mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if name == "auto":
        return torch.device("cuda" if has_cuda else "cpu")
    if name == "gpu" and has_mps and not has_cuda:
        name = "mps"
    try:
        device = torch.device("cuda" + name[3:] if name.partition(":")[0] == "gpu" else name)
        if device.type not in ("cpu", "cuda", "mps"):  # a kind that torch can name and nothing here runs on
            raise RuntimeError(device)
    except RuntimeError:
        raise UsageError(
            f"device {name!r}; accepted: auto, cpu, gpu, cuda, cuda:N, mps; for example --device cpu"
        ) from None
    count = {"cpu": 1, "cuda": torch.cuda.device_count() if has_cuda else 0, "mps": int(has_mps)}
    if (device.index or 0) >= count[device.type]:
        raise UsageError(f"device {name} is not there; accepted: auto, cpu; type: --device cpu, and see coz doctor")
    return device


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """Find a float type; "auto" is the short one of a GPU (`choose_half`), float32 elsewhere. Raises UsageError.

    On a CPU half precision is hundreds of times slower, but for bfloat16 where the CPU has instructions for it.
    """
    if name == "auto":
        return torch.float32 if device.type == "cpu" else choose_half(device)
    if name not in _DTYPES:
        raise UsageError(f"dtype {name!r}; accepted: auto, {', '.join(_DTYPES)}; for example --dtype float32")
    if device.type == "cpu" and name != "float32" and not (name == "bfloat16" and cpu_has_bfloat16()):
        raise UsageError(
            f"dtype {name} on a CPU like this is hundreds of times slower; accepted: float32; type: --dtype float32"
        )
    if device.type == "mps" and name == "bfloat16" and choose_half(device) != torch.bfloat16:
        raise UsageError(
            "dtype bfloat16 on Apple's GPU needs macOS 14; accepted: auto, float16, float32; type: --dtype float16"
        )
    return _DTYPES[name]


def choose_half(device: torch.device | str) -> torch.dtype:
    """Choose the short float type of a GPU: bfloat16 where it has that (Ampere, macOS 14, and later), else float16."""
    if torch.device(device).type == "mps":
        has_bfloat16 = bool(torch.backends.mps.is_macos_or_newer(14, 0))
    else:
        has_bfloat16 = torch.cuda.get_device_capability(device) >= (8, 0)
    return torch.bfloat16 if has_bfloat16 else torch.float16


def list_half_types() -> dict[str, str]:
    """Return the name of the short float type of every GPU, by its torch name."""
    devices = [f"cuda:{index}" for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    devices += ["mps"] * torch.backends.mps.is_available()
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
            name = f"cuda:{device.index or 0}" if device.type == "cuda" else device.type
        resolved.append(replace(need, device=name))
    free = measure_free_memory()
    placement = plan(free, resolved, pictures=pictures, half=list_half_types(), can_compile=can_compile())
    check_host_memory(placement)
    return Residence(placement, lock_weights)


def check_host_memory(placement: Placement) -> None:
    """Raises ShortageError where the weights that stay in this machine's memory, or are read through it, do not fit."""
    waiting = [
        part
        for part in placement.parts
        if part.device in ("cpu", "mps") or part.part.stage not in placement.pinned  # Apple's GPU has the same memory
    ]
    # The largest is read here, whole, before it becomes int8 or goes to its GPU.
    largest = max((part.part.weights(part.dtype) for part in placement.parts), default=0)
    if lack := lack_of_memory(max(sum(part.weights for part in waiting), largest)):
        raise ShortageError(
            f"not enough memory for the weights that wait outside the GPU: {lack}; accepted: a machine with more, or "
            "fewer models; close other programs, or type: --memory low"
        )
