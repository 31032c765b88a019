"""The paper's stack, tiny, on cards that are not there: with the sizes that its plan needs to know."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import pytest
import torch
from conftest import PARITY, noise
from emulated_gpu import EmulatedGpus
from torch.utils._python_dispatch import _disable_current_modes

from chain_of_zoom import load_backbone, load_prompter
from chain_of_zoom.backbones import onestep
from chain_of_zoom.backbones.base import Backbone
from chain_of_zoom.imaging.images import RGBF
from chain_of_zoom.networks.sd import sd3
from chain_of_zoom.networks.vlm import loading
from chain_of_zoom.prompters import vlm
from chain_of_zoom.prompters.base import PromptContext, Prompter
from chain_of_zoom.runtime import placement, plan
from chain_of_zoom.runtime.residence import Residence

MB = 10**6
SD3: dict[str, Any] = {
    "base": PARITY / "tiny_sd3", "lora": PARITY / "model_tiny.pkl",
    "vae_encoder": PARITY / "vae_encoder_tiny.pt", "t5_tokens": 64,
}  # fmt: skip
QWEN: dict[str, Any] = {
    "model": PARITY / "tiny_qwen", "adapter": PARITY / "tiny_qwen_adapter", "max_new_tokens": 4,
}  # fmt: skip
WINDOWS, WORDS, SEEDS = [noise(16, 16, i) for i in range(3)], ["moss", "", "a leaf"], [5, 6, 7]
CONTEXTS = [PromptContext([noise(56, 56, i)], noise(56, 56, 9 + i), 4.0) for i in range(2)]
# Bytes that one of these pictures takes beside the weights, in float32: seen on a card with plenty, a tenth added.
WORK = {"vlm": 800_000, "clip": 400_000, "t5": 400_000, "transformer": 320_000, "vae": 740_000}


class Stack(NamedTuple):
    """A backbone and a prompter that share cards."""

    backbone: Backbone
    prompter: Prompter
    residence: Residence


class Outcome(NamedTuple):
    """What a step made, and what had to be said about it."""

    pictures: list[RGBF]
    texts: list[str]
    notes: list[str]

    def differs_by(self, other: Outcome) -> float:
        """The largest difference of any value."""
        return max(
            float(np.abs(a - b).max()) for a, b in zip(self.pictures, other.pictures, strict=True)
        )  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """In the tests that import it: tiny operations wait longer for other threads than they take."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def parts(folder: Any, *, t5: bool = True) -> Any:
    """The tiny networks, with the work that these pictures are."""
    return tuple(replace(part, work=WORK[part.name]) for part in SD3_PARTS(folder, t5=t5))


SD3_PARTS, VLM_PART = onestep.sd3_parts, vlm.vlm_part
LOAD_PIPELINE, LOAD_VLM = sd3.load_pipeline, vlm.load_vlm


@cache
def read_once(read: Any, *args: Any) -> Any:
    """Read, once: to read takes longer than what is tested."""
    return read(*args)


def copy_pipeline(base: str, t5: bool, dtype: torch.dtype) -> Any:
    """The tiny pipeline with networks of its own."""
    pipeline = read_once(LOAD_PIPELINE, base, t5, dtype)
    with torch._C.DisableTorchFunction(), _disable_current_modes():
        return type(pipeline)(
            **{name: part if "tokenizer" in name else copy.deepcopy(part) for name, part in pipeline.components.items()}
        )


def copy_vlm(model: str, adapter: Any, device: torch.device, dtype: torch.dtype) -> loading.LoadedVlm:
    """The tiny model of its own."""
    network, processor = read_once(LOAD_VLM, model, adapter, device, dtype)
    with torch._C.DisableTorchFunction(), _disable_current_modes():
        return loading.LoadedVlm(copy.deepcopy(network), processor)


@contextmanager
def cards(*budgets: float, dtype: torch.dtype = torch.float32, **options: Any) -> Iterator[EmulatedGpus]:
    """Cards of so many megabytes, on which nothing but the plan takes room. dtype: that models will be read in."""
    read_once(LOAD_PIPELINE, str(SD3["base"]), True, dtype)
    read_once(LOAD_VLM, str(QWEN["model"]), QWEN["adapter"], torch.device("cpu"), dtype)
    with (
        mock.patch.object(onestep, "sd3_parts", parts),
        mock.patch.object(vlm, "vlm_part", lambda folder: replace(VLM_PART(folder), work=WORK["vlm"])),
        mock.patch.object(plan, "RESERVE", 0),
        mock.patch.object(sd3, "load_pipeline", copy_pipeline),
        mock.patch.object(vlm, "load_vlm", copy_vlm),
        EmulatedGpus({number: int(budget * MB) for number, budget in enumerate(budgets)}, **options) as gpus,
    ):
        yield gpus


def load(**options: Any) -> Stack:
    """Read backbone and prompter into places planned together."""
    backbone, prompter = load_backbone("osediff-sd3", **SD3, **options), load_prompter("vlm", **QWEN, **options)
    residence = placement.place([need for need in (prompter.needs(), backbone.needs()) if need])
    backbone.place(residence)
    prompter.place(residence)
    prompter.load()
    backbone.load()
    return Stack(backbone, prompter, residence)


def step(stack: Stack) -> Outcome:
    """Ask about two pictures and enlarge three."""
    notes: list[str] = []
    texts = stack.prompter(CONTEXTS)
    pictures = stack.backbone(WINDOWS, WORDS, SEEDS, on_fallback=lambda _, note: notes.append(note))
    return Outcome(pictures, texts, notes + stack.prompter.fallbacks())


def count_moves(gpus: EmulatedGpus) -> Counter[str]:
    """Forget what was copied, and return it."""
    moves = Counter(gpus.bytes)
    gpus.copies.clear()
    gpus.bytes.clear()
    return moves
