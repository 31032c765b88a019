"""What a process may use, told by files of made-up machines and by limits of the shell."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from chain_of_zoom.resources import available_cores, available_memory, lack_of_memory, prepare_threads, total_memory

MB = 1 << 20


def machine(root, files, total=8000, available=6000, swap=0):
    sizes = {"MemTotal": total, "MemAvailable": available, "SwapFree": swap}
    files = {
        "proc/meminfo": "".join(f"{name}: {size * 1024} kB\n" for name, size in sizes.items()),
        **files,
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(text))
    return root


def group(path, limit, used, files=0, version=2):
    folder = f"sys/fs/cgroup/{path}"
    if version == 2:
        stat = f"anon {used - files}\ninactive_file {files // 2}\nactive_file {files - files // 2}\n"
        return {
            f"{folder}/memory.max": f"{limit}\n",
            f"{folder}/memory.current": f"{used}\n",
            f"{folder}/memory.stat": stat,
        }
    stat = f"inactive_file 1\nactive_file 1\ntotal_inactive_file {files}\ntotal_active_file 0\n"
    return {
        f"{folder}/memory.limit_in_bytes": f"{limit}\n",
        f"{folder}/memory.usage_in_bytes": f"{used}\n",
        f"{folder}/memory.stat": stat,
    }


@pytest.mark.parametrize(
    ("files", "total", "available"),
    [
        ({}, 8000, 6000),
        ({"proc/self/cgroup": "0::/\n", **group(".", 512 * MB, 200 * MB)}, 512, 312),
        # Pages of files that were read count as used, and give way.
        ({"proc/self/cgroup": "0::/\n", **group(".", 512 * MB, 500 * MB, files=300 * MB)}, 512, 312),
        ({"proc/self/cgroup": "0::/a/b\n", **group("a/b", "max", 50 * MB), **group("a", 700 * MB, 650 * MB)}, 700, 50),
        ({"proc/self/cgroup": "0::/../..\n", **group(".", 512 * MB, 112 * MB)}, 512, 400),
        ({"proc/self/cgroup": "0::/\n", **group(".", "max", 50 * MB)}, 8000, 6000),
        (  # a container of version 1 is told its path on the host
            {
                "proc/self/cgroup": "5:cpu,cpuacct:/docker/1\n4:memory:/docker/1\n0::/\n",
                **group("memory", 512 * MB, 500 * MB, files=100 * MB, version=1),
            },
            512,
            112,
        ),
        (
            {
                "proc/self/cgroup": "4:memory:/jobs/7\n",
                **group("memory", 9223372036854771712, 4000 * MB, version=1),
                **group("memory/jobs", 1000 * MB, 900 * MB, version=1),
                **group("memory/jobs/7", 600 * MB, 700 * MB, version=1),
            },
            600,
            0,
        ),
    ],
)
def test_the_least_of_machine_and_control_groups(tmp_path, files, total, available):
    root = machine(tmp_path, files)
    assert total_memory(root) == total * MB
    assert available_memory(root) == available * MB


def test_swap_counts_as_available_and_not_as_memory(tmp_path):
    root = machine(tmp_path, {}, available=100, swap=3000)
    assert (total_memory(root), available_memory(root)) == (8000 * MB, 3100 * MB)


@pytest.mark.parametrize(
    ("files", "most"),
    [
        ({}, None),
        ({"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/cpu.max": "100000 100000\n"}, 1),
        ({"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/cpu.max": "150000 100000\n"}, 2),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "5000 100000\n"}, 1),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, None),
        (
            {
                "proc/self/cgroup": "5:cpu,cpuacct:/docker/1\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "100000\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            },
            1,
        ),
        (
            {
                "proc/self/cgroup": "5:cpu:/\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            None,
        ),
    ],
)
def test_cores_are_those_of_the_scheduler_and_of_the_quota(tmp_path, monkeypatch, files, most):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)), raising=False)
    assert available_cores(machine(tmp_path, files)) == (most or 6)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits of the shell are checked against /proc")
@pytest.mark.parametrize("kind", ["RLIMIT_AS", "RLIMIT_DATA"])
def test_a_limit_of_the_shell_counts_less_what_is_taken(kind):
    code = (
        "import resource, chain_of_zoom.resources as r\n"
        f"resource.setrlimit(resource.{kind}, (600 << 20, 600 << 20))\n"
        "before = r.available_memory()\n"
        "taken = bytearray(100 << 20)\n"
        "print(r.total_memory() >> 20, before >> 20, before - r.available_memory() >> 20)\n"
        "print(r.available_memory() - r.available_memory(threads=10) >> 20)\n"
        "print(r.lack_of_memory(590e6))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, stacks, lack = done.stdout.splitlines()
    total, before, taken = map(int, first.split())
    assert total == 600
    assert 100 < before < 600
    assert 98 <= taken <= 104
    assert int(stacks) >= 10
    assert lack.startswith("590 MB needed, ")


def test_what_fits_is_no_lack():
    assert lack_of_memory(1) is None


@pytest.mark.parametrize(
    ("variables", "spins"),
    [({}, "0"), ({"GOMP_SPINCOUNT": "9"}, "9"), ({"OMP_WAIT_POLICY": "active"}, None)],
)
def test_threads_sleep_unless_the_environment_says_how_they_wait(monkeypatch, variables, spins):
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.setenv(name, "")  # so that it is as before when the test is over
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    prepare_threads()
    assert os.environ.get("GOMP_SPINCOUNT") == spins
