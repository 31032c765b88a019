"""A run's state in one file of tensors: adapters, both optimizers, and how far it is. No pickle; whole or absent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from chain_of_zoom.errors import MissingError
from chain_of_zoom.files import write_atomic

NAME = "checkpoint.safetensors"
_MOMENTS = ("exp_avg", "exp_avg_sq", "step")

Groups = Mapping[str, Mapping[str, nn.Parameter]]  # group (generator, encoder, regulariser) -> name -> weight
Optimizers = Mapping[str, tuple[Any, tuple[str, ...]]]  # its name -> the optimizer and its groups, in order


@dataclass(frozen=True, kw_only=True)
class Progress:
    """step: steps done. identity: of the settings. scale: of the losses in half precision; None without."""

    step: int
    identity: dict[str, Any]
    scale: dict[str, Any] | None = None


def save_checkpoint(folder: Path, progress: Progress, groups: Groups, optimizers: Optimizers) -> None:
    """Replace the folder's checkpoint. Raises OutputError; the one before stays then."""
    tensors = {
        f"{group}/{name}": parameter.detach().cpu().contiguous()
        for group, parameters in groups.items()
        for name, parameter in parameters.items()
    }
    for optimizer, names in optimizers.values():
        state = optimizer.state_dict()["state"]
        for index, key in enumerate(_keys(groups, names)):
            for moment in _MOMENTS if state else ():
                tensors[f"{moment}/{key}"] = state[index][moment].detach().cpu().contiguous()
    about = {"progress": json.dumps(progress.__dict__, sort_keys=True)}
    write_atomic(folder / NAME, save(tensors, about))


def read_progress(folder: Path) -> Progress | None:
    """How far the run in the folder is; None without a checkpoint. Raises MissingError for a damaged one."""
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as file:
            return Progress(**json.loads(file.metadata()["progress"]))
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(path, error) from error


def load_checkpoint(folder: Path, groups: Groups, optimizers: Optimizers) -> None:
    """Take adapters and optimizers from the folder's checkpoint; all of its tensors are used. Raises MissingError."""
    path = folder / NAME
    try:
        with safe_open(path, "pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no mapping
        _fill(groups, tensors)
        for optimizer, names in optimizers.values():
            keys = _keys(groups, names)
            found = {i: {m: tensors.pop(f"{m}/{key}") for m in _MOMENTS} for i, key in enumerate(keys)}
            optimizer.load_state_dict({**optimizer.state_dict(), "state": found})
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise _damaged(path, error) from error
    if tensors:
        raise _damaged(path, f"{next(iter(tensors))} has no place")


def load_adapters(folder: Path, groups: Groups) -> None:
    """Take the adapters alone, to begin another run with. Raises MissingError."""
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


def _keys(groups: Groups, names: tuple[str, ...]) -> list[str]:
    return [f"{group}/{name}" for group in names for name in groups[group]]


@torch.no_grad()
def _fill(groups: Groups, tensors: dict[str, Tensor]) -> None:
    for group, parameters in groups.items():
        for name, parameter in parameters.items():
            parameter.copy_(tensors.pop(f"{group}/{name}"))


def _damaged(path: Path, why: object) -> MissingError:
    return MissingError(f"{path} is damaged ({why}); accepted: what coz train wrote; type: --force to begin anew")
