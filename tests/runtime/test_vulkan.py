"""Which device a name stands for, and that no driver can take the program down."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from chain_of_zoom.errors import UsageError
from chain_of_zoom.runtime import vulkan
from chain_of_zoom.runtime.quiet import silence
from chain_of_zoom.runtime.vulkan import VulkanDevice, VulkanSearch

SOFTWARE = VulkanDevice(index=0, name="llvmpipe", kind="software", memory=1 << 30)
INSIDE = VulkanDevice(index=1, name="Iris", kind="integrated", memory=4 << 30)
CARD = VulkanDevice(index=2, name="Arc", kind="discrete", memory=8 << 30)


@pytest.fixture(autouse=True)
def ask_anew():
    vulkan.find_devices.cache_clear()
    yield
    vulkan.find_devices.cache_clear()


@pytest.fixture
def machine(monkeypatch):
    """A machine with these devices."""

    def make(*devices: VulkanDevice, problem: str | None = None, files: bool = True) -> None:
        monkeypatch.setattr(vulkan, "find_devices", lambda: VulkanSearch(devices, problem))
        monkeypatch.setattr(vulkan, "may_have_gpu", lambda: files)

    return make


@pytest.mark.parametrize(
    ("devices", "name", "chosen"),
    [
        ((SOFTWARE, INSIDE, CARD), "auto", CARD),
        ((SOFTWARE, INSIDE), "gpu", INSIDE),
        ((SOFTWARE, INSIDE, CARD), "gpu:1", INSIDE),
        ((SOFTWARE, INSIDE, CARD), "gpu:0", SOFTWARE),
        ((SOFTWARE, INSIDE, CARD), "cpu", None),
        ((SOFTWARE,), "auto", None),
        ((), "auto", None),
    ],
)
def test_the_best_gpu_is_chosen_and_software_only_by_number(machine, devices, name, chosen):
    machine(*devices)
    assert vulkan.choose(name) == (chosen, None)


@pytest.mark.parametrize(
    ("devices", "name", "says"),
    [
        ((), "gpu", "no Vulkan device"),
        ((SOFTWARE,), "gpu", "gpu:0 is llvmpipe, software"),
        ((CARD,), "gpu:7", "gpu:2 is Arc, discrete"),
    ],
)
def test_a_gpu_that_is_not_there_is_a_usage_error(machine, devices, name, says):
    machine(*devices)
    with pytest.raises(UsageError, match=says):
        vulkan.choose(name)


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "gpu:", "gpu:-1", "gpu:x", "", "GPU", "cpu:0"])
def test_other_names_are_refused(name):
    with pytest.raises(UsageError, match="accepted: auto, cpu, gpu, gpu:N"):
        vulkan.check_name(name)


def test_without_a_device_file_nobody_is_asked(machine, monkeypatch):
    machine(CARD, files=False)
    monkeypatch.setattr(vulkan, "find_devices", None)
    assert vulkan.choose("auto") == vulkan.choose("cpu") == (None, None)


@pytest.mark.parametrize(
    ("probe", "problem"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "crashed when asked"),
        ("import os; os._exit(3)", r"crashed when asked \(exit code 3\)"),
    ],
)
def test_a_driver_that_crashes_is_a_reason_for_the_cpu(monkeypatch, probe, problem):
    monkeypatch.setattr(vulkan, "_PROBE", probe)
    monkeypatch.setattr(vulkan, "may_have_gpu", lambda: True)
    device, why = vulkan.choose("auto")
    assert device is None
    with pytest.raises(UsageError, match=problem):
        vulkan.choose("gpu")
    assert why == vulkan.find_devices().problem


def test_a_driver_that_hangs_is_one_too(monkeypatch):
    def hang(*args, **kwargs):
        raise subprocess.TimeoutExpired("", 30)

    monkeypatch.setattr(subprocess, "run", hang)
    assert vulkan.find_devices() == VulkanSearch(problem="the Vulkan driver gave no answer (TimeoutExpired)")


def test_no_driver_is_no_device(monkeypatch):
    monkeypatch.setenv("VK_ICD_FILENAMES", "/nonexistent")
    monkeypatch.setenv("VK_DRIVER_FILES", "/nonexistent")
    assert vulkan.find_devices() == VulkanSearch()


def test_the_question_takes_nothing_from_the_current_folder(tmp_path, monkeypatch):
    """A folder of photos may hold anything, also a file named ncnn.py."""
    (tmp_path / "ncnn.py").write_text("raise SystemExit(9)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    monkeypatch.setenv("VK_ICD_FILENAMES", "/nonexistent")
    assert vulkan.find_devices().problem is None


def test_silence_is_for_a_moment(capfd):
    with silence(2):
        os.write(2, b"from a library")
    os.write(2, b"from us")
    assert capfd.readouterr().err == "from us"
