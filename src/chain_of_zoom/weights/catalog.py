"""The list of all weight files that large backbones and prompters need: what they are, their licences, their sources.

A row is all that `coz models`, `coz doctor`, presets and backbones know of weights. `weights.hub` finds and gets them.
"""

from __future__ import annotations

from dataclasses import dataclass

from chain_of_zoom.errors import UsageError, suggest
from chain_of_zoom.resources import human_size

COZ = "https://github.com/bryanswkim/Chain-of-Zoom"
RAM = "https://github.com/xinyu1205/recognize-anything"


@dataclass(frozen=True, kw_only=True)
class WeightItem:
    """Describes one set of weights."""

    name: str
    """Name in `coz models`."""
    about: str
    """What it is, in one phrase."""
    bytes: int
    """About how large."""
    licence: str
    """Its licence, in words."""
    commercial: bool = True
    """Whether the licence allows commercial use at all."""
    gated: bool = False
    """Whether the hub asks to accept the licence first."""
    source: str
    """Name on the hub, or git repository and path in it."""
    hub: str | None = None
    """Name on the Hugging Face hub."""
    files: tuple[str, ...]
    """Names of the file, converted first, published last; of a `folder`, files that must be in it ("a|b": either)."""
    folder: bool = False
    """Whether it is a folder, not one file."""
    sha256: str | None = None
    """SHA-256 of the published file."""

    @property
    def size(self) -> str:
        """Return about how large it is, in words: "7.5 GB"."""
        return human_size(self.bytes)

    @property
    def terms(self) -> str:
        """Return the licence, and whether it is non-commercial or gated, in words."""
        words = [self.licence, "" if self.commercial else "NON-COMMERCIAL"]
        if self.gated:
            words.append(f"gated: accept the licence at https://huggingface.co/{self.hub} and type: hf auth login")
        return ", ".join(word for word in words if word)


