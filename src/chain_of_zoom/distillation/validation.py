"""Draws sheets that show how far a run is: degraded, restored and true pictures side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from chain_of_zoom.distillation.data import Example
from chain_of_zoom.distillation.network import CaptionEmbeddings, Student
from chain_of_zoom.distillation.order import draw_noise
from chain_of_zoom.files import make_inner_folder, write_atomic
from chain_of_zoom.imaging.encode import encode_png
from chain_of_zoom.imaging.images import RGB8, to_uint8
from chain_of_zoom.imaging.sheet import Panel, draw_sheet
from chain_of_zoom.networks.sd.sd3 import to_arrays, to_tensor

EXAMPLES_PER_SHEET = 3
"""Rows of a sheet, at most."""
_COLOURS = ((168, 170, 176), (244, 114, 182), (90, 200, 120))


@torch.no_grad()
def restore_example(student: Student, texts: CaptionEmbeddings, example: Example, number: int, seed: int) -> RGB8:
    """Restore an example with the generator; `number` and `seed` give the noise. Returns uint8, shaped as the truth."""
    noise = draw_noise([number], seed, student.latent_shape(len(example.lr)), 1)
    z = student.generate(
        to_tensor(example.lr[None]).to(student.device), noise.posterior.to(student.device), texts([example.caption])
    )
    return to_uint8(to_arrays(student.decode(z))[0])


def write_sheet(folder: Path, step: int, examples: Sequence[Example], restored: Sequence[RGB8], kind: str) -> Path:
    """Write a sheet with a row for each example; return its path. kind: describes the pictures. Raises OutputError."""
    rows = [
        _draw_row(f"step {step}, {kind}: {example.name}", example, result)
        for example, result in zip(examples, restored, strict=True)
    ]
    path = make_inner_folder(folder, "sheets") / f"step_{step:06d}.png"
    write_atomic(path, encode_png(np.concatenate(rows)))
    return path


def _draw_row(heading: str, example: Example, restored: RGB8) -> RGB8:
    images = (("LR", example.lr), ("SR", restored), ("HR", example.hr))
    panels = []
    for (title, image), colour in zip(images, _COLOURS, strict=True):
        text = "the truth" if image is example.hr else f"PSNR to the truth {measure_psnr(image, example.hr):.2f} dB"
        panels.append(Panel(image=image, title=title, lines=[text], colour=colour))
    return draw_sheet(heading, panels, (), 3)


def measure_psnr(picture: RGB8, truth: RGB8) -> float:
    """Measure the peak signal-to-noise ratio of a picture to the truth, in dB."""
    error = float(np.mean((picture.astype(np.float64) - truth) ** 2))
    return 10 * float(np.log10(255**2 / error)) if error else float("inf")
