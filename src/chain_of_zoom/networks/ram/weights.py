"""Read the published files into a RAM network: names mapped by rule, DAPE's LoRA merged, every key accounted for.

RAM is `ram_swin_large_14m.pth` ({"model": state dict} of github xinyu1205/recognize-anything); DAPE, of SeeSR
(arXiv 2311.16518), is a file of loralib tensors laid over it. `plan_keys` decides on names and shapes alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import isqrt
from pathlib import Path

import torch
from torch import Tensor

from chain_of_zoom.errors import MissingError
from chain_of_zoom.networks.ram.network import Ram, RamSizes
from chain_of_zoom.weights.checkpoints import read_tensors

RANK = 8
SCALE = 1 / RANK  # alpha is 1 in the published code; the file does not say

Shapes = Mapping[str, tuple[int, ...]]

_BLOCK = r"visual_encoder\.layers\.(\d+)\.blocks\.(\d+)\."
_OUR_BLOCK = r"swin.encoder.layers.\1.blocks.\2."
# The RAM project once called the tagging head "vision_multi"; its own loader still renames it.
_LAYER = r"(?:tagging_head|vision_multi)\.encoder\.layer\.(\d+)\."

# start of a published name -> start of ours (SwinModel's as of transformers 5.17)
RULES = tuple(
    (re.compile(published), ours)
    for published, ours in (
        (r"visual_encoder\.patch_embed\.proj\.", "swin.embeddings.patch_embeddings.projection."),
        (r"visual_encoder\.patch_embed\.norm\.", "swin.embeddings.norm."),
        (_BLOCK + r"norm1\.", _OUR_BLOCK + "layernorm_before."),
        (_BLOCK + r"norm2\.", _OUR_BLOCK + "layernorm_after."),
        (_BLOCK + r"mlp\.", _OUR_BLOCK + "mlp."),
        (_BLOCK + r"attn\.qkv\.", _OUR_BLOCK + "attention.qkv."),
        (_BLOCK + r"attn\.proj\.", _OUR_BLOCK + "attention.o_proj."),
        (_BLOCK + r"attn\.(relative_position_bias)_table", _OUR_BLOCK + r"attention.\3.\3_table"),
        (r"visual_encoder\.layers\.(\d+)\.downsample\.", r"swin.encoder.layers.\1.downsample."),
        (r"visual_encoder\.norm\.", "swin.layernorm."),
        (_LAYER + r"crossattention\.self\.", r"decoder.\1."),
        (_LAYER + r"crossattention\.output\.dense\.", r"decoder.\1.out."),
        (_LAYER + r"crossattention\.output\.LayerNorm\.", r"decoder.\1.norm1."),
        (_LAYER + r"intermediate\.dense\.", r"decoder.\1.up."),
        (_LAYER + r"output\.dense\.", r"decoder.\1.down."),
        (_LAYER + r"output\.LayerNorm\.", r"decoder.\1.norm2."),
        (r"(label_embed$|(?:image_proj|wordvec_proj|fc)\.)", r"\1"),
    )
)
THIRDS = ("q_proj", "k_proj", "v_proj")

# Captioning, training, and what SwinModel works out for itself.
UNUSED = re.compile(
    r"text_decoder\.|tag_encoder\.|logit_scale$|" + _BLOCK + r"(attn_mask|attn\.relative_position_index)$"
)
_LORA_UNUSED = re.compile(
    r"(text_decoder\..*|tag_encoder\.encoder\.layer\.\d+\.(cross)?attention)\.self\.(query|key)\.lora_[AB]$"
)


@dataclass(frozen=True)
class TensorRows:
    """Names rows of a tensor in a file."""

    key: str
    """Key of the tensor."""
    index: int = 0
    """Which of the `of` equal parts of its rows."""
    of: int = 1
    """How many equal parts its rows are."""

    def cut(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Return those rows, as float32."""
        return tensors[self.key].chunk(self.of)[self.index].float()


@dataclass
class RamPlan:
    """Says which rows of the files our tensors come from."""

    sizes: RamSizes
    """Shapes of the network."""
    weights: dict[str, TensorRows] = field(default_factory=dict)
    """Rows of RAM's file for each of our tensors."""
    lora: dict[str, list[tuple[TensorRows, TensorRows]]] = field(default_factory=dict)
    """Pairs (A, B) of DAPE's file that ADD to one of our tensors."""
    unused: list[str] = field(default_factory=list)
    """Keys of RAM's file that nothing of ours needs."""
    lora_unused: list[str] = field(default_factory=list)
    """The same of DAPE's file."""


