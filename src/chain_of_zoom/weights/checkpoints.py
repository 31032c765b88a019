"""Read weights without running anything that is in them: safetensors, or pickles of tensors alone."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from chain_of_zoom.errors import MissingError

# Before 2.10 a crafted file could still run code through the restricted unpickler (CVE-2025-32434 and its kin).
OLDEST_TORCH = (2, 10)


def read_tensors(path: str | Path) -> Any:
    """Read the tensors of a weight file on the CPU: a dict for .safetensors and state dicts, a list for lists.

    .pkl, .pt, .pth and .bin go through torch's restricted unpickler (tensors and plain containers only).
    Raises MissingError when the file is absent, damaged, or holds anything else.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingError(f"weights {path} are not there; accepted: a weight file; check the path, or see coz models")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        if tuple(int(part) for part in torch.__version__.split(".")[:2]) < OLDEST_TORCH:
            raise MissingError(
                f"torch {torch.__version__} cannot read {path.name} safely; accepted: torch 2.10 or newer; "
                "type: pip install -U torch"
            )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's advice on odd pickles is for their authors
            return torch.load(path, map_location="cpu", weights_only=True)
    except MissingError:
        raise
    except pickle.UnpicklingError as error:
        raise MissingError(
            f"{path.name} holds more than tensors, or is damaged; nothing in it was run; accepted: a file of tensors; "
            "get it again from its source"
        ) from error
    except Exception as error:  # readers raise almost anything on damaged files
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise MissingError(f"{path.name} is damaged ({reason}); accepted: a file of tensors; get it again") from error


def read_pipeline(
    kind: str, base: str, accepted: str, dtype: torch.dtype, *, vae: torch.dtype = torch.float32, **options: Any
) -> Any:
    """Read the diffusers pipeline of class `kind` from a folder or a hub name, all but its VAE in `dtype`.

    accepted: which model it should be, in words. Only safetensors are read, and nothing is downloaded.
    Raises MissingError for a model that is absent, damaged or of another kind.
    """
    import diffusers
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    for logging in (diffusers_logging, transformers_logging):
        disable: Any = logging.disable_progress_bar
        disable()
    try:
        return getattr(diffusers, kind).from_pretrained(
            base,
            use_safetensors=True,
            local_files_only=True,
            dtype={"default": dtype, "vae": vae},  # SD3's VAE loses up to 5% in bfloat16
            **options,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise MissingError(
            f"base model {base} cannot be loaded ({reason}); accepted: a folder or a downloaded {accepted} "
            "in diffusers layout; type: coz models"
        ) from error
