"""How large networks are, read from the headers of their safetensors files: no weights, no torch."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from math import prod
from pathlib import Path

from chain_of_zoom.runtime.plan import NetworkPart
from chain_of_zoom.weights.headers import read_header

# Other files of a folder are the same weights once more, in another precision.
_WEIGHTS = re.compile(r"(model|diffusion_pytorch_model)(-\d+-of-\d+)?\.safetensors")


def every(name: str) -> bool:
    """All parameters count."""
    return True


def count_parameters(folder: Path, counts: Callable[[str], bool] = every) -> int:
    """Parameters in a folder's weight files; counts: of tensors with these names. 0 where nothing can be read.

    What is absent or damaged is told by whoever reads the weights themselves.
    """
    total = 0
    for file in folder.glob("*.safetensors"):
        if _WEIGHTS.fullmatch(file.name):
            with suppress(OSError, ValueError):
                total += sum(prod(shape) for name, shape in read_header(file).shapes.items() if counts(name))
    return total


def _large(name: str) -> bool:
    """Weights of linear layers, which int8 stores well; not tables of embeddings."""
    kept = ("shared", "embed_tokens", "lm_head", "relative_attention_bias", "norm", "patch_embed")
    return name.endswith(".weight") and not any(word in name for word in kept)


# What each works with beside its weights, one picture of 512 x 512: as found by benchmarks/placement.py, doubled, as
# kernels take room too.
def sd3_parts(folder: Path, *, t5: bool = True) -> tuple[NetworkPart, ...]:
    """The networks of Stable Diffusion 3 in diffusers layout."""
    clip = count_parameters(folder / "text_encoder") + count_parameters(folder / "text_encoder_2")
    parts = [
        NetworkPart(name="clip", stage="texts", parameters=clip, work=10_000_000),
        NetworkPart(
            name="transformer", stage="image", parameters=count_parameters(folder / "transformer"), work=560_000_000
        ),
        NetworkPart(
            name="vae", stage="image", parameters=count_parameters(folder / "vae"), work=1_610_000_000, dtype="float32"
        ),
    ]  # fmt: skip
    if t5:
        count, large = (count_parameters(folder / "text_encoder_3", counts) for counts in (every, _large))
        parts.insert(1, NetworkPart(name="t5", stage="texts", parameters=count, quantisable=large, work=200_000_000))
    return tuple(parts)


def sdx4_parts(folder: Path) -> tuple[NetworkPart, ...]:
    """Stable Diffusion's x4 upscaler in diffusers layout; all of it works together. Its work is a guess."""
    folders = {"unet": "unet", "text encoder": "text_encoder", "vae": "vae"}
    return tuple(
        NetworkPart(name=name, stage="image", parameters=count_parameters(folder / inner), work=2_500_000_000)
        for name, inner in folders.items()
    )


def vlm_part(folder: Path) -> NetworkPart:
    """A vision-language model; two pictures of 512 x 512 and 32 words each time."""
    count, large = (count_parameters(folder, counts) for counts in (every, _large))
    return NetworkPart(name="vlm", stage="prompts", parameters=count, quantisable=large, work=400_000_000)


def find_hub_folder(name: str | Path) -> Path | None:
    """The folder itself, or that of a model in the Hugging Face cache; None where it is not on this machine."""
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    try:
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(str(name), local_files_only=True))
    except (ImportError, OSError, ValueError):
        return None
