"""What the paper's networks weigh and work with, which way fits which GPU, and what batches and remembered texts save.

python benchmarks/placement.py           sizes of the full networks, on the meta device: no weights, no GPU
python benchmarks/placement.py --ratios  tiny networks on the CPU, one thread: only ratios mean something
"""

from __future__ import annotations

import argparse
import tempfile
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from paper_configs import build, write
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from chain_of_zoom import load_backbone, load_prompter
from chain_of_zoom.backbones.onestep import sd3_parts
from chain_of_zoom.errors import BackboneError
from chain_of_zoom.prompters.base import PromptContext
from chain_of_zoom.prompters.vlm import vlm_part
from chain_of_zoom.runtime import placement
from chain_of_zoom.runtime.plan import Need, plan

SIDE, LATENTS = 512, 64
TEXT = 77 + 512  # tokens of both CLIPs side by side, and of T5
PROMPT = 2 * 36 * 36 // 4 + 60 + 32  # two pictures of 36 x 36 patches, 4 a token; the question; the words
GPUS = (8, 12, 16, 24, 32, 48, 80)
NETWORKS = {
    "vlm": ("qwen",),
    "clip": ("clip_l", "clip_g"),
    "t5": ("t5",),
    "transformer": ("transformer",),
    "vae": ("vae",),
}


