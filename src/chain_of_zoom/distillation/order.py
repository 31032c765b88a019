"""Draws examples and their noise as functions of the seed and a running number, so that a resumed run restores nothing.

Example k of a run belongs to step k // (pictures a step), whatever the number of devices and the size of a batch.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from chain_of_zoom.distillation.data import Example, TrainingSet
from chain_of_zoom.errors import BadInputError


@dataclass(frozen=True)
class NumberedExample:
    """Holds an example with its number in the run."""

    k: int
    """Number of the example, from 0."""
    example: Example
    """The example itself."""
    skipped: tuple[tuple[str, str], ...]
    """Pictures that the process that made it has found damaged so far, with the reasons."""


class RunExamples(Dataset[NumberedExample | BadInputError]):
    """Maps numbers to examples."""

    def __init__(self, data: TrainingSet) -> None:
        self.data = data

    def __getitem__(self, k: int) -> NumberedExample | BadInputError:
        epoch, index = self.data.find_place(k)
        try:
            return NumberedExample(k, self.data.example(index, epoch), self.data.skipped)
        except BadInputError as error:  # torch would wrap it into a traceback
            return error


def number_batches(step: int, stop: int, *, batch: int, accumulate: int, rank: int, ranks: int) -> Iterator[list[int]]:
    """Yield the numbers of the batches of one process from `step` to `stop`, `accumulate` batches a step."""
    for part in range(step * accumulate, stop * accumulate):
        first = (part * ranks + rank) * batch
        yield list(range(first, first + batch))


def draw_batches(data: TrainingSet, batches: Sequence[list[int]], workers: int) -> Iterator[list[NumberedExample]]:
    """Yield the batches, made ahead by `workers` processes. Raises BadInputError when no picture is left."""
    loader: Any = DataLoader(
        RunExamples(data),
        batch_sampler=batches,
        collate_fn=list,
        num_workers=workers,
        multiprocessing_context="spawn" if workers else None,  # a fork beside threads of torch can hang
        worker_init_fn=_ignore_interrupts,
    )
    for batch in loader:
        for example in batch:
            if isinstance(example, BadInputError):
                raise example
        yield batch


def _ignore_interrupts(worker: int) -> None:
    """Leave Ctrl-C to the trainer, which finishes its step with the examples of the workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@dataclass(frozen=True)
class Noise:
    """Holds the randomness of a batch."""

    posterior: Tensor
    """Standard normal noise that samples the posterior of the encoder: B x C x H x W."""
    matching: Tensor
    """Standard normal noise of distribution matching: B x C x H x W."""
    matching_time: Tensor
    """Indices of its timesteps: B, int64."""
    denoising: Tensor
    """Standard normal noise of the regulariser's loss: B x C x H x W."""
    denoising_time: Tensor
    """Indices of its timesteps: B, int64."""

    def to(self, device: torch.device) -> Noise:
        """Copy the noise to a device."""
        return Noise(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})


def draw_noise(numbers: Sequence[int], seed: int, shape: tuple[int, int, int], times: int) -> Noise:
    """Draw the noise of every example from its own number, on the CPU so that devices agree.

    shape: of one latent. times: the number of timesteps.
    """
    samples = []
    for k in numbers:
        state = np.random.SeedSequence((seed, k, 1)).generate_state(1, np.uint64)[0]  # 1: apart from the examples' own
        generator = torch.Generator().manual_seed(int(state))
        normal = torch.randn((3, *shape), generator=generator)
        samples.append((normal, torch.randint(times, (2,), generator=generator)))
    normals, indices = (torch.stack(parts) for parts in zip(*samples, strict=True))
    return Noise(
        posterior=normals[:, 0],
        matching=normals[:, 1],
        matching_time=indices[:, 0],
        denoising=normals[:, 2],
        denoising_time=indices[:, 1],
    )
