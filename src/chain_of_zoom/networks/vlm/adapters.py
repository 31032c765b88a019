"""PEFT LoRA adapters of vision-language models: read, fitted to the module names of transformers 5, merged.

The published adapter was saved under transformers 4.49, where the language model was called `model.layers...`; it is
`model.language_model.layers...` now, and PEFT loads the old names as a silent no-op. So every key is placed by hand,
and one that finds no place is an error. What the adapter is trained for: paper, section 3.3.
"""

from __future__ import annotations

import warnings
from collections.abc import Container, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftConfig, PeftModel
from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict

from chain_of_zoom.errors import MissingError
from chain_of_zoom.weights.checkpoints import read_tensors

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
PICKLE = "adapter_model.bin"
PREFIX = "base_model.model."

# The towers of Qwen2-VL and Qwen2.5-VL: name under transformers 4.49 -> name since 4.52.
_TOWERS = {"model.": "model.language_model.", "visual.": "model.visual."}


@dataclass(frozen=True)
class Adapter:
    """Holds an adapter as its folder does."""

    folder: Path
    """The folder."""
    config: LoraConfig
    """PEFT's configuration."""
    tensors: dict[str, torch.Tensor]
    """Tensors by key, on the CPU."""


def read_adapter(folder: str | Path) -> Adapter:
    """Read a PEFT LoRA folder (adapter_config.json and adapter_model.safetensors); nothing is unpickled.

    Raises MissingError when the folder or a file is absent or damaged, or holds something other than a LoRA.
    """
    folder = Path(folder).expanduser()
    if not (folder / CONFIG).is_file():
        problem = f"has no {CONFIG}" if folder.is_dir() else "is not there"
        raise MissingError(f"adapter folder {folder} {problem}; accepted: a PEFT LoRA folder; check the path")
    if not (folder / WEIGHTS).is_file() and (folder / PICKLE).is_file():
        raise MissingError(
            f"adapter {folder} holds {PICKLE}, a pickle, which may run code and is not opened; accepted: {WEIGHTS}; "
            "convert it to safetensors where you trust it: safetensors.torch.save_file(torch.load(..., "
            "weights_only=True), ...)"
        )
    try:
        config = PeftConfig.from_pretrained(str(folder))
    except (ValueError, KeyError, TypeError, AttributeError, OSError, RecursionError) as error:
        raise MissingError(
            f"{folder / CONFIG} cannot be read ({_reason(error)}); accepted: the {CONFIG} that PEFT saves; get it again"
        ) from error
    if not isinstance(config, LoraConfig):
        raise MissingError(f"adapter {folder} is a {config.peft_type}; accepted: LORA; give a LoRA folder")
    adapter = Adapter(folder, config, read_tensors(folder / WEIGHTS))
    if wild := [key for key, value in adapter.tensors.items() if not value.isfinite().all()]:
        raise _unfit(adapter, "values that are not numbers", wild)
    return adapter


def rename_keys(keys: Iterable[str], modules: Container[str]) -> dict[str, str]:
    """Map each key of the file to its key under today's names, for a model with these modules.

    A key whose module exists is left alone; an old name is mapped when that gives a module of the model.
    Keys that fit neither way are left as they are, for `inject` to refuse.
    """
    return {key: PREFIX + _current(key.removeprefix(PREFIX), modules) for key in keys}