def load_ram(ram: str | Path, dape: str | Path | None = None, *, decoder_heads: int = 4) -> Ram:
    """Read the network with its weights, float32, on the CPU, in evaluation mode; merge DAPE's LoRA, if given.

    decoder_heads cannot be seen in the weights; it is 4 in the published configuration.
    Raises MissingError for a file that is absent, damaged, incomplete, or of another model.
    """
    tensors = _read_state(ram, "RAM")
    lora = None if dape is None else _read_state(dape, "DAPE")
    plan = plan_keys(_shapes(tensors), None if lora is None else _shapes(lora), decoder_heads=decoder_heads)
    with torch.device("meta"):
        model = Ram(plan.sizes)
    ours = {name: part.cut(tensors) for name, part in plan.weights.items()}
    if lora is not None:
        for name, pairs in plan.lora.items():
            ours[name] = ours[name] + SCALE * torch.stack([b.cut(lora) @ a.cut(lora) for a, b in pairs]).sum(0)
    model.load_state_dict(ours, assign=True)
    _fill_position_index(model)
    return model.eval().requires_grad_(False)


def plan_keys(ram: Shapes, dape: Shapes | None = None, *, decoder_heads: int = 4) -> RamPlan:
    """Plan where everything goes, from names and shapes alone; every key is used once or known to be unused.

    Raises MissingError, naming the first few, for keys that are missing, unknown, or of a wrong shape.
    """
    plan = RamPlan(infer_sizes(ram, decoder_heads))
    with torch.device("meta"):
        ours = _shapes(Ram(plan.sizes).state_dict())
    unknown, wrong = [], []
    for key, shape in ram.items():
        names = _translate_key(key)
        if not names and UNUSED.match(key):
            plan.unused.append(key)
        elif not names or any(name not in ours or name in plan.weights for name in names):
            unknown.append(key)
        elif shape != (len(names) * ours[names[0]][0], *ours[names[0]][1:]):
            wrong.append(f"{key} {list(shape)}")
        else:
            plan.weights.update({name: TensorRows(key, i, len(names)) for i, name in enumerate(names)})
    _refuse("RAM", "unknown tensors", unknown)
    _refuse("RAM", "tensors of a wrong shape", wrong)
    _refuse("RAM", "missing tensors, by our names", ours.keys() - plan.weights.keys())
    if dape is not None:
        _plan_lora(plan, ours, dape)
    return plan


def _plan_lora(plan: RamPlan, ours: Shapes, dape: Shapes) -> None:
    """Plan DAPE: it adds to q and v of Swin, and to query and key of the decoder, where two pairs add up.

    The published model ties the tag encoder's cross-attention to the decoder's, and each of the two LoRA layers
    merges its own pair into the shared weight.
    """
    expected: dict[str, tuple[int, ...]] = {}
    for name, shape in ours.items():
        if match := re.fullmatch(r"swin\.encoder\.layers\.(\d+)\.blocks\.(\d+)\.attention\.(q|v)_proj\.weight", name):
            key = "visual_encoder.layers.{}.blocks.{}.attn.qkv.lora_".format(*match.groups())
            half = "qv".index(match[3])  # loralib's MergedLinear stacks the parts that it is enabled for
            plan.lora[name] = [(TensorRows(key + "A", half, 2), TensorRows(key + "B", half, 2))]
            expected |= {key + "A": (2 * RANK, shape[1]), key + "B": (2 * shape[0], RANK)}
        elif match := re.fullmatch(r"decoder\.(\d+)\.(query|key)\.weight", name):
            for owner in ("tagging_head", "tag_encoder"):
                key = f"{owner}.encoder.layer.{match[1]}.crossattention.self.{match[2]}.lora_"
                plan.lora.setdefault(name, []).append((TensorRows(key + "A"), TensorRows(key + "B")))
                expected |= {key + "A": (RANK, shape[1]), key + "B": (shape[0], RANK)}
    plan.lora_unused = [key for key in dape if key not in expected and _LORA_UNUSED.match(key)]
    wrong = [f"{key} {list(dape[key])}" for key in expected.keys() & dape.keys() if dape[key] != expected[key]]
    _refuse("DAPE", "unknown tensors", dape.keys() - expected.keys() - set(plan.lora_unused))
    _refuse("DAPE", f"tensors of a wrong shape for LoRA of rank {RANK} on this RAM", wrong)
    _refuse("DAPE", "missing tensors", expected.keys() - dape.keys())


