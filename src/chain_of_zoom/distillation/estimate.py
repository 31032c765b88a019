"""Memory of a training run by count: from the configurations alone, on torch's meta device, which holds no numbers.

Activations are what autograd saves for the backward pass, each tensor counted once; attention as fused kernels do it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

from chain_of_zoom.distillation.network import Student
from chain_of_zoom.distillation.settings import Settings
from chain_of_zoom.distillation.texts import KEPT
from chain_of_zoom.errors import MissingError
from chain_of_zoom.runtime.placement import choose_device, choose_dtype

# Stable Diffusion 3 medium, where no folder says otherwise.
_TRANSFORMER = {
    "sample_size": 128, "patch_size": 2, "in_channels": 16, "num_layers": 24, "attention_head_dim": 64,
    "num_attention_heads": 24, "joint_attention_dim": 4096, "caption_projection_dim": 1536,
    "pooled_projection_dim": 2048, "out_channels": 16, "pos_embed_max_size": 192,
}  # fmt: skip
_VAE = {
    "in_channels": 3, "out_channels": 3, "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4, "block_out_channels": (128, 256, 512, 512), "layers_per_block": 2,
    "latent_channels": 16, "sample_size": 1024, "use_quant_conv": False, "use_post_quant_conv": False,
    "scaling_factor": 1.5305, "shift_factor": 0.0609,
}  # fmt: skip
_CLIP_L = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
_CLIP_G = {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 20}
_T5 = {
    "d_model": 4096, "d_kv": 64, "d_ff": 10240, "num_layers": 24, "num_heads": 64, "feed_forward_proj": "gated-gelu",
    "vocab_size": 32128,
}  # fmt: skip
_VGG16 = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512)  # 0: a max pool


@dataclass(frozen=True, kw_only=True)
class Row:
    """parameters: how many. bytes: here. published: with a transformer per network and everything resident."""

    what: str
    parameters: int | None
    bytes: int
    published: int


def estimate(settings: Settings) -> list[Row]:
    """Rows of memory on one device, their sum, and what lies in main memory. Raises MissingError for a broken base."""
    dtype = choose_dtype(settings.run.dtype, choose_device(settings.run.device))
    if settings.run.device == "auto":
        dtype = torch.bfloat16  # training at full size is for GPUs, wherever the estimate is made
    width = dtype.itemsize
    pipeline = _Parts(Path(settings.model.base), t5=settings.model.t5)
    counts = {name: _count(part) for name, part in (("transformer", pipeline.transformer), ("vae", pipeline.vae))}
    texts = sum(map(_count, pipeline.encoders))
    with torch.device("meta"):
        student = Student(
            pipeline, shift_in=True, checkpointing=False, seed=0, device=torch.device("meta"), autocast=nullcontext
        )
        vgg = _vgg() if settings.losses.network == "lpips" else None
    trained = sum(
        p.numel() for group in (student.generator, student.encoder, student.regulariser) for p in group.values()
    )
    nn.Module.to(student.transformer, dtype)  # diffusers' own warns of layers that this one does not have
    sizes = [_activations(student, vgg, settings, checkpointing=on) for on in (True, False)]
    chosen = sizes[0 if settings.model.checkpointing else 1]
    kept = KEPT * (77 + settings.model.t5_tokens) * pipeline.transformer.config.joint_attention_dim * width
    rows = [
        Row(what="transformer: here one copy, published three", parameters=counts["transformer"],
            bytes=counts["transformer"] * width, published=3 * counts["transformer"] * width),
        Row(what="VAE, float32", parameters=counts["vae"], bytes=counts["vae"] * 4, published=counts["vae"] * 4),
        Row(what="text encoders: here freed after up to 256 captions", parameters=texts, bytes=0,
            published=texts * width),
        Row(what="adapters, float32", parameters=trained, bytes=trained * 4, published=trained * 4),
        Row(what="their gradients and AdamW's moments", parameters=None, bytes=trained * 12, published=trained * 12),
        Row(what=f"activations of a batch of {settings.optimizer.batch} at {settings.data.size} px, "
            f"{'with' if settings.model.checkpointing else 'without'} checkpointing",
            parameters=None, bytes=chosen, published=sizes[1]),
    ]  # fmt: skip
    if vgg:
        vgg_bytes = _count(vgg) * 4
        rows.insert(4, Row(what="VGG16 of LPIPS", parameters=_count(vgg), bytes=vgg_bytes, published=vgg_bytes))
    total = Row(
        what="on the device", parameters=None,
        bytes=sum(row.bytes for row in rows), published=sum(row.published for row in rows),
    )  # fmt: skip
    host = Row(what="beside it, in main memory: 256 embedded captions", parameters=None, bytes=kept, published=0)
    return [*rows, total, host]


class _Parts:
    """Transformer, VAE, scheduler and text encoders on the meta device; from a folder's configurations, if there."""

    def __init__(self, base: Path, *, t5: bool) -> None:
        import diffusers
        from transformers import CLIPTextConfig, CLIPTextModelWithProjection, T5Config, T5EncoderModel

        local = base.is_dir()
        names = ["text_encoder", "text_encoder_2", *(["text_encoder_3"] if t5 else [])]
        kinds: list[tuple[Any, Any, dict[str, Any]]] = [
            (CLIPTextConfig, CLIPTextModelWithProjection, _CLIP_L | {"projection_dim": 768}),
            (CLIPTextConfig, CLIPTextModelWithProjection, _CLIP_G | {"projection_dim": 1280}),
            (T5Config, T5EncoderModel, _T5),
        ]
        models: Any = diffusers
        try:
            with torch.device("meta"):
                self.transformer = _diffusers(models.SD3Transformer2DModel, base / "transformer", _TRANSFORMER, local)
                self.vae = _diffusers(models.AutoencoderKL, base / "vae", _VAE, local)
                self.encoders = [
                    model(config.from_pretrained(base / name) if local else config(**values))
                    for name, (config, model, values) in zip(names, kinds, strict=False)
                ]
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise MissingError(
                f"base model {base} has no usable configuration ({reason}); accepted: Stable Diffusion 3 medium in "
                "diffusers layout; type: coz models"
            ) from error
        self.scheduler = models.FlowMatchEulerDiscreteScheduler(shift=3.0)


