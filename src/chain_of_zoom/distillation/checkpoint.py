"""Saves the state of a training run, and exports its adapters as files that `coz zoom` loads.

The state (trained weights, optimizers, steps) is one safetensors file, without pickle.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from chain_of_zoom.distillation.network import Student
from chain_of_zoom.errors import MissingError
from chain_of_zoom.files import make_folder, write_atomic
from chain_of_zoom.networks.sd.lora import ENCODER_PREFIX, TRANSFORMER_PREFIX
from chain_of_zoom.weights.files import ABOUT, TRAINED

NAME = "checkpoint.safetensors"
_MOMENTS = ("exp_avg", "exp_avg_sq", "step")

Groups = Mapping[str, Mapping[str, nn.Parameter]]  # group (such as generator, encoder, regulariser) -> name -> weight
Optimizers = Mapping[str, Any]  # group -> the optimizer that trains it


@dataclass(frozen=True, kw_only=True)
class TrainingProgress:
    """Says how far a run is, and of which settings it is."""

    step: int
    """Finished steps of the optimizers."""
    identity: dict[str, Any]
    """Settings that must not change when the run is resumed (see `Settings.identity`)."""
    scale: dict[str, Any] | None = None
    """State of the scaler of losses in float16; None in other precisions."""


def save_checkpoint(folder: Path, progress: TrainingProgress, groups: Groups, optimizers: Optimizers) -> None:
    """Replace the checkpoint of the folder. Raises OutputError; the earlier checkpoint is intact then."""
    tensors = {
        f"{group}/{name}": parameter.detach().cpu().contiguous()
        for group, parameters in groups.items()
        for name, parameter in parameters.items()
    }
    for group, optimizer in optimizers.items():
        state = optimizer.state_dict()["state"]
        for index, name in enumerate(groups[group]):
            for moment in _MOMENTS if state else ():
                tensors[f"{moment}/{group}/{name}"] = state[index][moment].detach().cpu().contiguous()
    about = {"progress": json.dumps(progress.__dict__, sort_keys=True)}
    write_atomic(folder / NAME, save(tensors, about))


def read_progress(folder: Path) -> TrainingProgress | None:
    """Read how far the run in the folder is; None without a checkpoint. Raises MissingError for a damaged one."""
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as file:
            return TrainingProgress(**json.loads(file.metadata()["progress"]))
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(path, error) from error


def load_checkpoint(folder: Path, groups: Groups, optimizers: Optimizers) -> None:
    """Load weights and optimizers from the checkpoint of the folder. Raises MissingError for one that does not fit."""
    path = folder / NAME
    try:
        with safe_open(path, "pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no mapping
        _fill(groups, tensors)
        moments = _MOMENTS if tensors else ()  # before the first step there are none
        for group, optimizer in optimizers.items():
            names = enumerate(groups[group] if moments else ())
            state = {i: {m: tensors.pop(f"{m}/{group}/{name}") for m in moments} for i, name in names}
            optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise _damaged(path, error) from error
    if tensors:
        raise _damaged(path, f"{next(iter(tensors))} has no place")


def load_groups(folder: Path, groups: Groups) -> None:
    """Load the weights alone, to begin another run with. Raises MissingError."""
    path = folder / NAME
    try:
        with safe_open(path, "pt") as file:
            names = [f"{group}/{name}" for group, parameters in groups.items() for name in parameters]
            _fill(groups, {name: file.get_tensor(name) for name in names})
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise MissingError(
            f"--init {folder} has no checkpoint that fits ({error}); accepted: a folder that coz train wrote, with the "
            "same base model; check the path"
        ) from error


@torch.no_grad()
def _fill(groups: Groups, tensors: dict[str, Tensor]) -> None:
    for group, parameters in groups.items():
        for name, parameter in parameters.items():
            parameter.copy_(tensors.pop(f"{group}/{name}"))


def _damaged(path: Path, reason: object) -> MissingError:
    return MissingError(f"{path} is damaged ({reason}); accepted: what coz train wrote; type: --force to begin anew")


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
    """Write the two files of the published layout (as published); return the paths of adapter and encoder.

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
