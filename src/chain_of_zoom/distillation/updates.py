"""Takes steps of the optimizers in all processes that train together, one for each device.

Processes start as `accelerate launch -m chain_of_zoom train ...`. Gradients are averaged over processes and batches,
clipped and applied.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import reduce
from torch import Tensor, nn

from chain_of_zoom.distillation.settings import OptimizerSettings
from chain_of_zoom.runtime.placement import choose_device


class Processes:
    """Knows the number of processes, the rank and the device of this one, and whether it is the first.

    Only the first process writes files and speaks to the user.
    """

    def __init__(self, device: str) -> None:
        requested = choose_device(device)
        self.state = PartialState(cpu=requested.type == "cpu")
        self.count: int = self.state.num_processes
        self.rank: int = self.state.process_index
        self.first = self.rank == 0
        self.device: torch.device = self.state.device if self.count > 1 else requested

    def wait(self) -> None:
        """Wait until all processes are here."""
        self.state.wait_for_everyone()

    def average(self, values: Tensor) -> Tensor:
        """Average values over all processes."""
        if self.count == 1:
            return values
        mean: Tensor = reduce(values.to(self.device), reduction="mean")
        return mean


class Updates:
    """Runs AdamW for the generator (with the encoder) and for the regulariser, each clipped on its own.

    scaled: scale losses, for float16. Both gradients are unscaled before either is applied, so that one scale serves
    both.
    """

    def __init__(
        self,
        generator: Sequence[nn.Parameter],
        regulariser: Sequence[nn.Parameter],
        settings: OptimizerSettings,
        processes: Processes,
        *,
        scaled: bool,
    ) -> None:
        self.groups = [list(generator), list(regulariser)]
        self.clip, self.processes = settings.clip, processes
        self.optimizers = [
            torch.optim.AdamW(group, lr=settings.lr, weight_decay=settings.weight_decay) for group in self.groups
        ]
        self.scaler = torch.amp.GradScaler(generator[0].device.type, enabled=scaled)

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a loss to those of the step."""
        scaled: Any = self.scaler.scale(loss)
        scaled.backward()

    def apply(self) -> bool:
        """Take the step and drop the gradients; return False and do neither if they are not finite (unless scaled)."""
        norms = []
        for group, optimizer in zip(self.groups, self.optimizers, strict=True):
            self._average(group)
            self.scaler.unscale_(optimizer)
            norms.append(float(nn.utils.clip_grad_norm_(group, self.clip)))
        if not self.scaler.is_enabled() and not all(map(math.isfinite, norms)):
            return False
        for optimizer in self.optimizers:
            self.scaler.step(optimizer)  # left out where a scaled gradient overflowed
        self.scaler.update()
        self.drop_gradients()
        return True

    def drop_gradients(self) -> None:
        """Drop the gradients of both optimizers."""
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)

    def _average(self, group: Sequence[nn.Parameter]) -> None:
        """Average the gradients of a group over processes, in one message since adapters are small."""
        for parameter in group:
            if parameter.grad is None:  # a loss of weight 0
                parameter.grad = torch.zeros_like(parameter)
        if self.processes.count > 1:
            gradients = [parameter.grad for parameter in group if parameter.grad is not None]
            flat = self.processes.average(torch.cat([gradient.flatten() for gradient in gradients]))
            parts = torch.split(flat, [gradient.numel() for gradient in gradients])
            for gradient, part in zip(gradients, parts, strict=True):
                gradient.copy_(part.view_as(gradient))