def _diffusers(model: Any, folder: Path, values: dict[str, Any], local: bool) -> Any:
    return model.from_config(model.load_config(folder)) if local else model(**values)


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _vgg() -> nn.Module:
    layers: list[nn.Module] = []
    width = 3
    for out in _VGG16:
        layers += [nn.Conv2d(width, out, 3, padding=1), nn.ReLU()] if out else [nn.MaxPool2d(2)]
        width = out or width
    return nn.Sequential(*layers).requires_grad_(False)


def _activations(student: Student, vgg: nn.Module | None, settings: Settings, *, checkpointing: bool) -> int:
    """Bytes that the generator's loss keeps for its backward pass, and the largest part that is computed again."""
    count, size = settings.optimizer.batch, settings.data.size
    config = student.transformer.config
    saved, again = _Saved(student), 0

    def recount(block: Callable[..., Any], *arguments: Any) -> Any:
        nonlocal again
        for argument in arguments:
            if isinstance(argument, Tensor):
                saved.add(argument)
        inner = _Saved(student)
        with inner.counting():
            made = block(*arguments)
        again = max(again, inner.bytes)
        return made

    for module in (student.transformer, student.vae):
        module.enable_gradient_checkpointing(recount) if checkpointing else module.disable_gradient_checkpointing()
    with saved.counting(), _Fused():
        pictures = torch.empty(count, 3, size, size, device="meta")
        texts = (
            torch.empty(count, 77 + settings.model.t5_tokens, config.joint_attention_dim, device="meta"),
            torch.empty(count, config.pooled_projection_dim, device="meta"),
        )
        noise = torch.empty(count, *student.latent_shape(size), device="meta")
        made = student.decode(student.generate(pictures, noise, texts))
        ends = [made, vgg(made)] if vgg else [made]
    del ends
    return saved.bytes + again


class _Saved:
    """What autograd saves: bytes of distinct tensors that are no weights."""

    def __init__(self, student: Student) -> None:
        weights = [*student.transformer.parameters(), *student.vae.parameters()]
        self.known = {weight.untyped_storage()._cdata for weight in weights}
        self.kept: list[Tensor] = []
        self.bytes = 0

    def add(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in self.known and not isinstance(tensor, nn.Parameter):
            self.known.add(storage._cdata)
            self.kept.append(tensor)  # alive, so that no other storage takes its address
            self.bytes += storage.nbytes()
        return tensor

    @contextmanager
    def counting(self) -> Iterator[None]:
        with saved_tensors_hooks(self.add, lambda tensor: tensor):
            yield


class _Attention(torch.autograd.Function):
    """Of fused attention only what it saves: queries, keys, values and the result."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        made = torch.empty_like(query)
        ctx.save_for_backward(query, key, value, made)
        return made


class _Fused(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is scaled_dot_product_attention:
            named = dict(zip(("query", "key", "value"), args, strict=False)) | (kwargs or {})
            apply: Any = _Attention.apply
            return apply(named["query"], named["key"], named["value"])
        return func(*args, **(kwargs or {}))
