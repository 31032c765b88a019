"""Which example is drawn when, and its noise: functions of the seed and a running number, so that nothing is restored.

Example k of a run belongs to step k // (pictures a step), whatever the number of devices and the size of a batch.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from chain_of_zoom.distillation.data import Example, TrainingSet
from chain_of_zoom.errors import BadInputError


@dataclass(frozen=True)
class Draw:
    """Example number k. skipped: pictures that its process has found to be damaged so far."""

    k: int
    example: Example
    skipped: tuple[tuple[str, str], ...]


class Draws(Dataset[Draw | BadInputError]):
    """The examples of a run: each epoch goes through the set once, in an order of its own."""

    def __init__(self, data: TrainingSet, seed: int) -> None:
        self.data, self.seed = data, seed

    def __getitem__(self, k: int) -> Draw | BadInputError:
        epoch, place = divmod(k, len(self.data))
        index = int(_permutation(len(self.data), self.seed, epoch)[place])
        try:
            return Draw(k, self.data.example(index, epoch), self.data.skipped)
        except BadInputError as error:  # torch would wrap it into a traceback
            return error


@lru_cache(maxsize=2)
def _permutation(count: int, seed: int, epoch: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.random.default_rng((seed, epoch, count)).permutation(count)


def numbers(step: int, stop: int, *, batch: int, accumulate: int, rank: int, ranks: int) -> Iterator[list[int]]:
    """The numbers of each batch of one process, from `step` to `stop`: `accumulate` batches a step."""
    for part in range(step * accumulate, stop * accumulate):
        first = (part * ranks + rank) * batch
        yield list(range(first, first + batch))


def draw(data: TrainingSet, batches: Sequence[list[int]], seed: int, workers: int) -> Iterator[list[Draw]]:
    """The batches, made ahead by `workers` processes. Raises BadInputError when no picture is left."""
    loader: Any = DataLoader(
        Draws(data, seed),
        batch_sampler=batches,
        collate_fn=list,
        num_workers=workers,
        multiprocessing_context="spawn" if workers else None,  # a fork beside threads of torch can hang
        worker_init_fn=_ignore_interrupts,
    )
    for batch in loader:
        for each in batch:
            if isinstance(each, BadInputError):
                raise each
        yield batch


def _ignore_interrupts(worker: int) -> None:
    """Ctrl-C reaches the trainer, which finishes its step with what the workers make."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@dataclass(frozen=True)
class Noise:
    """The randomness of a batch: of the posterior, and times (0..1000) and noise for matching and for the regulariser.

    posterior, matching, denoising: B x C x H x W, standard normal; matching_time, denoising_time: B, int64.
    """

    posterior: Tensor
    matching: Tensor
    matching_time: Tensor
    denoising: Tensor
    denoising_time: Tensor

    def to(self, device: torch.device) -> Noise:
        """The same on a device."""
        return Noise(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})


def noise(numbers: Sequence[int], seed: int, shape: tuple[int, int, int], times: int) -> Noise:
    """Each example's from its own number, drawn on the CPU so that devices agree."""
    drawn = []
    for k in numbers:
        state = np.random.SeedSequence((seed, k, 1)).generate_state(1, np.uint64)[0]  # 1: apart from the examples' own
        generator = torch.Generator().manual_seed(int(state))
        normal = torch.randn((3, *shape), generator=generator)
        drawn.append((normal, torch.randint(times, (2,), generator=generator)))
    normals, at = (torch.stack(parts) for parts in zip(*drawn, strict=True))
    return Noise(
        posterior=normals[:, 0],
        matching=normals[:, 1],
        matching_time=at[:, 0],
        denoising=normals[:, 2],
        denoising_time=at[:, 1],
    )
