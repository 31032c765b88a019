"""Vision-language models from a local folder or the Hugging Face cache, with their processor; nothing is downloaded.

Any model of transformers' AutoModelForImageTextToText will do; the paper's is Qwen2.5-VL-3B-Instruct (section 3.2).
Only safetensors are opened, and no code that comes with a model is run.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch

from chain_of_zoom.errors import MissingError
from chain_of_zoom.weights.catalog import ITEMS
from chain_of_zoom.weights.hub import find_model

DEFAULT_MODEL = ITEMS["qwen"].source

# Imported late, as it takes seconds; that it is absent should be known at once.
for _package in ("transformers", "peft"):
    if importlib.util.find_spec(_package) is None:
        raise ModuleNotFoundError(f"No module named {_package!r}", name=_package)

_LOCAL = {"local_files_only": True, "trust_remote_code": False}


class LoadedVlm(NamedTuple):
    """Holds a vision-language model."""

    model: Any
    """The network, in evaluation mode, on its device."""
    processor: Any
    """Makes its inputs, padded on the left."""


def load_vlm(model: str, adapter: str | Path | None, device: torch.device, dtype: torch.dtype) -> LoadedVlm:
    """Read a model, its processor and, where given, a LoRA folder, which is merged into the weights.

    `model` is a folder or the name of a model in the Hugging Face cache. Raises MissingError when something is absent,
    damaged or incomplete, when the model is no vision-language model, or the adapter is for another one.
    """
    from chain_of_zoom.networks.vlm.adapters import merge, read_adapter

    transformers = _transformers()
    source, config = _config(model)
    lora = None if adapter is None else read_adapter(adapter)
    processor = _processor(model, source, config.model_type)
    with _explained(model):
        network, report = transformers.AutoModelForImageTextToText.from_pretrained(
            source, config=config, dtype=dtype, use_safetensors=True, output_loading_info=True, **_LOCAL
        )
    # transformers fills what a checkpoint lacks with random numbers, and only prints a table about it.
    if absent := sorted(map(str, (*report["missing_keys"], *report["mismatched_keys"]))):
        raise MissingError(
            f"model {model} lacks {len(absent)} of its weights ({', '.join(absent[:3])}); accepted: a complete model; "
            "get it again"
        )
    network.to(device)
    if lora is not None:
        network = merge(network, lora)
    return LoadedVlm(network.eval(), processor)


def outline_vlm(model: str) -> LoadedVlm:
    """A model without its weights (on the meta device), and its processor: enough to count. Raises MissingError."""
    source, config = _config(model)
    processor = _processor(model, source, config.model_type)
    with _explained(model), torch.device("meta"):
        return LoadedVlm(_transformers().AutoModelForImageTextToText.from_config(config), processor)


def _config(model: str) -> tuple[str, Any]:
    """Return where a model lies, and its configuration."""
    transformers = _transformers()
    source = _find_source(model)
    with _explained(model):
        values, _ = transformers.PretrainedConfig.get_config_dict(source, **_LOCAL)
        has_own_code = "auto_map" in values and values.get("model_type") not in transformers.CONFIG_MAPPING
        config: Any = None if has_own_code else transformers.AutoConfig.from_pretrained(source, **_LOCAL)
    if has_own_code:
        raise MissingError(
            f"model {model} comes with code of its own, which is never run here; accepted: a model of transformers; or "
            f"serve it and name the URL, for example vllm serve {model} --trust-remote-code"
        )
    if type(config) not in transformers.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
        raise MissingError(
            f"model {model} is a {config.model_type}, no vision-language model; accepted: an image-text-to-text model "
            f"of transformers; for example {DEFAULT_MODEL}"
        )
    return source, config


def local_folder(model: str) -> Path | None:
    """Return the folder that `model` means, or None for the name of a model on the hub. Raises MissingError."""
    path = Path(model).expanduser()
    if path.is_dir():
        return path
    if re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", model):
        return None
    raise MissingError(
        f"model folder {model} is not there; accepted: a folder or a hub name; for example {DEFAULT_MODEL}"
    )


def _find_source(model: str) -> str:
    """Return the folder of a model. By its name alone, transformers would ask the network. Raises MissingError."""
    if folder := local_folder(model) or find_model(model):
        return str(folder)
    command = f"hf download {model}"
    if model == DEFAULT_MODEL:
        size = ITEMS["qwen"].size
        terms = "Qwen2.5-VL-3B's weights are under a non-commercial research licence"
        command = f"coz models get qwen (about {size}; {terms})"
    raise MissingError(
        f"model {model} is not on this machine; accepted: a folder or a model in the Hugging Face cache; "
        f"type: {command}"
    )


def _processor(model: str, source: str, model_type: str) -> Any:
    with _explained(model):
        if model_type == "qwen2_5_vl" and not _has_torchvision():
            processor = _qwen_without_video().from_pretrained(source, **_LOCAL)
        else:
            processor = _transformers().AutoProcessor.from_pretrained(source, **_LOCAL)
    tokenizer = getattr(processor, "tokenizer", None)
    if tokenizer is None or not hasattr(processor, "image_processor") or not _template(processor, tokenizer):
        raise MissingError(
            f"model {model} has no chat template, tokenizer or image processor; accepted: a complete "
            "instruction-tuned model; get it again"
        )
    # Texts are continued on the right, so shorter ones of a batch are filled up on the left; saved settings differ.
    tokenizer.padding_side = "left"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return processor


def _transformers() -> Any:
    """The library, imported late; Any, since half of what is used of it is untyped."""
    return importlib.import_module("transformers")


def _has_torchvision() -> bool:
    return importlib.util.find_spec("torchvision") is not None


def _template(processor: Any, tokenizer: Any) -> Any:
    processor.chat_template = processor.chat_template or tokenizer.chat_template
    return processor.chat_template


def _qwen_without_video() -> Any:
    """Qwen2.5-VL's processor less its video half, the only part that needs torchvision."""
    transformers = _transformers()
    stock: Any = transformers.models.qwen2_5_vl.Qwen2_5_VLProcessor

    class Stills(stock):  # type: ignore[misc]
        def __init__(self, image_processor: Any = None, tokenizer: Any = None, chat_template: Any = None) -> None:
            self.image_token, self.video_token = "<|image_pad|>", "<|video_pad|>"
            self.image_token_id = tokenizer.convert_tokens_to_ids(self.image_token)
            self.video_token_id = tokenizer.convert_tokens_to_ids(self.video_token)
            transformers.ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)

    # transformers looks the parts of a processor up by this name.
    Stills.__name__ = "Qwen2_5_VLProcessor"
    return Stills


@contextmanager
def _explained(model: str) -> Iterator[None]:
    """Turn whatever transformers meets in a model that is absent or damaged into one MissingError."""
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError

    try:
        yield
    except (
        OSError,
        ValueError,
        RuntimeError,
        KeyError,
        TypeError,
        AttributeError,
        ImportError,
        SafetensorError,
        StrictDataclassError,
    ) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
        raise MissingError(
            f"model {model} cannot be loaded ({reason}); accepted: config.json, tokenizer, image processor and "
            f"*.safetensors of an image-text-to-text model; get it again, or take {DEFAULT_MODEL}"
        ) from error
