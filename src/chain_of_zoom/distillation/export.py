"""Exports the adapters of a run as files that `coz zoom` loads, with the options they were trained for."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from chain_of_zoom.distillation.network import Student
from chain_of_zoom.files import make_folder, write_atomic
from chain_of_zoom.networks.sd.lora import ENCODER_PREFIX, TRANSFORMER_PREFIX
from chain_of_zoom.weights.files import ABOUT, TRAINED


def write_weights(folder: Path, student: Student, about: Mapping[str, Any]) -> Path:
    """Write both adapters to one file, float32, with names as diffusers gives to LoRA; return its path.

    about: goes into the header; its "use" holds options that the backbone reads there. Raises OutputError.
    """
    parts = ((TRANSFORMER_PREFIX, student.generator), (ENCODER_PREFIX, student.encoder))
    tensors = {prefix + name: _plain(weight) for prefix, weights in parts for name, weight in weights.items()}
    path = folder / TRAINED
    # One entry: safetensors writes several in random order.
    write_atomic(path, save(tensors, {ABOUT: json.dumps(about, sort_keys=True)}))
    return path


def write_published(folder: Path, student: Student, step: int) -> tuple[Path, Path]:
    """Write the two files of the published layout (method, section 3); return the paths of adapter and encoder.

    The first holds a list of tensors (up, down, up, down ...) of the transformer's adapter, the second the encoder in
    float16. The layout cannot say whether the shift was subtracted in training. Raises OutputError.
    """
    parts = ("lora_B", "lora_A")
    pairs = [_plain(student.generator[f"{name}.{part}.weight"]) for name in student.layers for part in parts]
    state = {key: _plain(value).half() for key, value in student.vae.encoder.state_dict().items()}
    lora = folder / "SR_LoRA" / f"model_{step}.pkl"
    encoder = folder / "SR_VAE" / f"vae_encoder_{step}.pt"
    for path, tensors in ((lora, pairs), (encoder, state)):
        make_folder(path.parent)
        buffer = io.BytesIO()
        torch.save(tensors, buffer)
        write_atomic(path, buffer.getvalue())
    return lora, encoder


def _plain(weight: nn.Parameter | Tensor) -> Tensor:
    return weight.detach().cpu().contiguous()
