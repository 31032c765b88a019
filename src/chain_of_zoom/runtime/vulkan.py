"""Find and use GPUs by ncnn's Vulkan: which there are, which one to use, and the one instance of the process."""

from __future__ import annotations

import atexit
import json
import sys
import threading
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any
from weakref import WeakSet

from chain_of_zoom.errors import UsageError
from chain_of_zoom.parsing import parse_whole
from chain_of_zoom.runtime.quiet import silence

KINDS = ("discrete", "integrated", "virtual", "software")  # ncnn's numbers, and the order of preference
ACCEPTED = "accepted: auto, cpu, gpu, gpu:N, and in torch cuda, cuda:N, mps"

# Run apart: a broken driver may crash or hang whoever asks it.
_PROBE = """
import json, ncnn
for index in range(ncnn.get_gpu_count()):
    info = ncnn.get_gpu_info(index)
    print(json.dumps([index, info.device_name(), info.type(), ncnn.get_gpu_device(index).get_heap_budget()]))
"""


@dataclass(frozen=True, kw_only=True)
class VulkanDevice:
    """Describes a device of Vulkan."""

    index: int
    """Its number, as in "gpu:0"."""
    name: str
    """Its name, by its driver."""
    kind: str
    """One of KINDS; "software" computes on the CPU, slower than ncnn does."""
    memory: int
    """Free bytes."""

    @property
    def label(self) -> str:
        """Return what records call it."""
        return f"{self.name} (Vulkan)"


@dataclass(frozen=True)
class VulkanSearch:
    """Holds the result of a search for devices."""

    devices: tuple[VulkanDevice, ...] = ()
    """The devices of this machine."""
    problem: str | None = None
    """What went wrong in the search; None where nothing did."""

    def as_json(self) -> list[dict[str, Any]]:
        """Return the devices as `coz doctor --json` prints them."""
        return [asdict(device) for device in self.devices]


def may_have_gpu() -> bool:
    """Tell whether a search may find any: on Linux, whether a device file is there; elsewhere, yes."""
    if sys.platform != "linux":
        return True
    return any(any(Path("/dev").glob(pattern)) for pattern in ("dri/renderD*", "nvidia[0-9]*", "dxg"))


@cache
def find_devices() -> VulkanSearch:
    """Find every Vulkan device of this machine; a process of its own asks, once."""
    import subprocess  # slow to import

    if not sys.executable or getattr(sys, "frozen", False):  # nothing here can run the probe
        return VulkanSearch(problem="this program cannot ask for GPUs when packed into one file")
    paths = json.dumps([path for path in sys.path if path])  # the same packages, but not those of the current folder
    command = [sys.executable, "-I", "-c", f"import sys; sys.path[:] = {paths}\n{_PROBE}"]
    try:
        process = subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return VulkanSearch(problem=f"the Vulkan driver gave no answer ({type(error).__name__})")
    if process.returncode:
        return VulkanSearch(problem=f"the Vulkan driver crashed when asked (exit code {process.returncode})")
    rows = [json.loads(line) for line in process.stdout.splitlines() if line.startswith("[")]
    return VulkanSearch(
        tuple(
            VulkanDevice(index=index, name=name, kind=KINDS[kind], memory=budget << 20)
            for index, name, kind, budget in rows
        )
    )


def check_name(name: str) -> None:
    """Raise UsageError for a device name that means nothing here."""
    kind, colon, number = name.partition(":")
    if name not in ("auto", "cpu", "gpu") and not (kind == "gpu" and colon and parse_whole(number) is not None):
        raise UsageError(f"device {name!r}; {ACCEPTED}; for example --device gpu")


def choose(name: str) -> tuple[VulkanDevice | None, str | None]:
    """Return the device that a name stands for, None for the CPU; and why it is the CPU where a GPU was possible.

    "auto" and "gpu" are the best GPU, never a software device, which only its number chooses: it is slower than the
    CPU. Raises UsageError for a GPU that is not there.
    """
    check_name(name)
    if name == "cpu" or (name == "auto" and not may_have_gpu()):
        return None, None
    search = find_devices()
    if name in ("auto", "gpu"):
        usable = [device for device in search.devices if device.kind != "software"]
    else:
        usable = [device for device in search.devices if device.index == parse_whole(name.partition(":")[2])]
    if usable:
        return min(usable, key=lambda device: KINDS.index(device.kind)), None
    if name == "auto":
        return None, search.problem
    here = ", ".join(f"gpu:{device.index} is {device.name}, {device.kind}" for device in search.devices)
    raise UsageError(
        f"device {name} is not there ({search.problem or here or 'no Vulkan device'}); accepted: auto, cpu"
        f"{', or the number of a device' if here else ''}; type: --device cpu, and see coz doctor"
    )


_nets: WeakSet[Any] = WeakSet()
_lock = threading.Lock()
_started = False


def start(ncnn: Any, net: Any, device: VulkanDevice) -> None:
    """Move an empty net to a device, in plain float32. The net is cleared before the process ends."""
    global _started
    with _lock:
        if not _started:
            with silence(2):  # ncnn prints what it finds
                ncnn.create_gpu_instance()
            atexit.register(_stop, ncnn)
            _started = True
    net.opt.use_vulkan_compute = True
    # Half precision moves RealSR by up to 4 grey levels; in float32 no pixel moves by 1% of one.
    for kind in ("fp16", "bf16", "int8"):
        for use in ("packed", "storage", "arithmetic"):
            with suppress(AttributeError):  # ncnn has no bf16 arithmetic, and its versions differ
                setattr(net.opt, f"use_{kind}_{use}", False)
    net.set_vulkan_device(device.index)
    _nets.add(net)


def _stop(ncnn: Any) -> None:
    """Clear all nets and end the instance: a net that outlives it crashes the process."""
    for net in list(_nets):
        net.clear()
    ncnn.destroy_gpu_instance()
