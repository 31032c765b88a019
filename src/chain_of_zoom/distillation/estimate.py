"""Estimates the memory of a training run from configurations alone, on torch's meta device, which holds no numbers.

Activations are the tensors that autograd saves for the backward pass, each counted once; attention is fused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

from chain_of_zoom.distillation.losses import pixel_loss
from chain_of_zoom.distillation.network import MAX_EMBEDDED, Student
from chain_of_zoom.distillation.settings import Settings
from chain_of_zoom.errors import MissingError
from chain_of_zoom.runtime.placement import choose_device, choose_dtype

GRADIENTS = 4
"""Tensors as large as the largest activation that are there at a time on the way back, beside what was saved for it."""

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


class MemoryRow(msgspec.Struct, frozen=True, kw_only=True):
    """Holds the memory of one part of a training run."""

    part: str = msgspec.field(name="what")
    """Name of the part, for people."""
    parameters: int | None
    """Number of weights; None where the part is no network."""
    bytes: int
    """Memory that the part takes here."""
    published: int
    """Memory it takes in the published training: a transformer for each network, and everything resident."""


def estimate(settings: Settings) -> list[MemoryRow]:
    """List the memory of all parts on one device, their sum, and main memory. Raises MissingError for a broken base."""
    dtype = choose_dtype(settings.run.dtype, choose_device(settings.run.device))
    if settings.run.device == "auto":
        dtype = torch.bfloat16  # training at full size is for GPUs, wherever the estimate is made
    width = dtype.itemsize
    pipeline = MetaPipeline(Path(settings.model.base), t5=settings.model.t5)
    transformer, vae = _count(pipeline.transformer), _count(pipeline.vae)
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
    activations = {on: _measure_activations(student, vgg, settings, checkpointing=on) for on in (True, False)}
    captions = MAX_EMBEDDED * (77 + settings.model.t5_tokens) * pipeline.transformer.config.joint_attention_dim * width
    rows = [
        MemoryRow(part="transformer: here one copy, published three", parameters=transformer,
            bytes=transformer * width, published=3 * transformer * width),
        MemoryRow(part="VAE, float32", parameters=vae, bytes=vae * 4, published=vae * 4),
        MemoryRow(part="text encoders: here freed, or in main memory between 256 captions", parameters=texts, bytes=0,
            published=texts * width),
        MemoryRow(part="adapters, float32", parameters=trained, bytes=trained * 4, published=trained * 4),
        MemoryRow(part="their gradients and AdamW's moments", parameters=None,
            bytes=trained * 12, published=trained * 12),
        MemoryRow(part=f"activations of a batch of {settings.optimizer.batch} at {settings.data.size} px, "
            f"{'with' if settings.model.checkpointing else 'without'} checkpointing",
            parameters=None, bytes=activations[settings.model.checkpointing], published=activations[False]),
    ]  # fmt: skip
    if vgg:
        vgg_bytes = _count(vgg) * 4
        rows.insert(4, MemoryRow(part="VGG16 of LPIPS", parameters=_count(vgg), bytes=vgg_bytes, published=vgg_bytes))
    total = MemoryRow(
        part="on the device", parameters=None,
        bytes=sum(row.bytes for row in rows), published=sum(row.published for row in rows),
    )  # fmt: skip
    host = MemoryRow(
        part="beside it, in main memory: 256 embedded captions", parameters=None, bytes=captions, published=0
    )
    return [*rows, total, host]


class MetaPipeline:
    """Holds transformer, VAE, scheduler and text encoders on the meta device, configured by a folder or as SD3."""

    def __init__(self, base: Path, *, t5: bool) -> None:
        import diffusers
        from transformers import CLIPTextConfig, CLIPTextModelWithProjection, T5Config, T5EncoderModel

        is_local = base.is_dir()
        names = ["text_encoder", "text_encoder_2", *(["text_encoder_3"] if t5 else [])]
        kinds: list[tuple[Any, Any, dict[str, Any]]] = [
            (CLIPTextConfig, CLIPTextModelWithProjection, _CLIP_L | {"projection_dim": 768}),
            (CLIPTextConfig, CLIPTextModelWithProjection, _CLIP_G | {"projection_dim": 1280}),
            (T5Config, T5EncoderModel, _T5),
        ]
        models: Any = diffusers
        try:
            with torch.device("meta"):
                self.transformer = _make_model(
                    models.SD3Transformer2DModel, base / "transformer", _TRANSFORMER, is_local
                )
                self.vae = _make_model(models.AutoencoderKL, base / "vae", _VAE, is_local)
                self.encoders = [
                    model(config.from_pretrained(base / name) if is_local else config(**values))
                    for name, (config, model, values) in zip(names, kinds, strict=False)
                ]
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise MissingError(
                f"base model {base} has no usable configuration ({reason}); accepted: Stable Diffusion 3 medium in "
                "diffusers layout; type: coz models"
            ) from error
        self.scheduler = models.FlowMatchEulerDiscreteScheduler(shift=3.0)


def _make_model(model: Any, folder: Path, values: dict[str, Any], is_local: bool) -> Any:
    return model.from_config(model.load_config(folder)) if is_local else model(**values)


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _vgg() -> nn.Module:
    layers: list[nn.Module] = []
    width = 3
    for out in _VGG16:
        layers += [nn.Conv2d(width, out, 3, padding=1), nn.ReLU()] if out else [nn.MaxPool2d(2)]
        width = out or width
    return nn.Sequential(*layers).requires_grad_(False)


def _measure_activations(student: Student, vgg: nn.Module | None, settings: Settings, *, checkpointing: bool) -> int:
    """Count the bytes that the generator's loss saves for its backward pass, and the largest block computed again.

    On the way back there are besides, at most: gradients of a block's result and of its branch, the one being computed,
    and a result that is computed again.
    """
    count, size = settings.optimizer.batch, settings.data.size
    config = student.transformer.config
    saved, largest_block, largest = SavedTensors(student), 0, 0

    def checkpoint_block(block: Callable[..., Any], *arguments: Any) -> Any:
        nonlocal largest_block, largest
        for argument in arguments:
            if isinstance(argument, Tensor):
                saved.add(argument)
        inner = SavedTensors(student)
        with inner.count():
            result = block(*arguments)
        largest_block, largest = max(largest_block, inner.bytes), max(largest, inner.largest)
        return result

    for module in (student.transformer, student.vae):
        if checkpointing:
            module.enable_gradient_checkpointing(checkpoint_block)
        else:
            module.disable_gradient_checkpointing()
    with saved.count(), _FusedAttention():
        pictures = torch.empty(count, 3, size, size, device="meta")
        texts = (
            torch.empty(count, 77 + settings.model.t5_tokens, config.joint_attention_dim, device="meta"),
            torch.empty(count, config.pooled_projection_dim, device="meta"),
        )
        noise = torch.empty(count, *student.latent_shape(size), device="meta")
        restored = student.decode(student.generate(pictures, noise, texts))
        results = [pixel_loss(restored, torch.empty_like(pictures)), vgg(restored) if vgg else restored]
    del results  # alive until here, as the graph is that they belong to
    return saved.bytes + largest_block + GRADIENTS * max(largest, saved.largest)


class SavedTensors:
    """Counts the bytes of distinct tensors that autograd saves and that are no weights."""

    def __init__(self, student: Student) -> None:
        weights = [*student.transformer.parameters(), *student.vae.parameters()]
        self.storages = {weight.untyped_storage()._cdata for weight in weights}
        self.tensors: list[Tensor] = []
        self.bytes = self.largest = 0

    def add(self, tensor: Tensor) -> Tensor:
        """Count a tensor unless its storage is counted already; return it unchanged."""
        storage = tensor.untyped_storage()
        if storage._cdata not in self.storages and not isinstance(tensor, nn.Parameter):
            self.storages.add(storage._cdata)
            self.tensors.append(tensor)  # alive, so that no other storage takes its address
            self.bytes += storage.nbytes()
            self.largest = max(self.largest, storage.nbytes())
        return tensor

    @contextmanager
    def count(self) -> Iterator[None]:
        """Count all tensors that are saved inside the `with` block."""
        with saved_tensors_hooks(self.add, lambda tensor: tensor):
            yield


class _AttentionMemory(torch.autograd.Function):
    """Saves the tensors that fused attention saves (queries, keys, values and the result) and computes nothing."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        result = torch.empty_like(query)
        ctx.save_for_backward(query, key, value, result)
        return result


class _FusedAttention(TorchFunctionMode):
    """Replaces attention by a stand-in for its fused kernel."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is scaled_dot_product_attention:
            tensors = dict(zip(("query", "key", "value"), args, strict=False)) | (kwargs or {})
            apply: Any = _AttentionMemory.apply
            return apply(tensors["query"], tensors["key"], tensors["value"])
        return func(*args, **(kwargs or {}))
