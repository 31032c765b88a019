"""The paper's stack with random weights: as its published scripts run it, and as this package does, side by side.

    python benchmarks/paper_stack.py [--size full|tiny] [--device cuda|cpu] [--json FILE]

Full size needs a GPU with 40 GB or more, and 30 GB of disk in --scratch for weights that both sides read; without a GPU
everything is tiny, and only shows that the comparison runs. Both sides are measured in one run, one after the other, on
the same weights and pictures; what counts is the ratio. Texts always have 32 tokens (16 for a tile).
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from diffusers.utils import logging as diffusers_logging
from paper_configs import PARTS, parameters, write
from paper_errors import stage_errors
from paper_floor import floor, rates, stages
from PIL import Image
from published_stack import PublishedStack
from transformers.utils import logging as transformers_logging

from chain_of_zoom import ChainOfZoom, Prompter, upscale
from chain_of_zoom.chain.engine import Engine
from chain_of_zoom.chain.enlargement import ZoomJob
from chain_of_zoom.chain.request import ZoomRequest
from chain_of_zoom.imaging.images import RGB8, Picture
from chain_of_zoom.prompters.base import PromptContext

SIDE = 512
# name -> what it says, its unit, and whether more is better
ROWS = {
    "first": ("time to the first picture: weights read from disk (in its cache), one step", "s", False),
    "sr": ("one step of SR", "s", False),
    "prompt": ("one prompt", "s", False),
    "both": ("one step, both", "s", False),
    "rate": ("pictures a minute, {pictures} pictures x {steps} steps", "/min", True),
    "whole": ("a whole picture, {whole} to 4x, a prompt for every tile", "s", False),
    "memory": ("peak memory of the device", "GB", False),
}


class Ours:
    """What `coz zoom --preset paper` uses, by its Python names."""

    def __init__(self, paths: dict[str, Path], device: torch.device) -> None:
        backbone = {key: paths[key] for key in ("base", "lora", "vae_encoder")}
        prompter = {key: paths[key] for key in ("model", "adapter")}
        self.chain = ChainOfZoom(
            "osediff-sd3",
            "vlm",
            backbone_options={**backbone, "device": str(device)},
            prompter_options={**prompter, "device": str(device)},
        )
        self.device = device
        self.chain.load()

    def sr(self, window: RGB8, prompt: str) -> None:
        self.chain.backbone([window], [prompt], [0])

    def prompt(self, context: PromptContext) -> None:
        self.chain.prompter([context])

    def zoom(self, pictures: Sequence[RGB8], steps: int) -> set[str]:
        """All pictures, scale by scale, in batches; returns the different prompts."""
        request = ZoomRequest(protocol="paper", zoom=float(4**steps))
        zooms = [self.chain.plan(Picture.of_pixels(picture), request) for picture in pictures]
        jobs = [ZoomJob(picture=z.canvas, steps=z.steps, output=z.output, seed=0, text="") for z in zooms]
        engine = Engine(self.chain.backbone, self.chain.prompter, quantise="truncate", raw_prompts=True)
        return {state.prompt for _, state in engine.run(jobs) if state.prompt is not None}

    def whole(self, picture: RGB8) -> None:
        prompter = Shorter(self.chain.prompter)
        upscale(picture, 4, backbone=self.chain.backbone, prompter=prompter)


class Shorter(Prompter):
    """The same prompter, asked for as many tokens as the published script asks for a tile."""

    name = "shorter"

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __call__(self, contexts: Sequence[PromptContext]) -> list[str]:
        before = self.inner.max_new_tokens
        self.inner.max_new_tokens = 16
        try:
            return self.inner(contexts)
        finally:
            self.inner.max_new_tokens = before


class Clock:
    """Times work on a device, and knows the most memory that it had. On a CPU the time is the processor's own."""

    def __init__(self, device: torch.device, repeats: int) -> None:
        self.device, self.repeats = device, repeats
        self._now = time.perf_counter if device.type == "cuda" else time.process_time

    def once(self, work: Callable[[], Any]) -> float:
        self._wait()
        began = self._now()
        work()
        self._wait()
        return self._now() - began

    def median(self, work: Callable[[int], Any]) -> float:
        """Of several calls, each told its number, after one that does not count."""
        work(-1)
        return median(self.once(lambda i=i: work(i)) for i in range(self.repeats))

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def reset(self) -> None:
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)

    def memory(self) -> float | None:
        return torch.cuda.max_memory_allocated(self.device) / 1e9 if self.device.type == "cuda" else None


