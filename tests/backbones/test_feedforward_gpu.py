"""The embedded networks on a GPU: on whatever Vulkan driver is there, and on pretended ones that fail."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from conftest import PHOTO, noise

from chain_of_zoom import ChainOfZoom, load_backbone
from chain_of_zoom.backbones.feedforward import FeedForward
from chain_of_zoom.errors import BackboneError, UsageError
from chain_of_zoom.runtime import vulkan
from chain_of_zoom.runtime.vulkan import VulkanDevice, VulkanSearch

CARD = VulkanDevice(index=0, name="Pretended", kind="discrete", memory=8 << 30)


@pytest.fixture
def device() -> VulkanDevice:
    """The best device there is, a software one if need be."""
    found = vulkan.find_devices()
    if not found.devices:
        pytest.skip(f"no Vulkan device ({found.problem or 'no driver'}); apt-get install mesa-vulkan-drivers")
    return min(found.devices, key=lambda each: vulkan.KINDS.index(each.kind))


def levels(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).max() * 255)


@pytest.mark.parametrize("name", ["animevideo", "realsr"])
def test_it_computes_what_the_cpu_computes(astronaut, device, name):
    """2 grey levels are promised; float32 gives 0.003 (llvmpipe, all of the astronaut), half precision 4."""
    if name == "realsr" and device.kind == "software":
        pytest.skip("RealSR takes half a minute on a software device")
    crop = astronaut[90:122, 200:248]
    backbone = load_backbone(name, device=f"gpu:{device.index}")
    (computed,) = backbone([crop])
    assert backbone.runs_on() == f"{device.name} (Vulkan)"
    on_cpu = load_backbone(name, device="cpu")
    assert levels(computed, on_cpu([crop])[0]) < 0.5
    assert on_cpu.runs_on() == "cpu"
    np.testing.assert_array_equal(computed, backbone([noise(20, 24), crop])[1])


def test_a_run_on_it_ends_well_or_badly_and_is_not_resumed_elsewhere(coz_process, coz, device, tmp_path):
    """Nothing on stderr, where ncnn likes to talk; and a net that outlives Vulkan would crash at the exit."""
    args = ("zoom", PHOTO, "--backbone", "animevideo", "--size", "64x64", "--zoom", "16", "-o", "out", "--device")
    on_gpu = coz_process(*args, f"gpu:{device.index}")
    assert (on_gpu.returncode, on_gpu.stderr) == (0, "")
    assert f"note: animevideo ran on {device.name} (Vulkan)" in on_gpu.stdout
    record = json.loads((tmp_path / "out" / "record.json").read_bytes())
    assert record["device"] == f"{device.name} (Vulkan)"
    assert record["states"][-1]["fallbacks"] == []
    refused = coz_process(*args, f"gpu:{device.index}", "--seed", 1)
    assert (refused.returncode, refused.stderr.count("\n")) == (4, 1), refused.stderr
    on_cpu = coz(*args, "cpu")
    assert on_cpu.returncode == 4
    assert f"holds another run: other device ({device.name} (Vulkan), now cpu)" in on_cpu.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("asked", "code"), [("auto", 0), ("gpu", 2)])
def test_without_a_driver_auto_is_the_cpu_and_gpu_an_error(coz, monkeypatch, tmp_path, asked, code):
    for name in ("VK_ICD_FILENAMES", "VK_DRIVER_FILES"):
        monkeypatch.setenv(name, "/nonexistent")
    monkeypatch.setattr(vulkan, "may_have_gpu", lambda: True)
    monkeypatch.setattr(vulkan, "find_devices", vulkan.find_devices.__wrapped__)
    done = coz("zoom", PHOTO, "--backbone", "animevideo", "--device", asked, "--size", "48x48", "--json", "-o", "out")
    assert done.returncode == code
    if asked == "auto":
        assert json.loads(done.stdout)["device"] == "cpu"
        assert done.stderr == ""
    else:
        assert done.stderr.startswith("error: device gpu is not there (no Vulkan device)")
        assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_run_goes_on_wherever_it_resolves_to_the_same_device(coz, monkeypatch):
    monkeypatch.setattr(vulkan, "may_have_gpu", lambda: False)
    args = ("zoom", PHOTO, "--backbone", "animevideo", "--size", "64x64", "-o", "out", "--set", "backbone.threads=1")
    assert coz(*args).returncode == 0
    assert coz(*args, "--device", "cpu").stdout.count("kept from before") == 4
    refused = coz(*args, "--device", "cpu", "--set", "backbone.threads=2")
    assert "other options" in refused.stderr
    assert "threads" in refused.stderr


@pytest.fixture
def pretend(monkeypatch):
    """A GPU whose nets are the CPU's, and whose passes are made by a function of net, window and count."""
    monkeypatch.setattr(vulkan, "may_have_gpu", lambda: True)
    monkeypatch.setattr(vulkan, "find_devices", lambda: VulkanSearch((CARD,)))
    monkeypatch.setattr(vulkan, "start", lambda ncnn, net, device: gpu_nets.append(net))
    gpu_nets: list[object] = []
    plain = FeedForward._pass
    count = 0

    def make(change):
        def changed(self, net, window):
            nonlocal count
            result = plain(self, net, window)
            if not any(net is other for other in gpu_nets):
                return result
            count += 1
            return change(result, count)

        monkeypatch.setattr(FeedForward, "_pass", changed)

    return make


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "why"),
    [(lambda r: None, "ran out of memory"), (lambda r: r * np.float32("nan"), "computed NaN")],
)
def test_what_it_cannot_do_the_cpu_does_and_the_states_say_so(astronaut, pretend, change, why):
    pretend(lambda result, count: result if count <= 2 else change(result))  # 1 is the trial at load
    chain = ChainOfZoom("animevideo", backbone_options={"device": "gpu", "threads": 1})
    request = {"magnification": 256, "size": (48, 48)}
    states = list(chain.zoom(astronaut, **request))
    notes = [state.fallbacks for state in states if state.origin == "generated"]
    assert notes == [(), *[(f"made on the CPU: Pretended {why}",)] * 2]
    assert chain.backbone.runs_on() == "cpu"
    expected = list(
        ChainOfZoom("animevideo", backbone_options={"device": "cpu", "threads": 1}).zoom(astronaut, **request)
    )
    np.testing.assert_array_equal(states[-1].image, expected[-1].image)