_LISTED = (
    WeightItem(
        name="sd3",
        about="Stable Diffusion 3 medium, the base model",
        bytes=16_000_000_000,
        licence="Stability AI Non-Commercial Research Community License (others are for sale)",
        commercial=False,
        gated=True,
        source="stabilityai/stable-diffusion-3-medium-diffusers",
        hub="stabilityai/stable-diffusion-3-medium-diffusers",
        files=("model_index.json",),
        folder=True,
    ),
    WeightItem(
        name="qwen",
        about="Qwen2.5-VL-3B-Instruct, the vision-language model that writes the prompts",
        bytes=7_500_000_000,
        licence="Qwen Research License",
        commercial=False,
        source="Qwen/Qwen2.5-VL-3B-Instruct",
        hub="Qwen/Qwen2.5-VL-3B-Instruct",
        files=(
            *("config.json", "generation_config.json", "preprocessor_config.json", "tokenizer_config.json"),
            "tokenizer.json|vocab.json",
        ),
        folder=True,
    ),
    WeightItem(
        name="sr-lora",
        about="the paper's adapters of the SD3 transformer",
        bytes=8_000_000,
        licence="MIT",
        source=f"{COZ} ckpt/SR_LoRA/model_20001.pkl",
        files=("model_20001.safetensors", "model_20001.pkl"),
        sha256="697d3f9ab69a222006ca3ae48503cf057774c8142646301e9bba90e58242e47e",
    ),
    WeightItem(
        name="sr-vae",
        about="the paper's adapted VAE encoder",
        bytes=70_000_000,
        licence="MIT",
        source=f"{COZ} ckpt/SR_VAE/vae_encoder_20001.pt",
        files=("vae_encoder_20001.safetensors", "vae_encoder_20001.pt"),
        sha256="ed7f7aa03dfcbce9016d51c5aa8d3920428b3d7c9a678c721cd062d01805ae4a",
    ),
    WeightItem(
        name="oracle",
        about="OracleZoom's transformer: the paper's, trained on to contradict earlier zooms less",
        bytes=8_100_000_000,
        licence="MIT, but a merged Stable Diffusion 3 medium, so Stability AI's licence applies",
        commercial=False,
        source="dipta007/OracleZoom merged_transformer.safetensors",
        hub="dipta007/OracleZoom",
        files=("merged_transformer.safetensors",),
    ),
    WeightItem(
        name="vlm-adapter",
        about="the paper's preference-aligned adapter of Qwen2.5-VL",
        bytes=60_000_000,
        licence="MIT, but trained on Qwen2.5-VL-3B, so the Qwen Research License applies",
        commercial=False,
        source=f"{COZ} ckpt/VLM_LoRA/checkpoint-10000",
        files=("adapter_config.json", "adapter_model.safetensors"),
        folder=True,
        sha256="1ba6fc24e76e0e078ceb6e067c49bcfbe86cb0d8995add1515172d922fba2ebd",
    ),
    WeightItem(
        name="dape",
        about="DAPE, SeeSR's adapters of RAM",
        bytes=7_000_000,
        licence="MIT (as the repository says)",
        source=f"{COZ} ckpt/DAPE/DAPE.pth",
        files=("DAPE.safetensors", "DAPE.pth"),
        sha256="a7028be2edcbe9ab0bd1c4ab6f2a2a86f4b44d32261a4faa50ae10fdd9b2feba",
    ),
    WeightItem(
        name="ram",
        about="Recognize Anything (Swin-L), the tagging model",
        bytes=5_600_000_000,
        licence="Apache-2.0",
        source="xinyu1205/recognize_anything_model ram_swin_large_14m.pth",
        hub="xinyu1205/recognize_anything_model",
        files=("ram_swin_large_14m.safetensors", "ram_swin_large_14m.pth"),
    ),
    *(
        WeightItem(
            name=name, about=phrase, bytes=size, licence="Apache-2.0", source=f"{RAM} ram/data/{file}", files=(file,)
        )
        for name, phrase, size, file in (
            ("ram-tags", "RAM's list of tags", 50_000, "ram_tag_list.txt"),
            ("ram-thresholds", "RAM's threshold of every tag", 25_000, "ram_tag_list_threshold.txt"),
        )
    ),
    WeightItem(
        name="sd-x4",
        about="Stable Diffusion x4 upscaler, for --backbone sd-x4",
        bytes=3_500_000_000,
        licence="CreativeML Open RAIL++-M (commercial use allowed, some uses forbidden)",
        source="stabilityai/stable-diffusion-x4-upscaler",
        hub="stabilityai/stable-diffusion-x4-upscaler",
        files=("model_index.json",),
        folder=True,
    ),
    WeightItem(
        name="flux2-klein",
        about="FLUX.2 [klein] 4B, edits pictures in 4 steps, for --backbone flux2-klein",
        bytes=16_000_000_000,
        licence="Apache-2.0",
        source="black-forest-labs/FLUX.2-klein-4B",
        hub="black-forest-labs/FLUX.2-klein-4B",
        files=("model_index.json",),
        folder=True,
    ),
    WeightItem(
        name="z-image",
        about="Z-Image-Turbo, makes pictures in 8 steps, for --backbone z-image",
        bytes=33_000_000_000,
        licence="Apache-2.0",
        source="Tongyi-MAI/Z-Image-Turbo",
        hub="Tongyi-MAI/Z-Image-Turbo",
        files=("model_index.json",),
        folder=True,
    ),
)
ITEMS: dict[str, WeightItem] = {item.name: item for item in _LISTED}


def find_item(name: str) -> WeightItem:
    """Return the item called `name`. Raises UsageError."""
    if name not in ITEMS:
        hint = suggest(name, ITEMS, "see coz models")
        raise UsageError(f"unknown weights {name!r}; accepted: {', '.join(ITEMS)}; {hint}")
    return ITEMS[name]
