"""A transformer in a file of its own, such as OracleZoom's, in each layout that such a file can have."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import PARITY, noise

torch = pytest.importorskip("torch", reason="needs the extra [diffusion]")
diffusers = pytest.importorskip("diffusers", reason="needs the extra [diffusion]")

from safetensors.torch import save_file  # noqa: E402

from chain_of_zoom import MissingError, load_backbone  # noqa: E402
from chain_of_zoom.networks.sd.lora import find_modulation_linears, merge_transformer, replace_transformer  # noqa: E402
from chain_of_zoom.weights.checkpoints import read_tensors  # noqa: E402
from chain_of_zoom.weights.files import file_sha256  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.slow]

LORA = PARITY / "model_tiny.pkl"
SD3 = {"base": PARITY / "tiny_sd3", "vae_encoder": PARITY / "vae_encoder_tiny.pt", "device": "cpu", "t5_tokens": 16}


def read_base():
    return diffusers.SD3Transformer2DModel.from_pretrained(PARITY / "tiny_sd3" / "transformer")


@pytest.fixture(scope="module")
def trained():
    """The base with its queries trained on: what a rank-16 adapter on attention leaves when it is merged."""
    network = read_base()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if name.endswith("attn.to_q.weight"):
                weight.add_(torch.randn(weight.shape, generator=generator), alpha=0.05)
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


@pytest.fixture(scope="module")
def merged(trained):
    """The same with the paper's adapters merged: what all layouts should come to."""
    network = read_base()
    network.load_state_dict(trained)
    merge_transformer(network, read_tensors(LORA))
    return network.state_dict()


def lay_beside(trained: dict, pairs: list) -> dict:
    """As the published code holds them: the layer itself, and both halves of its adapter, under its name."""
    state = dict(trained)
    names = [name for name, _ in find_modulation_linears(read_base())]
    for name, up, down in zip(names, pairs[::2], pairs[1::2], strict=True):
        for part in ("weight", "bias"):
            state[f"{name}.linear.{part}"] = state.pop(f"{name}.{part}")
        state |= {f"{name}.lora_up.weight": up, f"{name}.lora_down.weight": down}
    return state


@pytest.mark.parametrize("layout", ["beside", "beside, in PEFT's names", "merged", "without adapters"])
def test_every_layout_comes_to_the_same_weights(trained, merged, layout):
    network = read_base()
    state = lay_beside(trained, read_tensors(LORA)) if "beside" in layout else trained
    if "PEFT" in layout:
        state = {f"base_model.model.{name}": tensor for name, tensor in state.items()}
    is_adapted = replace_transformer(network, merged if layout == "merged" else state)
    assert is_adapted == (layout != "without adapters")
    if not is_adapted:
        merge_transformer(network, read_tensors(LORA))
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(tensor, merged[name], rtol=0, atol=1e-6)


def test_the_backbone_zooms_with_it_and_its_record_names_it(trained, merged, tmp_path):
    windows, words, seeds = [noise(16, 16)], ["moss"], [5]
    save_file(trained, tmp_path / "merged_transformer.safetensors")
    (tmp_path / "folder").mkdir()
    save_file(merged, tmp_path / "folder" / "diffusion_pytorch_model.safetensors")
    plain = load_backbone("osediff-sd3", **SD3, lora=LORA)
    oracle = load_backbone("osediff-sd3", **SD3, lora=LORA, transformer=tmp_path / "merged_transformer.safetensors")
    again = load_backbone("osediff-sd3", **SD3, lora=LORA, transformer=tmp_path / "folder")
    (usual,), (result,), (same,) = (backbone(windows, words, seeds) for backbone in (plain, oracle, again))
    np.testing.assert_allclose(result, same, atol=1e-4)
    assert np.abs(result - usual).max() > 0.01
    assert len({backbone.weights_sha256() for backbone in (plain, oracle, again)}) == 3
    assert file_sha256(tmp_path / "merged_transformer.safetensors")


def test_what_is_no_transformer_of_this_base_is_refused(trained, tmp_path):
    for spoil, says in (
        (
            lambda state: state.pop("proj_out.weight"),
            "does not fit the transformer of the base model .*proj_out.weight",
        ),
        (lambda state: state.update(extra=torch.zeros(1)), "Unexpected key"),
        (lambda state: state.update({"proj_out.weight": torch.zeros(2, 2)}), "size mismatch"),
    ):
        state = dict(trained)
        spoil(state)
        with pytest.raises(MissingError, match=says):
            replace_transformer(read_base(), state)
    with pytest.raises(MissingError, match="none.safetensors are not there"):
        load_backbone("osediff-sd3", **SD3, transformer=tmp_path / "none.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(MissingError, match="other.safetensors does not fit"):
        load_backbone("osediff-sd3", **SD3, transformer=tmp_path / "other.safetensors").load()
