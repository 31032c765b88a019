"""Takes steps of the optimizers in all processes that train together, one for each device.

Processes start as `accelerate launch -m chain_of_zoom train ...`. Gradients are averaged over processes and batches,
clipped and applied.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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
    """Runs an AdamW for each group of weights that is trained, with gradients clipped on their own (as published).

    groups: weights by name, in groups. trained: the groups that are trained, in order. scaled: scale losses, for
    float16. All gradients are unscaled before any is applied, so that one scale serves all.
    """

    def __init__(
        self,
        groups: Mapping[str, Mapping[str, nn.Parameter]],
        trained: Sequence[str],
        settings: OptimizerSettings,
        processes: Processes,
        *,
        scaled: bool,
    ) -> None:
        self.clip, self.processes = settings.clip, processes
        self.optimizers: dict[str, torch.optim.Optimizer] = {
            name: torch.optim.AdamW(list(groups[name].values()), lr=settings.lr, weight_decay=settings.weight_decay)
            for name in trained
        }
        self.scaler = torch.amp.GradScaler(processes.device.type, enabled=scaled)

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a loss to those of the step."""
        scaled: Any = self.scaler.scale(loss)
        scaled.backward()

    def apply(self) -> bool:
        """Take the step and drop the gradients; return False and do neither if they are not finite (unless scaled)."""
        norms = []
        for optimizer in self.optimizers.values():
            parameters = optimizer.param_groups[0]["params"]
            self._average(parameters)
            self.scaler.unscale_(optimizer)
            norms.append(float(nn.utils.clip_grad_norm_(parameters, self.clip)))
        if not self.scaler.is_enabled() and not all(map(math.isfinite, norms)):
            return False
        for optimizer in self.optimizers.values():
            self.scaler.step(optimizer)  # left out where a scaled gradient overflowed
        self.scaler.update()
        self.drop_gradients()
        return True

    def set_rate(self, rate: float) -> None:
        """Set the learning rate of all optimizers for the steps to come."""
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = rate

    def drop_gradients(self) -> None:
        """Drop the gradients of all optimizers."""
        for optimizer in self.optimizers.values():
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
