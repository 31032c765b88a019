"""Fewer bits, on tiny weights: what a placement calls bfloat16 and int8, and the tolerances."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from conftest import PARITY

torch = pytest.importorskip("torch", reason="needs the extra [diffusion]")
pytest.importorskip("diffusers", reason="needs the extra [diffusion]")

from safetensors.torch import save_file  # noqa: E402

from chain_of_zoom.backbones.onestep import sd3_parts  # noqa: E402
from chain_of_zoom.prompters.vlm import vlm_part  # noqa: E402
from chain_of_zoom.runtime.int8 import to_int8  # noqa: E402
from chain_of_zoom.runtime.precision import TOLERANCE, measure_relative_error, measure_vae_errors  # noqa: E402
from chain_of_zoom.weights.files import count_parameters  # noqa: E402
from chain_of_zoom.weights.hub import find_model  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.slow]


def test_the_tiny_vae_in_bfloat16_is_measured_and_stays_as_it_was():
    from diffusers import AutoencoderKL

    vae = AutoencoderKL.from_pretrained(PARITY / "tiny_sd3" / "vae")
    before = {name: tensor.clone() for name, tensor in vae.state_dict().items()}
    errors = measure_vae_errors(vae, torch.device("cpu"))
    assert all(1e-3 < error < 3 * TOLERANCE["vae"] for error in errors.values()), errors
    for name, tensor in vae.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_relative_errors():
    assert measure_relative_error(torch.tensor([3.0, 4.5]), torch.tensor([3.0, 4.0])) == pytest.approx(0.1)
    assert measure_relative_error(torch.tensor([torch.nan]), torch.tensor([1.0])) == float("inf")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_int8_weights_are_near_and_leave_the_last_layer(dtype):
    torch.manual_seed(0)
    layers = {"up": torch.nn.Linear(64, 64), "lm_head": torch.nn.Linear(64, 8)}
    net = torch.nn.ModuleDict(layers).to(dtype).requires_grad_(False)
    x = torch.randn(5, 64).to(dtype)
    expected, weights = net["up"](x), net["up"].weight.float()
    to_int8(net)
    up = net["up"]
    assert (up.weight.dtype, type(net["lm_head"])) == (torch.int8, torch.nn.Linear)
    # Half of one of 127 steps for each weight, at most; and what the float type rounds.
    rounding = torch.finfo(dtype).eps * 127
    error = (up.weight * up.scale.float() - weights).abs() / up.scale.float()
    assert float(error.max()) <= 0.5 + rounding
    assert measure_relative_error(up(x), expected) < 1 / 127 + torch.finfo(dtype).eps


def test_int8_of_a_row_of_zeros_is_zeros():
    net = torch.nn.Sequential(torch.nn.Linear(4, 2, bias=False)).requires_grad_(False)
    net[0].weight.zero_()
    to_int8(net)
    assert torch.equal(net(torch.ones(1, 4)), torch.zeros(1, 2))


def test_sizes_are_those_of_the_loaded_networks():
    from diffusers import AutoencoderKL
    from transformers import AutoModelForImageTextToText, T5EncoderModel

    def count(net: torch.nn.Module) -> int:
        return sum(parameter.numel() for parameter in net.parameters())

    sd3 = {part.name: part for part in sd3_parts(PARITY / "tiny_sd3")}
    assert list(sd3) == ["clip", "t5", "transformer", "vae"]
    assert sd3["vae"].parameters == count(AutoencoderKL.from_pretrained(PARITY / "tiny_sd3" / "vae"))
    t5 = T5EncoderModel.from_pretrained(PARITY / "tiny_sd3" / "text_encoder_3")
    assert sd3["t5"].parameters == count(t5)
    linear = sum(m.weight.numel() for m in t5.modules() if isinstance(m, torch.nn.Linear))
    assert sd3["t5"].quantisable == linear
    vlm = AutoModelForImageTextToText.from_pretrained(PARITY / "tiny_qwen")
    assert vlm_part(PARITY / "tiny_qwen").parameters == count(vlm)
    assert [part.name for part in sd3_parts(PARITY / "tiny_sd3", t5=False)] == ["clip", "transformer", "vae"]


def save(path: Path, shapes: dict[str, list[int]]) -> None:
    save_file({name: torch.zeros(shape) for name, shape in shapes.items()}, path)


def test_only_one_precision_of_a_folder_counts_and_damage_counts_nothing(tmp_path, monkeypatch):
    save(tmp_path / "model-00001-of-00002.safetensors", {"a": [2, 3]})
    save(tmp_path / "model-00002-of-00002.safetensors", {"b": [4], "c": []})
    save(tmp_path / "model.fp16-00001-of-00001.safetensors", {"a": [2, 3], "b": [4]})
    assert count_parameters(tmp_path) == 6 + 4 + 1
    assert count_parameters(tmp_path, lambda name: name == "b") == 4
    for damage in (b"", b"1234", struct.pack("<Q", 9) + b"[1, 2, 3]", struct.pack("<Q", 7) + b'{"a":1}'):
        (tmp_path / "model-00001-of-00002.safetensors").write_bytes(damage)
        assert count_parameters(tmp_path) == 5
    assert count_parameters(tmp_path / "nowhere") == 0
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert find_model(tmp_path) == tmp_path
    assert find_model("nobody/nothing") is None
