"""Networks that take one window at a time, on cards that are not there: where there is no room they take less."""

from __future__ import annotations

import importlib.util
import sys

import numpy as np
import pytest
from conftest import noise

torch = pytest.importorskip("torch", reason="needs the extra [diffusion]")

from emulated_gpu import EmulatedGpus  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

from chain_of_zoom import load_backbone  # noqa: E402
from chain_of_zoom.backbones.base import Backbone  # noqa: E402
from chain_of_zoom.errors import BackboneError  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.slow]

MB = 10**6


def embedded(**options: str) -> Backbone:
    return load_backbone("animevideo", **options)


@pytest.fixture
def repeating(tmp_path, monkeypatch):
    """A network in a file: it repeats pixels, in float16 on a card."""
    from backbones import spandrel_double

    find = importlib.util.find_spec
    monkeypatch.setitem(sys.modules, "spandrel", spandrel_double)
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: find("backbones.spandrel_double" if name == "spandrel" else name)
    )
    weight = torch.eye(3).repeat_interleave(4, 0)[:, :, None, None].contiguous()
    save_file({"up.weight": weight, "half": torch.tensor(1.0)}, tmp_path / "net.safetensors")
    return tmp_path / "net.safetensors"


def enlarge(backbone: Backbone, window: np.ndarray) -> tuple[np.ndarray, list[str]]:
    notes: list[str] = []
    (result,) = backbone([window], on_fallback=lambda _, note: notes.append(note))
    return result, notes


def test_an_embedded_network_halves_its_windows_remembers_what_fits_and_ends_in_an_error():
    window = noise(120, 90)
    expected, _ = enlarge(embedded(device="cpu", runtime="torch"), window)
    with EmulatedGpus({0: 1000 * MB}) as gpus:
        backbone = embedded(device="cuda")
        result, notes = enlarge(backbone, window)
        np.testing.assert_allclose(result, expected, atol=1e-5)
        assert notes == []
        card = gpus.cards[0]
        card.budget = (card.peak + card.held) // 2
        result, notes = enlarge(backbone, window)
        assert notes == ["out of GPU memory; in tiles of 60 px"]
        assert np.abs(result - expected).max() < 1 / 255
        refused = card.refused
        enlarge(backbone, window)
        assert card.refused == refused, "what fits is remembered"
        card.budget = card.held + MB
        with pytest.raises(BackboneError, match=r"no room on the GPU .*type: --device cpu"):
            enlarge(backbone, window)
        assert card.held < 5 * MB, "nothing of the failed windows is held"


def test_a_network_in_a_file_halves_its_windows(repeating):
    window = noise(180, 150)
    expected = window.repeat(2, 0).repeat(2, 1).astype(np.float32) / np.float32(255)
    with EmulatedGpus({0: MB}) as gpus:
        result, notes = enlarge(load_backbone(str(repeating)), window)
        assert notes == ["out of GPU memory; in tiles of 90 px"]
        np.testing.assert_allclose(result, expected, atol=1e-3)  # float16
        assert gpus.cards[0].refused == 1
