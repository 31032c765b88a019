"""What this process may use of the machine: the least of what the system, its container and the shell allow."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

ROOT = Path("/")
WINDOWS = os.name == "nt"
CORES = "COZ_CORES"
"""The variable that says how many cores a process may take at most, such as one of many workers on a machine."""
_GROUP_FILES = (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes"))  # v2 and v1
_STACK = 8 << 20  # bytes of a thread, where the shell names no limit


def available_cores(root: Path = ROOT) -> int:
    """Count the cores that the scheduler gives this process: at most $COZ_CORES and the quota of its control groups."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for group in _groups(root, "cpu"):
        quota = _numbers(group / "cpu.max")
        quota = quota or [*_numbers(group / "cpu.cfs_quota_us"), *_numbers(group / "cpu.cfs_period_us")]
        if len(quota) == 2 and quota[0] > 0:
            cores = min(cores, -(-quota[0] // quota[1]))
    limit = os.environ.get(CORES, "")
    return min(cores, int(limit)) if limit.isdecimal() and int(limit) else cores


def total_memory(root: Path = ROOT) -> int | None:
    """Return the bytes that this process may have in all, or None where nobody says."""
    return min((limit for limit, _ in _limits(root)), default=None)


def available_memory(root: Path = ROOT, threads: int = 0) -> int | None:
    """Return the bytes that this process may still take, swap included, or None where nobody says.

    threads: that are about to be started; their stacks take room where the address space is limited.
    """
    return min((max(limit - used, 0) for limit, used in _limits(root, threads)), default=None)


def lack_of_memory(needed: float, threads: int = 0) -> str | None:
    """Say how much memory is needed (bytes) and how much is allowed; None where so much fits, or nobody says."""
    room = available_memory(threads=threads)
    if room is None or needed <= room:
        return None
    return f"{human_size(needed)} needed, {human_size(room)} allowed"


def resident_memory(root: Path = ROOT) -> int | None:
    """Return the bytes of memory that this process takes now, or None where nobody says."""
    pages = _numbers(root / "proc/self/statm")
    return pages[1] * os.sysconf("SC_PAGE_SIZE") if len(pages) > 1 else None


def prepare_threads() -> None:
    """Prepare the process for the threads of a network; called before the first import of what runs it.

    They sleep while they wait for each other: ncnn's OpenMP would let them spin, which takes the cores that others need
    (docs/performance.md), unless the user's environment says how they wait. Where the address space is limited they
    share one heap, since glibc reserves 64 MB for each other.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "0")  # libgomp reads it when it is loaded
    if any(_limits_of_process(ROOT, 0)):
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).mallopt(-8, 1)  # M_ARENA_MAX


def human_size(count: float) -> str:
    """A number of bytes in words, two digits: "7.5 GB", "70 MB"."""
    units = ["TB", "GB", "MB", "kB", "bytes"]
    unit = units.pop()
    while count >= 999.5 and units:
        unit, count = units.pop(), count / 1000
    return f"{count:.0f} {unit}" if count >= 9.95 else f"{round(count, 1):g} {unit}"


def _limits(root: Path, threads: int = 0) -> Iterator[tuple[int, int]]:
    """Yield (limit, used) in bytes: of the machine, of every control group around the process, and of the process."""
    machine = _table(root / "proc/meminfo")
    if "MemTotal:" in machine and "MemAvailable:" in machine:
        free = machine["MemAvailable:"] + machine.get("SwapFree:", 0)
        yield machine["MemTotal:"] * 1024, (machine["MemTotal:"] - free) * 1024
    elif WINDOWS:
        total, free = _read_windows_memory()
        yield total, total - free
    elif "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {}):
        yield os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), 0
    for group in _groups(root, "memory"):
        for limit, usage in _GROUP_FILES:
            if numbers := _numbers(group / limit):
                # Pages of files count as used, but give way to whatever asks for memory.
                pages = _table(group / "memory.stat")
                prefix = "total_" if "total_inactive_file" in pages else ""
                files = pages.get(f"{prefix}inactive_file", 0) + pages.get(f"{prefix}active_file", 0)
                yield numbers[0], max(sum(_numbers(group / usage)) - files, 0)
    yield from _limits_of_process(root, threads)


class _MemoryStatus(ctypes.Structure):
    """Mirrors MEMORYSTATUSEX of Windows."""

    _fields_ = (
        ("length", ctypes.c_uint32), ("load", ctypes.c_uint32), ("total", ctypes.c_uint64), ("free", ctypes.c_uint64),
        ("pagefile_total", ctypes.c_uint64), ("pagefile_free", ctypes.c_uint64), ("virtual_total", ctypes.c_uint64),
        ("virtual_free", ctypes.c_uint64), ("extended_free", ctypes.c_uint64),
    )  # fmt: skip


def _read_windows_memory() -> tuple[int, int]:
    """Return the bytes of memory of the machine, and those that are free with the page file that backs them."""
    status = _MemoryStatus(length=ctypes.sizeof(_MemoryStatus))
    library: Any = getattr(ctypes, "windll")  # noqa: B009 - only there on Windows, which mypy knows
    library.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))
    return status.total, min(status.total, status.pagefile_free)


def _limits_of_process(root: Path, threads: int) -> Iterator[tuple[int, int]]:
    """Yield (limit, used) of the address space and of the data segment, where the shell set one (ulimit -v and -d)."""
    try:
        import resource
    except ImportError:  # Windows
        return
    pages = _numbers(root / "proc/self/statm")
    if len(pages) > 5:
        stack = resource.getrlimit(resource.RLIMIT_STACK)[0]
        stacks = threads * (_STACK if stack == resource.RLIM_INFINITY else stack)
        for kind, used in ((resource.RLIMIT_AS, pages[0]), (resource.RLIMIT_DATA, pages[5])):
            limit = resource.getrlimit(kind)[0]
            if limit != resource.RLIM_INFINITY:
                yield limit, used * resource.getpagesize() + stacks


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of the control groups that the process is in, each followed by those around it.

    A container sees its own group as the top one, though its path may be the host's: what is not there has no limit.
    """
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if not controllers or controller in controllers.split(","):
            names = PurePosixPath(path).parts[1:]
            for depth in range(len(names), -1, -1):
                yield (root / "sys/fs/cgroup" / controllers).joinpath(*names[:depth])


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []


def _numbers(path: Path) -> list[int]:
    """Read the numbers of a file's first line; none where there is no file, or it names no limit ("max")."""
    words = [word for line in _lines(path)[:1] for word in line.split()]
    return [int(word) for word in words] if all(word.lstrip("-").isdecimal() for word in words) else []


def _table(path: Path) -> dict[str, int]:
    """Read a file of a name and a number a line."""
    rows = [line.split() for line in _lines(path)]
    return {row[0]: int(row[1]) for row in rows if len(row) > 1 and row[1].isdecimal()}