def infer_sizes(ram: Shapes, decoder_heads: int = 4) -> RamSizes:
    """Return the network's sizes by the published names and shapes. Raises MissingError where they make no sense."""

    def shape(key: str, dimensions: int) -> tuple[int, ...]:
        for name in (key, key.replace("tagging_head", "vision_multi")):
            if len(ram.get(name, ())) == dimensions and all(ram[name]):
                return ram[name]
        raise _make_error("RAM", f"no {key} of {dimensions} dimensions")

    def count(pattern: str) -> int:
        return len({match[0] for key in ram if (match := re.match(pattern, key))})

    stages = count(r"visual_encoder\.layers\.\d+\.")
    tables = [shape(f"visual_encoder.layers.{i}.blocks.0.attn.relative_position_bias_table", 2) for i in range(stages)]
    width, _, patch, _ = shape("visual_encoder.patch_embed.proj.weight", 4)
    if not tables or any(not heads or width * 2**i % heads for i, (_, heads) in enumerate(tables)):
        raise _make_error("RAM", f"attention heads do not divide the width {width}")
    span = isqrt(tables[0][0])  # a window of w has (2w - 1)^2 relative positions
    tags, label_width = shape("label_embed", 2)
    hidden = shape("wordvec_proj.weight", 2)[0]
    if decoder_heads < 1 or hidden % decoder_heads:
        raise _make_error("RAM", f"the decoder has a width of {hidden}, which {decoder_heads} heads do not divide")
    return RamSizes(
        width=width,
        depths=tuple(count(rf"visual_encoder\.layers\.{i}\.blocks\.\d+\.") for i in range(stages)),
        heads=tuple(heads for _, heads in tables),
        window=(span + 1) // 2,
        patch=patch,
        tags=tags,
        label_width=label_width,
        hidden=hidden,
        feed_forward=shape("tagging_head.encoder.layer.0.intermediate.dense.weight", 2)[0],
        layers=count(_LAYER),
        decoder_heads=decoder_heads,
    )


def _translate_key(key: str) -> list[str]:
    """Return our names for a published key: none if it is not for us, three for a fused qkv."""
    for pattern, ours in RULES:
        if match := pattern.match(key):
            name = match.expand(ours) + key[match.end() :]
            return [name.replace(".qkv.", f".{third}.") for third in THIRDS] if ".qkv." in name else [name]
    return []


def _fill_position_index(model: Ram) -> None:
    """Compute SwinModel's only buffer: for each pair of pixels of a window, its row of the bias table."""
    window = model.sizes.window
    at = torch.cartesian_prod(torch.arange(window), torch.arange(window))
    apart = at[:, None] - at[None] + window - 1
    index = (apart[..., 0] * (2 * window - 1) + apart[..., 1]).flatten()
    for name, buffer in list(model.named_buffers()):
        owner, _, leaf = name.rpartition(".")
        if leaf != "relative_position_index" or buffer.shape != index.shape:
            raise MissingError(f"this transformers has an unknown Swin ({name}); type: pip install -U chain-of-zoom")
        model.get_submodule(owner).register_buffer(leaf, index, persistent=False)


def _read_state(path: str | Path, name: str) -> dict[str, Tensor]:
    """Read a file's state dict, bare or under "model" as RAM's is."""
    state = read_tensors(path)
    if isinstance(state, dict) and isinstance(state.get("model"), dict):
        state = state["model"]
    if not isinstance(state, dict) or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items()):
        raise _make_error(name, f"{Path(path).name} is not a state dict")
    return state


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {key: tuple(tensor.shape) for key, tensor in tensors.items()}


def _refuse(name: str, problem: str, keys: Iterable[str]) -> None:
    """Raise MissingError where there are such keys."""
    if names := sorted(keys):
        raise _make_error(name, f"{len(names)} {problem} ({', '.join(names[:3])}{', ...' if names[3:] else ''})")


def _make_error(name: str, problem: str) -> MissingError:
    accepted = "ram_swin_large_14m.pth" if name == "RAM" else "DAPE.pth"
    return MissingError(f"{name} weights: {problem}; accepted: {accepted} or its like; check the path, or get it again")
