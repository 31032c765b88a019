"""The processes that train together, one for each device: `accelerate launch -m chain_of_zoom train ...`."""

from __future__ import annotations

import torch
from accelerate import PartialState
from accelerate.utils import reduce
from torch import Tensor

from chain_of_zoom.runtime.placement import choose_device


class Processes:
    """count: how many. rank: which this is; first: whether it is the one that writes and speaks. device: its own."""

    def __init__(self, device: str) -> None:
        chosen = choose_device(device)
        self.state = PartialState(cpu=chosen.type == "cpu")
        self.count: int = self.state.num_processes
        self.rank: int = self.state.process_index
        self.first = self.rank == 0
        self.device: torch.device = self.state.device if self.count > 1 else chosen

    def wait(self) -> None:
        """Until all are here."""
        self.state.wait_for_everyone()

    def average(self, values: Tensor) -> Tensor:
        """The mean over all processes."""
        if self.count == 1:
            return values
        found: Tensor = reduce(values.to(self.device), reduction="mean")
        return found
