"""Apple's GPU, emulated: the paper's stack in a Mac's memory, without float64, and what is said where it cannot be."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs the extra [diffusion]")
pytest.importorskip("diffusers", reason="needs the extra [diffusion]")

from conftest import noise  # noqa: E402
from emulated_gpu import EmulatedGpus  # noqa: E402
from gpus.cards import SD3, SEEDS, WINDOWS, WORDS, cards, load, step  # noqa: E402

from chain_of_zoom import load_backbone  # noqa: E402
from chain_of_zoom.errors import ShortageError, UsageError  # noqa: E402
from chain_of_zoom.runtime import placement  # noqa: E402
from chain_of_zoom.runtime.placement import choose_device, choose_dtype  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.slow]

MB = 10**6


def test_the_emulated_mac_refuses_what_a_mac_refuses():
    with EmulatedGpus({0: MB}, kind="mps", macos=13):
        x = torch.ones(3, device="mps")
        assert (str(x.device), x.is_mps, x.is_cuda, torch.cuda.is_available()) == ("mps:0", True, False, False)
        assert (x + 1).cpu().tolist() == [2, 2, 2]
        for dtype in (torch.float64, torch.bfloat16):
            with pytest.raises(TypeError, match="no torch"):
                x.to(dtype)
        with pytest.raises(RuntimeError, match="MPS backend out of memory"):
            torch.zeros(MB, device="mps")


def test_a_mac_is_taken_when_it_is_asked_for():
    with EmulatedGpus({0: MB}, kind="mps"):
        assert [str(choose_device(name)) for name in ("auto", "gpu", "mps")] == ["cpu", "mps", "mps"]
        assert choose_dtype("auto", choose_device("mps")) == torch.bfloat16
        for name in ("mps:1", "cuda", "gpu:1"):
            with pytest.raises(UsageError, match="is not there"):
                choose_device(name)
    with EmulatedGpus({0: MB}, kind="mps", macos=13):
        assert choose_dtype("auto", choose_device("mps")) == torch.float16
        with pytest.raises(UsageError, match="needs macOS 14; accepted: auto, float16"):
            choose_dtype("bfloat16", choose_device("mps"))
    with pytest.raises(UsageError, match="device mps is not there"):
        choose_device("mps")


def test_the_stack_computes_on_a_mac_what_a_cpu_computes_and_goes_on_where_room_is_short(monkeypatch):
    expected = step(load(device="cpu"))
    with cards(100, kind="mps") as gpus:
        stack = load(device="mps", dtype="float32")
        assert stack.residence.as_record()["transformer"] == "mps float32"
        outcome = step(stack)
        assert (outcome.texts, outcome.notes) == (expected.texts, [])
        assert outcome.differs_by(expected) < 1e-4
        assert gpus.copies["host to mps:0"] > 0
        card = gpus.cards[0]
        card.budget = card.held + 500_000
        pictures = stack.backbone(
            WINDOWS[:1], WORDS[:1], SEEDS[:1], on_fallback=lambda _, note: outcome.notes.append(note)
        )
        assert outcome.notes == ["out of GPU memory; all other models moved off the GPU"]
        assert abs(pictures[0] - expected.pictures[0]).max() < 1e-4
    monkeypatch.setattr(placement, "lack_of_memory", lambda needed: f"{needed} needed" if needed > 3e6 else None)
    with cards(100, kind="mps"), pytest.raises(ShortageError, match="type: --memory low"):
        load(device="mps", dtype="float32")  # its memory is the machine's own


def test_short_numbers_of_an_old_system_are_float16():
    with cards(100, kind="mps", macos=13, dtype=torch.float16):
        stack = load(device="gpu")
        assert stack.residence.as_record()["vlm"] == "mps float16"
        assert step(stack).notes == []


def test_a_whole_picture_and_an_embedded_network_run_on_a_mac():
    words = ["moss"] * 3
    picture = noise(16, 32)
    grid = {"tile": 8, "overlap": 4}
    backbone = load_backbone("osediff-sd3", **SD3, device="cpu")
    expected = [pixels for _, pixels in backbone.enlarge_whole(picture, words, 3, **grid)]
    window = noise(40, 30)
    (enlarged,) = load_backbone("animevideo", device="cpu", runtime="torch")([window])
    with cards(1000, kind="mps"):
        backbone = load_backbone("osediff-sd3", **SD3, device="mps", dtype="float32")
        result = [pixels for _, pixels in backbone.enlarge_whole(picture, words, 3, **grid)]
        (on_mac,) = load_backbone("animevideo", device="mps")([window])
    assert max(abs(a - b).max() for a, b in zip(result, expected, strict=True)) < 1e-4
    assert abs(on_mac - enlarged).max() < 1e-4
