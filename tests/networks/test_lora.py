"""The published adapters: merged = unmerged, wrong ones refused, and every full-size tensor used exactly once."""

from __future__ import annotations

import json

import pytest
from conftest import PARITY

torch = pytest.importorskip("torch", reason="needs the extra [diffusion]")
diffusers = pytest.importorskip("diffusers", reason="needs the extra [diffusion]")

from chain_of_zoom.errors import MissingError  # noqa: E402
from chain_of_zoom.networks.sd.lora import (  # noqa: E402
    find_modulation_linears,
    merge_encoder,
    merge_encoder_state,
    merge_transformer,
)
from chain_of_zoom.weights.checkpoints import read_tensors  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.slow]


SD3_MEDIUM = {
    "sample_size": 128, "patch_size": 2, "in_channels": 16, "num_layers": 24, "attention_head_dim": 64,
    "num_attention_heads": 24, "joint_attention_dim": 4096, "caption_projection_dim": 1536,
    "pooled_projection_dim": 2048, "out_channels": 16, "pos_embed_max_size": 192,
}  # fmt: skip
SD3_VAE = {
    "in_channels": 3, "out_channels": 3, "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4, "block_out_channels": (128, 256, 512, 512), "layers_per_block": 2,
    "latent_channels": 16, "sample_size": 1024, "use_quant_conv": False, "use_post_quant_conv": False,
}  # fmt: skip


@pytest.fixture
def transformer():
    loader = diffusers.SD3Transformer2DModel
    return loader.from_pretrained(PARITY / "tiny_sd3" / "transformer")


@pytest.fixture
def encoder():
    return diffusers.AutoencoderKL.from_pretrained(PARITY / "tiny_sd3" / "vae").encoder


def test_transformer_merged_is_unmerged(transformer):
    tensors = read_tensors(PARITY / "model_tiny.pkl")
    before = {name: (linear.weight.clone(), linear.bias) for name, linear in find_modulation_linears(transformer)}
    others = {n: p.clone() for n, p in transformer.named_parameters() if n.removesuffix(".weight") not in before}
    merge_transformer(transformer, tensors)
    pairs = zip(tensors[::2], tensors[1::2], strict=True)
    for (name, linear), (up, down) in zip(find_modulation_linears(transformer), pairs, strict=True):
        x = torch.randn(5, linear.in_features)
        weight, bias = before[name]
        unmerged = torch.nn.functional.linear(x, weight, bias) + x @ down.float().T @ up.float().T
        torch.testing.assert_close(linear(x), unmerged, atol=1e-5, rtol=1e-5)
    for name, parameter in transformer.named_parameters():
        if name in others:
            assert torch.equal(parameter, others[name])


def test_encoder_merged_is_unmerged(encoder):
    state = read_tensors(PARITY / "vae_encoder_tiny.pt")
    merge_encoder(encoder, state)
    x = torch.randn(1, 3, 16, 16)
    float_state = {key: value.float() for key, value in state.items()}
    plain = torch.nn.functional.conv2d(
        x, float_state["conv_in.base_layer.weight"], float_state["conv_in.base_layer.bias"], padding=1
    )
    low = torch.nn.functional.conv2d(x, float_state["conv_in.lora_A.default_encoder.weight"], padding=1)
    adapted = plain + 2.0 * torch.nn.functional.conv2d(low, float_state["conv_in.lora_B.default_encoder.weight"])
    torch.testing.assert_close(encoder.conv_in(x), adapted, atol=1e-5, rtol=1e-5)


def test_transformer_adapters_that_do_not_fit_are_refused_and_nothing_is_changed(transformer):
    tensors = read_tensors(PARITY / "model_tiny.pkl")
    before = {name: parameter.clone() for name, parameter in transformer.named_parameters()}
    wrong = [
        tensors[:-2],
        tensors[::-1],
        [t[:, :2] if i % 2 == 0 else t[:2] for i, t in enumerate(tensors)],  # rank 2
        ["text"],
        torch.zeros(3),
        {"a": "b"},
    ]
    for one in wrong:
        with pytest.raises(MissingError):
            merge_transformer(transformer, one)
    for name, parameter in transformer.named_parameters():
        assert torch.equal(parameter, before[name])


@pytest.mark.parametrize("spoil", ["missing", "extra", "half", "rank", "list"])
def test_encoder_files_that_do_not_fit_are_refused(encoder, spoil):
    state = dict(read_tensors(PARITY / "vae_encoder_tiny.pt"))
    if spoil == "missing":
        del state["conv_norm_out.weight"]
    elif spoil == "extra":
        state["decoder.weight"] = torch.zeros(1)
    elif spoil == "half":
        del state["conv_in.lora_B.default_encoder.weight"]
    elif spoil == "rank":
        state["conv_in.lora_A.default_encoder.weight"] = state["conv_in.lora_A.default_encoder.weight"][:2]
    with pytest.raises(MissingError):
        merge_encoder(encoder, list(state) if spoil == "list" else state)


@pytest.mark.slow
def test_every_published_tensor_is_used_exactly_once_at_full_size():
    keys = json.loads((PARITY / "published_keys.json").read_text())
    with torch.device("meta"):
        transformer = diffusers.SD3Transformer2DModel(**SD3_MEDIUM)
        vae = diffusers.AutoencoderKL(**SD3_VAE)
        modules = keys["SR_LoRA/model_20001.pkl"]["modules"]
        tensors = [torch.empty(shape) for _, shapes in modules for shape in shapes]
        state = {k: torch.empty(shape) for k, shape in keys["SR_VAE/vae_encoder_20001.pt"]["shapes"].items()}
    assert [name for name, _ in find_modulation_linears(transformer)] == [name for name, _ in modules]
    merge_transformer(transformer, tensors)
    merge_encoder(vae.encoder, state)  # strict: nothing missing, nothing left over
    merged = merge_encoder_state(state, "x")
    adapters = {key.partition(".lora_")[0] for key in state if ".lora_" in key}
    assert len(merged) + 2 * len(adapters) == len(state)
