"""Pipelines of diffusers from a folder or the Hugging Face cache: safetensors only, nothing is downloaded."""

from __future__ import annotations

from typing import Any

import torch

from chain_of_zoom.errors import MissingError


def read_pipeline(kind: str, base: str, accepted: str, dtype: torch.dtype, **options: Any) -> Any:
    """The pipeline of class `kind` from a folder or a hub name, its VAE in float32, the rest in `dtype`.

    accepted: which model it should be, in words. Raises MissingError for what is absent, damaged or something else.
    """
    import diffusers
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    for logging in (diffusers_logging, transformers_logging):
        quiet: Any = logging.disable_progress_bar
        quiet()
    try:
        return getattr(diffusers, kind).from_pretrained(
            base,
            use_safetensors=True,
            local_files_only=True,
            dtype={"default": dtype, "vae": torch.float32},  # the VAE loses up to 5% in bfloat16
            **options,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise MissingError(
            f"base model {base} cannot be loaded ({reason}); accepted: a folder or a downloaded {accepted} "
            "in diffusers layout; type: coz models"
        ) from error