class Peak(TorchDispatchMode):
    """The most bytes alive at once among the storages made inside."""

    def __init__(self) -> None:
        super().__init__()
        self.alive = self.most = 0
        self.known: set[int] = set()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = function(*args, **(kwargs or {}))
        for each in made if isinstance(made, tuple | list) else [made]:
            if isinstance(each, Tensor) and (key := each.untyped_storage()._cdata) not in self.known:
                self.known.add(key)
                size = each.untyped_storage().nbytes()
                self.alive += size
                self.most = max(self.most, self.alive)
                weakref.finalize(each.untyped_storage(), self._freed, key, size)
        return made

    def _freed(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.alive -= size


def peak(call: Callable[[], object]) -> int:
    """Attention counts as a fused kernel computes it: no matrix of scores in memory."""
    real = nn.functional.scaled_dot_product_attention
    nn.functional.scaled_dot_product_attention = lambda query, *_, **__: torch.empty_like(query)  # type: ignore[assignment]
    try:
        with torch.inference_mode(), Peak() as found:
            call()
    finally:
        nn.functional.scaled_dot_product_attention = real
    return found.most


def networks() -> dict[str, list[Any]]:
    """The full ones on the meta device, in bfloat16, and the VAE in float32."""
    made = {}
    with torch.device("meta"):
        for name, parts in NETWORKS.items():
            torch.set_default_dtype(torch.float32 if name == "vae" else torch.bfloat16)
            made[name] = [build(part, "full").eval() for part in parts]
    torch.set_default_dtype(torch.float32)
    return made


def work(nets: dict[str, list[Any]]) -> dict[str, int]:
    """Bytes beside the weights for one picture."""

    def meta(*shape: int, dtype: torch.dtype = torch.bfloat16) -> Tensor:
        return torch.empty(shape, dtype=dtype, device="meta")

    ids, places = meta(1, PROMPT, dtype=torch.long), meta(3, 1, PROMPT, dtype=torch.long)
    (vlm,), (t5,), (transformer,), (vae,) = (nets[name] for name in ("vlm", "t5", "transformer", "vae"))
    language = vlm.model.language_model
    latents, picture = meta(1, 16, LATENTS, LATENTS), meta(1, 3, SIDE, SIDE, dtype=torch.float32)
    return {
        "vlm": peak(lambda: language(inputs_embeds=meta(1, PROMPT, 2048), position_ids=places, use_cache=True)),
        "clip": peak(lambda: [net(ids[:, :77]) for net in nets["clip"]]),
        "t5": peak(lambda: t5(ids[:, :512])),
        "transformer": peak(lambda: transformer(latents, meta(1, TEXT, 4096), meta(1, 2048), meta(1))),
        "vae": max(peak(lambda: vae.encode(picture)), peak(lambda: vae.decode(latents.float()))),
    }


def sizes() -> None:
    """Print both tables."""
    nets = networks()
    beside = work(nets)
    assumed = {part.name: part for part in (vlm_part(Path("none")), *sd3_parts(Path("none")))}
    parts = {
        name: replace(
            assumed[name],
            parameters=sum(p.numel() for net in each for p in net.parameters()),
            quantisable=_linear(each) if name in ("vlm", "t5") else 0,
        )
        for name, each in nets.items()
    }
    print("| network | parameters | bfloat16 | int8 | 4 bits | one picture | assumed |")
    print("|---|---|---|---|---|---|---|")
    for name, part in parts.items():
        four = part.weights("bfloat16") - part.quantisable * 3 // 2
        cells = [
            part.parameters / 1e6,
            *(x / 1e9 for x in (part.weights("bfloat16"), part.weights("bfloat16", low=True))),
        ]
        rest = [four / 1e9, beside[name] / 1e9, part.work / 1e9]
        print(f"| {name} | {cells[0]:.0f} M | " + " | ".join(f"{x:.2f}" for x in (*cells[1:], *rest)) + " |")
    needs = (Need(parts=(parts.pop("vlm"),)), Need(parts=tuple(parts.values())))
    print("\n| GPU, GB free | memory | stays | prompts, texts, pictures at once |\n|---|---|---|---|")
    for free in GPUS:
        _row(free, needs)


def _row(free: int, needs: Sequence[Need]) -> None:
    try:
        found = plan({"cuda:0": free * 10**9}, needs)
    except BackboneError as error:
        print(f"| {free} | {error} | | |")
        return
    batch = ", ".join(str(found.batch[stage]) for stage in ("prompts", "texts", "image"))
    print(f"| {free} | {found.mode} | {', '.join(sorted(found.pinned)) or '-'} | {batch} |")


def _linear(nets: Sequence[nn.Module]) -> int:
    """What `to_int8` takes."""
    return sum(
        module.weight.numel()
        for net in nets
        for name, module in net.named_modules()
        if isinstance(module, nn.Linear) and name != "lm_head"
    )


def ratios(count: int, repeats: int) -> None:
    """Print how many times faster `count` pictures are together, and how many times with texts remembered."""
    torch.set_num_threads(1)
    generator = np.random.default_rng(0)
    windows = [generator.integers(0, 256, (16, 16, 3), dtype=np.uint8) for _ in range(count)]
    states = [generator.integers(0, 256, (112, 112, 3), dtype=np.uint8) for _ in range(count)]
    contexts = [PromptContext([state], state[::-1], 4.0) for state in states]
    words = [f"leaf {number}" for number in range(count)]
    placement.measure_free_memory = lambda: {"cpu": 80 * 10**9}  # so that the policy lets pictures go together
    with tempfile.TemporaryDirectory() as folder:
        paths = write(Path(folder), "tiny", torch.device("cpu"))
        backbone = load_backbone("osediff-sd3", **{key: paths[key] for key in ("base", "lora", "vae_encoder")})
        prompter = load_prompter("vlm", model=paths["model"], adapter=paths["adapter"])
        backbone.load()
        prompter.load()

        def sr(batch: int, *, remembered: bool) -> None:
            backbone._batch = batch
            if not remembered:
                backbone.model._texts.clear()
            backbone(windows, words, range(count))

        def prompts(batch: int) -> None:
            prompter._batch = batch
            prompter(contexts)

        rows = {
            "prompts, one by one": lambda: prompts(1),
            f"prompts, {count} together": lambda: prompts(count),
            "SR, one by one, texts remembered": lambda: sr(1, remembered=True),
            f"SR, {count} together, texts remembered": lambda: sr(count, remembered=True),
            f"SR, {count} together, texts encoded": lambda: sr(count, remembered=False),
        }
        for call in rows.values():
            call()
        times = {name: [_timed(call) for _ in range(repeats)] for name, call in rows.items()}
    for name, found in times.items():
        print(f"{name}: {median(found) / count * 1000:.1f} ms a picture of processor time")


def _timed(call: Callable[[], object]) -> float:
    started = time.process_time()
    call()
    return time.process_time() - started


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ratios", action="store_true")
    parser.add_argument("--count", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args()
    if asked.ratios:
        ratios(asked.count, asked.repeats)
    else:
        sizes()