def photos(count: int, side: int = SIDE, seed: int = 0) -> list[RGB8]:
    """Made-up pictures, each another: blobs of colour at several scales."""
    rng = np.random.default_rng(seed)
    pictures = []
    for _ in range(count):
        layers = [
            np.asarray(Image.fromarray(rng.integers(0, 256, (n, n, 3), dtype=np.uint8)).resize((side, side), 3), float)
            for n in (4, 16, 64)
        ]
        pictures.append((layers[0] * 0.5 + layers[1] * 0.3 + layers[2] * 0.2).astype(np.uint8))
    return pictures


def measure_published(paths: dict[str, Path], clock: Clock, scratch: Path, plan: argparse.Namespace) -> dict[str, Any]:
    """The numbers of ROWS for the stack as published; pictures go one by one."""
    clock.reset()
    pictures = photos(max(plan.pictures, plan.repeats + 1))
    files = [scratch / f"photo{i}.png" for i in range(len(pictures))]
    for file, picture in zip(files, pictures, strict=True):
        Image.fromarray(picture).save(file)
    made: list[PublishedStack] = []

    def first() -> None:
        made.append(PublishedStack(paths, clock.device, scratch))
        made[0].step(files[-1], 0)

    found: dict[str, Any] = {"first": clock.once(first)}
    stack = made[0]
    zoomed = Image.open(scratch / "0_input.png").convert("RGB")
    found["sr"] = clock.median(lambda i: stack.restore(zoomed, f"leaf {i}"))
    found["prompt"] = clock.median(lambda i: stack.prompt([files[i], scratch / "0_input.png"]))
    found["both"] = clock.median(lambda i: stack.step(files[i], 0))

    def chains() -> None:
        for file in files[: plan.pictures]:
            state = file
            for number in range(plan.steps):
                state = stack.step(state, number)

    found["rate"] = plan.pictures / clock.once(chains) * 60
    if plan.whole:
        found["whole"] = clock.once(lambda: stack.whole(Image.fromarray(photos(1, plan.whole)[0])))
    return found | {"memory": clock.memory()}


