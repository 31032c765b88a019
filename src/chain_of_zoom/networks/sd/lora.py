"""Merge the published adapters into the weights they were trained on (as published).

Merged weights cost nothing at run time; tests show merged = unmerged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from chain_of_zoom.errors import MissingError
from chain_of_zoom.weights.checkpoints import read_tensors
from chain_of_zoom.weights.files import trained_about

TRANSFORMER_PREFIX, ENCODER_PREFIX = "transformer.", "vae.encoder."
TRANSFORMER_SCALE = 1.0
ENCODER_RANK, ENCODER_ALPHA = 4, 8  # PEFT's default alpha, so the scale is 2


def find_modulation_linears(transformer: nn.Module) -> Iterator[tuple[str, nn.Linear]]:
    """Yield every Linear inside modules of class AdaLayerNormZero, in module order: the published list adapts these."""
    for name, module in transformer.named_modules():
        if type(module).__name__ == "AdaLayerNormZero":
            for inner, linear in module.named_modules():
                if isinstance(linear, nn.Linear):
                    yield f"{name}.{inner}", linear


@torch.no_grad()
def merge_transformer(transformer: nn.Module, tensors: Any, rank: int = 4, source: str = "the LoRA") -> None:
    """Add up @ down to every modulation Linear.

    tensors: the published list (up, down, up, down ...), or a dict whose sorted keys give that list (as
    `coz models convert` writes). Raises MissingError when it does not fit.
    """
    values = [tensors[key] for key in sorted(tensors)] if isinstance(tensors, Mapping) else tensors
    linears = list(find_modulation_linears(transformer))
    if not isinstance(values, Sequence) or not all(isinstance(value, Tensor) for value in values):
        raise MissingError(f"{source} is no list of tensors; accepted: up, down per Linear; get the published file")
    if len(values) != 2 * len(linears):
        raise MissingError(
            f"{source} has {len(values)} tensors for {len(linears)} layers; accepted: {2 * len(linears)}; "
            "use the file that was trained on this base model"
        )
    pairs = list(zip(values[::2], values[1::2], strict=True))
    for (name, linear), (up, down) in zip(linears, pairs, strict=True):
        shapes = (linear.out_features, rank), (rank, linear.in_features)
        if (tuple(up.shape), tuple(down.shape)) != shapes:
            raise MissingError(
                f"{source} has {tuple(up.shape)} and {tuple(down.shape)} for {name}; accepted: {shapes[0]} and "
                f"{shapes[1]} (rank {rank}); use the file that was trained on this base model"
            )
    for (_, linear), (up, down) in zip(linears, pairs, strict=True):
        linear.weight += (TRANSFORMER_SCALE * (up.float() @ down.float())).to(linear.weight)


@torch.no_grad()
def merge_encoder(encoder: nn.Module, state: Any, source: str = "the VAE encoder file") -> None:
    """Load the state dict of a PEFT-adapted VAE encoder, adapters merged: base + 2 * B @ A.

    Raises MissingError when a weight is missing, left over, or of another shape or rank.
    """
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise MissingError(f"{source} is no state dict; accepted: the published encoder file; get it again")
    merged = merge_encoder_state(state, source)
    try:
        encoder.load_state_dict(merged, strict=True, assign=next(encoder.parameters()).is_meta)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:240]
        raise MissingError(
            f"{source} does not fit the VAE encoder of the base model ({reason}); use its own file"
        ) from error


@torch.no_grad()
def merge_trained(transformer: nn.Module, encoder: nn.Module, tensors: Any, source: str = "the LoRA") -> None:
    """Merge the file of `coz train`: adapters of the transformer and of the VAE encoder, by the names of diffusers.

    Raises MissingError when a tensor is missing, left over, or of another shape.
    """
    tensors = dict(tensors) if isinstance(tensors, Mapping) else {}
    pairs: list[Tensor] = []
    for name, _ in find_modulation_linears(transformer):
        for part in ("lora_B", "lora_A"):
            key = f"{TRANSFORMER_PREFIX}{name}.{part}.weight"
            if key not in tensors:
                raise MissingError(f"{source} lacks {key}; use the file that was trained on this base model")
            pairs.append(tensors.pop(key))
    state = {key.removeprefix(ENCODER_PREFIX): value for key, value in tensors.items()}
    if len(state) != sum(key.startswith(ENCODER_PREFIX) for key in tensors):
        raise MissingError(f"{source} has more than adapters of transformer and VAE encoder; get the file again")
    merge_encoder_state({**encoder.state_dict(), **state}, source)  # checked before anything is changed
    merge_transformer(transformer, pairs, source=source)
    merge_encoder(encoder, {**encoder.state_dict(), **state}, source)


@torch.no_grad()
def replace_transformer(transformer: nn.Module, state: Mapping[str, Tensor], source: str = "the transformer") -> bool:
    """Give a transformer the weights of a file; return whether the adapters of its modulation are in them already.

    They may lie beside their layers, as the published code holds them (NAME.linear, NAME.lora_up, NAME.lora_down: so
    a transformer trained on top of it is saved), or be merged, which shows by weights other than the base model's.
    Raises MissingError when a weight is missing, left over, or of another shape.
    """
    plain = {key.removeprefix("base_model.model."): value for key, value in state.items()}
    linears = dict(find_modulation_linears(transformer))
    is_adapted = False
    for name, linear in linears.items():
        up, down = (plain.pop(f"{name}.lora_{way}.weight", None) for way in ("up", "down"))
        for part in ("weight", "bias"):
            if f"{name}.linear.{part}" in plain:
                plain[f"{name}.{part}"] = plain.pop(f"{name}.linear.{part}")
        weight = plain.get(f"{name}.weight")
        if weight is None or weight.shape != linear.weight.shape or (up is None) != (down is None):
            continue  # load_state_dict says what is wrong
        if up is not None and down is not None:
            plain[f"{name}.weight"] = weight.float() + TRANSFORMER_SCALE * (up.float() @ down.float())
            is_adapted = True
        elif not torch.allclose(weight.float(), linear.weight.float(), rtol=2**-7, atol=1e-6):  # two short roundings
            is_adapted = True
    try:
        transformer.load_state_dict(plain, strict=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:240]
        raise MissingError(
            f"{source} does not fit the transformer of the base model ({reason}); accepted: all weights of a "
            "Stable Diffusion 3 medium, in the names of diffusers; use its own file"
        ) from error
    return is_adapted


def read_transformer(path: str) -> dict[str, Tensor]:
    """Read the weights of a transformer: a safetensors file, or a folder of them. Raises MissingError."""
    files = sorted(Path(path).glob("*.safetensors")) if Path(path).is_dir() else [Path(path)]
    if not files:
        raise MissingError(f"{path} holds no weights; accepted: a folder with .safetensors files, or one such file")
    state: dict[str, Tensor] = {}
    for file in files:
        tensors = read_tensors(file)
        if not isinstance(tensors, Mapping) or not all(isinstance(value, Tensor) for value in tensors.values()):
            raise MissingError(f"{file} is no state dict; accepted: the weights of one transformer; get it again")
        state |= tensors
    return state


def merge_files(pipeline: Any, lora: str | None, vae_encoder: str | None, transformer: str | None = None) -> None:
    """Put other weights into a pipeline: a whole transformer first, then adapters, which it may have in it already.

    lora, vae_encoder: one file of `coz train`, or the published two. Raises MissingError.
    """
    if transformer:
        is_adapted = replace_transformer(pipeline.transformer, read_transformer(transformer), Path(transformer).name)
        if is_adapted and lora and trained_about(lora):
            raise MissingError(
                f"{Path(transformer).name} has adapters in it, and {Path(lora).name} brings others; accepted: one"
            )
        lora = None if is_adapted else lora
    if lora and trained_about(lora):
        merge_trained(pipeline.transformer, pipeline.vae.encoder, read_tensors(lora), source=Path(lora).name)
    elif lora:
        merge_transformer(pipeline.transformer, read_tensors(lora), source=Path(lora).name)
    if vae_encoder:
        merge_encoder(pipeline.vae.encoder, read_tensors(vae_encoder), source=Path(vae_encoder).name)


def merge_encoder_state(state: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """Return the plain state dict, float32; every tensor of `state` is used exactly once."""
    merged: dict[str, Tensor] = {}
    adapters: dict[str, dict[str, Tensor]] = {}
    for key, value in state.items():
        module, mark, matrix = key.partition(".lora_")
        if mark:
            adapters.setdefault(module, {})[matrix[:1]] = value.float()
        else:
            merged[key.replace(".base_layer.", ".")] = value.float()
    for module, pair in adapters.items():
        weight = merged.get(f"{module}.weight")
        if set(pair) != {"A", "B"} or weight is None:
            raise MissingError(f"{source} has half an adapter for {module}; get the file again")
        down, up = pair["A"], pair["B"]
        if down.shape[0] != ENCODER_RANK or up.shape[1] != ENCODER_RANK:
            raise MissingError(
                f"{source} has an adapter of rank {down.shape[0]} for {module}; accepted: {ENCODER_RANK}"
            )
        delta = up.flatten(1) @ down.flatten(1)
        if delta.numel() != weight.numel():
            raise MissingError(f"{source} has an adapter of another shape for {module}; get the file again")
        merged[f"{module}.weight"] = weight + ENCODER_ALPHA / ENCODER_RANK * delta.reshape(weight.shape)
    return merged
