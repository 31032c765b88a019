"""The processes that train together, one for each device: `accelerate launch -m chain_of_zoom train ...`."""

from __future__ import annotations

import torch
from accelerate import PartialState
from accelerate.utils import reduce
from torch import Tensor

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