def measure_ours(paths: dict[str, Path], clock: Clock, plan: argparse.Namespace) -> dict[str, Any]:
    """The same for this package."""
    clock.reset()
    pictures = photos(max(plan.pictures, plan.repeats + 1))  # each once, since texts that were seen are remembered
    made: list[Ours] = []

    def first() -> None:
        made.append(Ours(paths, clock.device))
        made[0].zoom(pictures[-1:], 1)

    found: dict[str, Any] = {"first": clock.once(first)}
    stack = made[0]
    middle = slice(SIDE * 3 // 8, SIDE * 5 // 8)
    windows = [np.ascontiguousarray(picture[middle, middle]) for picture in pictures]
    zoomed = [np.asarray(Image.fromarray(window).resize((SIDE, SIDE), 3)) for window in windows]
    contexts = [PromptContext([p], z, 4.0) for p, z in zip(pictures, zoomed, strict=True)]
    found["sr"] = clock.median(lambda i: stack.sr(windows[0], f"leaf {i}"))
    found["prompt"] = clock.median(lambda i: stack.prompt(contexts[i]))
    found["both"] = clock.median(lambda i: stack.zoom([pictures[i]], 1))
    prompts: set[str] = set()
    others = photos(plan.pictures, seed=1)
    seconds = clock.once(lambda: prompts.update(stack.zoom(others, plan.steps)))
    found["rate"] = plan.pictures / seconds * 60
    if plan.whole:
        found["whole"] = clock.once(lambda: stack.whole(photos(1, plan.whole)[0]))
    return found | {"memory": clock.memory(), "prompts": len(prompts)}


def compare(plan: argparse.Namespace) -> dict[str, Any]:
    """Everything, as JSON values."""
    device = torch.device(plan.device)
    on_gpu = device.type == "cuda"
    clock = Clock(device, plan.repeats)
    rate, bandwidth = rates(device)
    width = 2 if on_gpu else 4
    with tempfile.TemporaryDirectory(dir=plan.scratch) as folder:
        paths = write(Path(folder), plan.size, device)
        scratch = Path(folder) / "png"
        scratch.mkdir()
        published = measure_published(paths, clock, scratch, plan)
        ours = measure_ours(paths, clock, plan)
        clock.reset()
        errors = stage_errors(paths, device, SIDE if on_gpu else 128)
    name = torch.cuda.get_device_name(device) if on_gpu else f"CPU (processor time), {torch.get_num_threads()} threads"
    least = {"batch 1": floor(plan.size, rate, bandwidth, 1, width)}
    least["batch 16"] = floor(plan.size, rate, bandwidth, 16, width)
    return {
        "size": plan.size,
        "device": name,
        "torch": torch.__version__,
        "tf32": {"matmul": torch.backends.cuda.matmul.allow_tf32, "cudnn": torch.backends.cudnn.allow_tf32},
        "pictures": plan.pictures, "steps": plan.steps, "whole": plan.whole, "repeats": plan.repeats,
        "parameters": {part: parameters(part, plan.size) for part in PARTS},
        "published": published,
        "ours": ours,
        "ratios": {name: _ratio(published.get(name), ours.get(name), more) for name, (_, _, more) in ROWS.items()},
        "rates": {"flops": rate, "bytes": bandwidth},
        "floor": least,
        "floor_tflop": {stage.name: stage.flops / 1e12 for stage in stages(plan.size)},
        "errors": errors,
    }  # fmt: skip


def _ratio(published: float | None, ours: float | None, more: bool) -> float | None:
    """How many times better ours is."""
    if not published or not ours:
        return None
    return ours / published if more else published / ours


def report(found: dict[str, Any]) -> list[str]:
    """The comparison as Markdown."""
    published, ours, least = found["published"], found["ours"], found["floor"]["batch 1"]
    floors = {name: least[name] for name in ("sr", "prompt", "both")}
    floors["rate"] = 60 / found["floor"]["batch 16"]["both"] / found["steps"]
    tf32 = ", ".join(f"{name} {'on' if on else 'off'}" for name, on in found["tf32"].items())
    lines = []
    if found["size"] == "tiny":
        lines += ["**Tiny random networks: this shows that the comparison runs, and says nothing of full size.**", ""]
    lines += [
        f"{found['device']}, torch {found['torch']}, TF32: {tf32}; medians of {found['repeats']}; "
        f"{ours['prompts']} different prompts in {found['pictures'] * found['steps']} steps",
        "",
        "| | as published | ours | times better | floor |",
        "|---|---|---|---|---|",
    ]
    for name, (text, unit, _) in ROWS.items():
        says = text.format(pictures=found["pictures"], steps=found["steps"], whole=f"{found['whole']} px")
        times = found["ratios"][name]
        cells = [
            _cell(published.get(name), unit),
            _cell(ours.get(name), unit),
            f"{times:.2f}" if times else "-",
            _cell(floors.get(name), unit),
        ]
        lines.append(f"| {says} | {' | '.join(cells)} |")
    rates, work = found["rates"], found["floor_tflop"]
    parts = ", ".join(f"{name} {least[name] * 1e3:.3g} ms" for name in work)
    errors = "; ".join(
        f"{name}: {', '.join(f'{kind} {error:.1e}' for kind, error in each.items())}"
        for name, each in found["errors"].items()
    )
    lines += [
        "",
        f"Floor: {sum(work.values()):.3g} TFLOP a step, and the weights through memory, at this run's "
        f"{rates['flops'] / 1e12:.3g} TFLOP/s and {rates['bytes'] / 1e9:.3g} GB/s ({parts}). "
        f"One step of ours takes {ours['both'] / least['both']:.1f} times as long.",
        "",
        f"Relative error against float32, each stage from the same input: {errors}.",
    ]
    return lines


def _cell(value: float | None, unit: str) -> str:
    return "-" if value is None else f"{value:.3g} {unit}"


def main(arguments: Sequence[str] | None = None) -> None:
    gpu = torch.cuda.is_available()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=("full", "tiny"), default="full" if gpu else "tiny")
    parser.add_argument("--device", default="cuda" if gpu else "cpu")
    parser.add_argument("--pictures", type=int, default=16 if gpu else 2)
    parser.add_argument("--steps", type=int, default=4 if gpu else 2)
    parser.add_argument("--whole", type=int, default=512 if gpu else 160, help="side of the whole picture; 0: none")
    parser.add_argument("--repeats", type=int, default=5 if gpu else 3)
    parser.add_argument("--scratch", type=Path, help="folder for the weights of both sides")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there; - for stdout, and no table")
    plan = parser.parse_args(arguments)
    if plan.size == "full" and torch.device(plan.device).type == "cpu":
        raise SystemExit("full size needs a GPU; on a CPU: --size tiny")
    for library in (diffusers_logging, transformers_logging):
        library.set_verbosity_error()
        library.disable_progress_bar()
    found = compare(plan)
    if plan.json:
        text = json.dumps(found, indent=2) + "\n"
        if str(plan.json) == "-":
            sys.stdout.write(text)
            return
        plan.json.write_text(text)
    print("\n".join(report(found)))


if __name__ == "__main__":
    main()
