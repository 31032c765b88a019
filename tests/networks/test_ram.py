"""The network and its weight mapping, on a toy in the published layout, the tiny case and the full size's shapes."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import PARITY, noise
from safetensors.torch import save_file
from torch import Tensor
from transformers import SwinConfig, SwinModel

from chain_of_zoom.errors import MissingError
from chain_of_zoom.networks.ram.network import MEAN, STD, RamSizes, normalise_pictures
from chain_of_zoom.networks.ram.weights import RamPlan, load_ram, plan_keys

pytestmark = [pytest.mark.torch, pytest.mark.slow]


State = dict[str, Tensor]
FULL = RamSizes(192, (2, 2, 18, 2), (6, 12, 24, 48), 12, 4, 4585, 512, 768, 3072, 2, 4)
QKV = "visual_encoder.layers.0.blocks.0.attn.qkv."
QUERY = "tagging_head.encoder.layer.1.crossattention.self.query."


@pytest.fixture
def toy() -> State:
    """Two stages of 1 and 2 blocks, window 2, 16 pixels, 5 tags, in the names of the published file."""
    shapes: dict[str, tuple[int, ...]] = {"label_embed": (5, 6), "image_proj.weight": (6, 16), "image_proj.bias": (6,)}
    shapes |= {"wordvec_proj.weight": (8, 6), "wordvec_proj.bias": (8,), "fc.weight": (1, 8), "fc.bias": (1,)}
    swin = "visual_encoder."
    shapes |= {f"{swin}patch_embed.proj.weight": (8, 3, 4, 4), f"{swin}patch_embed.proj.bias": (8,)}
    norms = {f"{swin}patch_embed.norm": 8, f"{swin}layers.0.downsample.norm": 32, f"{swin}norm": 16}
    shapes[f"{swin}layers.0.downsample.reduction.weight"] = (16, 32)
    for stage, block, width in ((0, 0, 8), (1, 0, 16), (1, 1, 16)):
        name = f"{swin}layers.{stage}.blocks.{block}."
        norms |= {f"{name}norm1": width, f"{name}norm2": width}
        shapes[f"{name}attn.relative_position_bias_table"] = (9, width // 4)
        for layer, rows, columns in (
            ("attn.qkv", 3 * width, width),
            ("attn.proj", width, width),
            ("mlp.fc1", 4 * width, width),
            ("mlp.fc2", width, 4 * width),
        ):
            shapes |= {f"{name}{layer}.weight": (rows, columns), f"{name}{layer}.bias": (rows,)}
    for number in range(2):
        name = f"tagging_head.encoder.layer.{number}."
        norms |= {f"{name}crossattention.output.LayerNorm": 8, f"{name}output.LayerNorm": 8}
        for layer, rows, columns in (
            ("crossattention.self.query", 8, 8),
            ("crossattention.self.key", 8, 6),
            ("crossattention.self.value", 8, 6),
            ("crossattention.output.dense", 8, 8),
            ("intermediate.dense", 12, 8),
            ("output.dense", 8, 12),
        ):
            shapes |= {f"{name}{layer}.weight": (rows, columns), f"{name}{layer}.bias": (rows,)}
    shapes |= {f"{name}.{half}": (width,) for name, width in norms.items() for half in ("weight", "bias")}
    return _random(shapes)


@pytest.fixture
def toy_dape(toy: State) -> State:
    shapes: dict[str, tuple[int, ...]] = {"text_decoder.bert.encoder.layer.0.attention.self.key.lora_A": (8, 3)}
    for key, tensor in toy.items():
        rows, columns = (*tensor.shape, 0)[:2]
        if key.endswith("attn.qkv.weight"):
            shapes |= {key[:-6] + "lora_A": (16, columns), key[:-6] + "lora_B": (rows * 2 // 3, 8)}
        elif key.endswith(("self.query.weight", "self.key.weight")):
            for name in (key[:-6], key[:-6].replace("tagging_head", "tag_encoder")):
                shapes |= {name + "lora_A": (8, columns), name + "lora_B": (rows, 8)}
    shapes["tag_encoder.encoder.layer.5.crossattention.self.query.lora_A"] = (8, 8)
    return _random(shapes)


def _random(shapes: dict[str, tuple[int, ...]]) -> State:
    generator = torch.Generator().manual_seed(3)
    return {key: torch.randn(shape, generator=generator) for key, shape in shapes.items()}


def _saved(folder: Path, ram: State, dape: State | None = None) -> list[Path]:
    torch.save({"model": ram}, folder / "ram.pth")
    if dape is None:
        return [folder / "ram.pth"]
    torch.save(dape, folder / "dape.pth")
    return [folder / "ram.pth", folder / "dape.pth"]


def _shapes(state: State) -> dict[str, tuple[int, ...]]:
    return {key: tuple(tensor.shape) for key, tensor in state.items()}


def _logits(folder: Path, ram: State, dape: State | None = None) -> Tensor:
    model = load_ram(*_saved(folder, ram, dape))
    return model(normalise_pictures([noise(20, 30)], model.sizes.image))


def _uses(plan: RamPlan) -> Counter[str]:
    """How often each key of both files goes somewhere, a third of a fused tensor counting as a third."""
    pairs = [part for found in plan.lora.values() for pair in found for part in pair]
    shares: Counter[str] = Counter()
    for part in [*plan.weights.values(), *pairs]:
        shares[part.key] += 6 // part.of
    assert all(count % 6 == 0 for count in shares.values())
    return Counter({key: count // 6 for key, count in shares.items()})


def test_every_key_of_the_published_files_goes_to_the_full_size_network_once():
    published = json.loads((PARITY / "published_keys.json").read_text())
    ram, dape = (
        {key: tuple(shape) for key, shape in published[file]["shapes"].items()}
        for file in ("RAM/ram_swin_large_14m.pth", "DAPE/DAPE.pth")
    )
    # what the list leaves out of the real file
    captioner = {"text_decoder.bert.embeddings.word_embeddings.weight": (30524, 768)}
    plan = plan_keys(ram | captioner, dape)
    assert plan.sizes == FULL
    assert plan.sizes.image == 384
    uses = _uses(plan)
    assert set(uses.values()) == {1}
    assert uses.keys() | set(plan.unused) | set(plan.lora_unused) == ram.keys() | captioner.keys() | dape.keys()
    assert len(uses) + len(plan.unused) + len(plan.lora_unused) == len(ram) + len(dape) + 1
    assert all(key.startswith(("tag_encoder.", "text_decoder.")) for key in plan.lora_unused)
    # 24 blocks x (q, v), 2 decoder layers x (query, key), of which the latter have two pairs each
    assert Counter(map(len, plan.lora.values())) == {1: 48, 2: 4}


def test_every_weight_of_the_toy_arrives(toy: State, tmp_path: Path):
    model = load_ram(*_saved(tmp_path, toy))
    assert model.sizes == RamSizes(8, (1, 2), (2, 4), 2, 4, 5, 6, 8, 12, 2, 4)
    assert model.sizes.image == 16
    assert sum(p.numel() for p in model.parameters()) == sum(t.numel() for t in toy.values())
    attention = model.swin.encoder.layers[0].blocks[0].attention
    for i, layer in enumerate((attention.q_proj, attention.k_proj, attention.v_proj)):
        torch.testing.assert_close(layer.weight, toy[QKV + "weight"][8 * i : 8 * i + 8], rtol=0, atol=0)
    assert not model.training
    assert not any(p.requires_grad or p.is_meta for p in [*model.parameters(), *model.buffers()])


def test_the_position_index_is_the_one_of_transformers(toy: State, tmp_path: Path):
    reference = SwinModel(SwinConfig(image_size=16, embed_dim=8, depths=[1, 2], num_heads=[2, 4], window_size=2))
    ours = dict(load_ram(*_saved(tmp_path, toy)).swin.named_buffers(remove_duplicate=False))
    for name, buffer in reference.named_buffers():
        torch.testing.assert_close(ours.pop(name), buffer, rtol=0, atol=0)
    assert not ours


def test_the_decoder_sees_the_mean_of_the_tokens_and_then_the_tokens(toy: State, tmp_path: Path):
    model = load_ram(*_saved(tmp_path, toy))
    seen: list[Tensor] = []
    model.image_proj.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    batch = normalise_pictures([noise(20, 30), noise(9, 9)], 16)
    assert model(batch).shape == (2, 5)
    tokens = model.swin(batch).last_hidden_state
    assert tokens.shape == (2, 4, 16)
    torch.testing.assert_close(seen[0][:, 0], tokens.mean(1))
    torch.testing.assert_close(seen[0][:, 1:], tokens)


def test_one_decoder_layer_is_post_norm_cross_attention(toy: State, tmp_path: Path):
    layer = load_ram(*_saved(tmp_path, toy)).decoder[1]
    tags, tokens = torch.randn(2, 5, 8), torch.randn(2, 7, 6)
    heads = []
    for at in range(0, 8, 2):  # 4 heads of width 2
        query, key, value = (
            part[..., at : at + 2] for part in (layer.query(tags), layer.key(tokens), layer.value(tokens))
        )
        heads.append(torch.softmax(query @ key.mT / 2**0.5, dim=-1) @ value)
    seen = layer.norm1(layer.out(torch.cat(heads, -1)) + tags)
    expected = layer.norm2(layer.down(torch.nn.functional.gelu(layer.up(seen))) + seen)
    torch.testing.assert_close(layer(tags, tokens), expected)


def test_the_lora_is_merged_into_q_and_v_and_both_tied_pairs_count(toy: State, toy_dape: State, tmp_path: Path):
    model = load_ram(*_saved(tmp_path, toy, toy_dape))
    down, up = toy_dape[QKV + "lora_A"], toy_dape[QKV + "lora_B"]
    q, k, v = toy[QKV + "weight"].chunk(3)
    attention = model.swin.encoder.layers[0].blocks[0].attention
    torch.testing.assert_close(attention.q_proj.weight, q + up[:8] @ down[:8] / 8)
    torch.testing.assert_close(attention.k_proj.weight, k, rtol=0, atol=0)
    torch.testing.assert_close(attention.v_proj.weight, v + up[8:] @ down[8:] / 8)
    tied = QUERY.replace("tagging_head", "tag_encoder")
    pairs = sum(toy_dape[name + "lora_B"] @ toy_dape[name + "lora_A"] for name in (QUERY, tied))
    torch.testing.assert_close(model.decoder[1].query.weight, toy[QUERY + "weight"] + pairs / 8)


def test_a_lora_of_zeros_changes_nothing(toy: State, toy_dape: State, tmp_path: Path):
    zeros = {key: torch.zeros_like(t) if key.endswith("lora_B") else t for key, t in toy_dape.items()}
    plain = _logits(tmp_path, toy)
    torch.testing.assert_close(_logits(tmp_path, toy, zeros), plain, rtol=0, atol=0)
    assert not torch.allclose(_logits(tmp_path, toy, toy_dape), plain)


def test_old_names_half_precision_and_bare_safetensors(toy: State, tmp_path: Path):
    expected = _logits(tmp_path, {key: tensor.half().float() for key, tensor in toy.items()})
    old = {key.replace("tagging_head", "vision_multi"): tensor.half() for key, tensor in toy.items()}
    save_file(old, tmp_path / "ram.safetensors")
    model = load_ram(tmp_path / "ram.safetensors")
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    torch.testing.assert_close(model(normalise_pictures([noise(20, 30)], 16)), expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({QKV + "bias": None}, "3 missing tensors.*attention.k_proj.bias"),
        ({"fc.weight": None}, "1 missing tensors.*fc.weight"),
        ({"visual_encoder.norm.extra": (2,)}, "1 unknown tensors.*visual_encoder.norm.extra"),
        ({"reweight_scale": ()}, "1 unknown tensors.*reweight_scale"),
        ({"vision_multi.encoder.layer.0.crossattention.self.query.bias": (8,)}, "1 unknown tensors.*vision_multi"),
        ({QKV + "weight": (24, 9)}, r"1 tensors of a wrong shape.*qkv.weight \[24, 9\]"),
        ({QKV + "weight": (24,)}, r"wrong shape.*qkv.weight \[24\]"),
        ({"label_embed": None}, "no label_embed of 2 dimensions"),
        ({"wordvec_proj.weight": (10, 6)}, "width of 10, which 4 heads do not divide"),
        ({"visual_encoder.layers.1.blocks.0.attn.relative_position_bias_table": (9, 3)}, "heads do not divide"),
        ({"visual_encoder.patch_embed.proj.weight": (8, 3, 0, 0)}, "no visual_encoder.patch_embed.proj.weight"),
    ],
)
def test_ram_weights_that_do_not_fit(toy: State, change: dict[str, tuple[int, ...] | None], message: str):
    shapes = {key: shape for key, shape in (_shapes(toy) | change).items() if shape is not None}
    with pytest.raises(MissingError, match=message):
        plan_keys(shapes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({QKV + "lora_B": None}, "1 missing tensors.*lora_B"),
        ({QUERY.replace("tagging_head", "tag_encoder") + "lora_A": None}, "1 missing tensors.*tag_encoder"),
        ({QKV + "weight": (24, 8)}, "1 unknown tensors.*qkv.weight"),
        ({QUERY.replace("query", "value") + "lora_A": (8, 8)}, "1 unknown tensors.*value.lora_A"),
        ({QUERY + "lora_A": (4, 8), QUERY + "lora_B": (8, 4)}, "2 tensors of a wrong shape for LoRA of rank 8"),
    ],
)
def test_dape_weights_that_do_not_fit(
    toy: State, toy_dape: State, change: dict[str, tuple[int, ...] | None], message: str
):
    shapes = {key: shape for key, shape in (_shapes(toy_dape) | change).items() if shape is not None}
    with pytest.raises(MissingError, match=f"DAPE weights: {message}"):
        plan_keys(_shapes(toy), shapes)


def test_a_dape_file_of_another_ram(toy: State, toy_dape: State):
    shapes = {key: tuple(2 * side for side in shape) for key, shape in _shapes(toy_dape).items()}
    with pytest.raises(MissingError, match="wrong shape.*, \\.\\.\\."):
        plan_keys(_shapes(toy), shapes)


@pytest.mark.parametrize("content", [[torch.zeros(2)], {"model": torch.zeros(2), "epoch": 3}, {7: torch.zeros(2)}])
def test_a_file_that_is_no_state_dict(content: object, tmp_path: Path):
    torch.save(content, tmp_path / "ram.pth")
    with pytest.raises(MissingError, match=r"ram\.pth is not a state dict"):
        load_ram(tmp_path / "ram.pth")


def test_pictures_are_resized_as_floats_and_normalised():
    grey = np.full((40, 90, 3), 51, np.uint8)
    batch = normalise_pictures([grey, noise(16, 16)], 16)
    assert batch.shape == (2, 3, 16, 16)
    assert batch.dtype == torch.float32
    expected = torch.tensor([(0.2 - m) / s for m, s in zip(MEAN, STD, strict=True)]).view(3, 1, 1).expand(3, 16, 16)
    torch.testing.assert_close(batch[0], expected)
    back = batch[1] * torch.tensor(STD).view(3, 1, 1) + torch.tensor(MEAN).view(3, 1, 1)
    torch.testing.assert_close(back * 255, torch.tensor(noise(16, 16)).permute(2, 0, 1).float())


def test_shrinking_is_antialiased():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::4] = 255  # two samples of 64 -> 16 would fall between them
    inner = normalise_pictures([stripes], 16)[0, 0, :, 2:-2] * STD[0] + MEAN[0]
    torch.testing.assert_close(inner, torch.full_like(inner, 0.25), rtol=0, atol=0.01)