@pytest.mark.parametrize("wrong", [lambda r: None, lambda r: r * np.float32("nan"), lambda r: r + np.float32(0.01)])
def test_one_that_computes_nonsense_is_found_out_before_the_first_picture(pretend, wrong):
    pretend(lambda result, count: wrong(result))
    told = []
    backbone = load_backbone("animevideo", threads=1)
    (result,) = backbone([noise(24, 24)], on_fallback=lambda index, what: told.append((index, what)))
    assert told == [(0, "made on the CPU: Pretended does not compute what the CPU computes")]
    np.testing.assert_array_equal(result, load_backbone("animevideo", device="cpu", threads=1)([noise(24, 24)])[0])
    with pytest.raises(BackboneError, match="Pretended does not compute .* type: --device cpu"):
        load_backbone("animevideo", device="gpu", threads=1).load()


@pytest.mark.slow
def test_little_memory_means_smaller_tiles_and_too_little_the_cpu(pretend, monkeypatch):
    pretend(lambda result, count: result)

    def loaded(megabytes: int, asked: str = "auto") -> FeedForward:
        monkeypatch.setattr(vulkan, "find_devices", lambda: VulkanSearch((replace(CARD, memory=megabytes << 20),)))
        backbone = FeedForward("animevideo", 1, asked)
        backbone.load()
        return backbone

    assert loaded(4000).info.max_pixels == load_backbone("animevideo", threads=1).info.max_pixels
    small = loaded(170)
    told = []
    small([noise(100, 150)], on_fallback=lambda index, what: told.append(what))
    assert small.runs_on() == "Pretended (Vulkan)"
    assert 56**2 < small.info.max_pixels < 120**2
    assert "tiles" in told[0]
    assert loaded(100).runs_on() == "cpu"
    with pytest.raises(BackboneError, match="too little free memory .100 MB"):
        loaded(100, "gpu")


def test_a_crashed_driver_is_noted_on_every_state_made_without_it(pretend, monkeypatch):
    monkeypatch.setattr(vulkan, "find_devices", lambda: VulkanSearch(problem="the Vulkan driver crashed when asked"))
    told = []
    backbone = load_backbone("animevideo", threads=1)
    backbone([noise(16, 16), noise(17, 17)], on_fallback=lambda *note: told.append(note))
    assert told == [(i, "made on the CPU: the Vulkan driver crashed when asked") for i in (0, 1)]
    assert backbone.runs_on() == "cpu"


def test_a_device_that_means_nothing_is_refused_at_once():
    for device, runtime in (("abacus", "auto"), ("cuda", "ncnn")):
        with pytest.raises(UsageError, match=f"device '{device}'; accepted: auto, cpu, gpu, gpu:N, and in torch cuda"):
            load_backbone("realsr", device=device, runtime=runtime)