def inject(model: Any, adapter: Adapter) -> tuple[PeftModel, dict[str, torch.Tensor]]:
    """Put the adapter's layers into a model, still without values; return it, and the tensors by today's names.

    `model` is changed in place. Raises MissingError unless keys and shapes of file and layers agree one to one.
    """
    modules = {name for name, _ in model.named_modules()}
    names = rename_keys(adapter.tensors, modules)
    tensors = {names[key]: value for key, value in adapter.tensors.items()}
    if unused := [key for key, name in names.items() if _module(name.removeprefix(PREFIX)) not in modules]:
        raise _unfit(adapter, "keys that fit no module of this model", unused)
    if len(tensors) < len(names):
        raise _unfit(adapter, "two keys for one weight", [k for k in names if k != names[k] and names[k] in names])
    config = adapter.config
    try:
        if any(key != name for key, name in names.items()):
            config = replace(config, target_modules=_targets({_module(name.removeprefix(PREFIX)) for name in tensors}))
        with warnings.catch_warnings():  # PEFT still asks transformers for an attribute by its old name
            warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)
            wrapped = PeftModel(model, config)
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError, ImportError) as error:
        raise MissingError(
            f"adapter {adapter.folder} does not fit this model ({_reason(error)}); accepted: a LoRA of this very "
            "model; check which base model it was trained on"
        ) from error
    layers = _state(wrapped)
    original = {name: key for key, name in names.items()}
    if unused := [original[name] for name in tensors if name not in layers]:
        raise _unfit(adapter, "keys that no layer uses", unused)
    if absent := [name for name in layers if name not in tensors]:
        raise _unfit(adapter, "no values for some of its layers", absent)
    if wrong := [
        f"{original[name]} {list(value.shape)} instead of {list(layers[name].shape)}"
        for name, value in tensors.items()
        if value.shape != layers[name].shape
    ]:
        raise _unfit(adapter, "tensors of the wrong shape", wrong)
    return wrapped, tensors


def attach(model: Any, adapter: Adapter) -> PeftModel:
    """Let the adapter work beside a model's weights, not merged. Raises MissingError like `inject`."""
    wrapped, tensors = inject(model, adapter)
    set_peft_model_state_dict(wrapped, tensors)
    loaded = _state(wrapped)
    # PEFT says nothing about a value it dropped, so what arrived is compared with the file.
    if lost := [k for k, v in tensors.items() if not torch.equal(loaded[k].cpu(), v.to(loaded[k].dtype))]:
        raise _unfit(adapter, "values that did not load", lost)
    return wrapped.eval()


def merge(model: Any, adapter: Adapter) -> Any:
    """Add the adapter to a model's weights: W + scale * B A. Raises MissingError like `inject`."""
    return attach(model, adapter).merge_and_unload()


def _current(key: str, modules: Container[str]) -> str:
    """Return a key without PEFT's prefix under today's names."""
    if _module(key) not in modules:
        for old, new in _TOWERS.items():
            moved = new + key.removeprefix(old)
            if key.startswith(old) and _module(moved) in modules:
                return moved
    return key


def _module(key: str) -> str:
    """Return the module that a key (without prefix) belongs to."""
    module, separator, _ = key.partition(".lora_")
    return module if separator else key.rpartition(".")[0]


def _targets(modules: set[str]) -> str:
    """Return a regex for exactly the kinds of layer that the adapter has, tower by tower.

    The published regex, `^(model).*(q_proj|...)$`, would now also hit the MLPs of the vision tower.
    """
    kinds = {
        tower: sorted({name.rpartition(".")[2] for name in modules if name.startswith(tower)})
        for tower in _TOWERS.values()
    }
    parts = [tower.replace(".", r"\.") + rf".*\.({'|'.join(leaves)})" for tower, leaves in kinds.items() if leaves]
    return f"^({'|'.join(parts)})$"


def _state(wrapped: PeftModel) -> dict[str, torch.Tensor]:
    # Without False, PEFT asks the model hub whether the vocabulary was resized.
    state: dict[str, torch.Tensor] = get_peft_model_state_dict(wrapped, save_embedding_layers=False)
    return state


def _unfit(adapter: Adapter, problem: str, items: list[str]) -> MissingError:
    named = ", ".join(items[:3]) + (f" and {len(items) - 3} more" if len(items) > 3 else "")
    return MissingError(
        f"adapter {adapter.folder} has {problem} ({named}); accepted: a LoRA of this very model; "
        "check which base model it was trained on"
    )


def _reason(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
