"""Trains the small network in the chain's own loop, and exports it as ncnn's files."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from chain_of_zoom.backbones.feedforward import FeedForward
from chain_of_zoom.distillation import order
from chain_of_zoom.distillation.checkpoint import Groups
from chain_of_zoom.distillation.data import TrainingSet, open_training_set
from chain_of_zoom.distillation.folder import SMALL
from chain_of_zoom.distillation.journal import VALIDATION, Journal
from chain_of_zoom.distillation.loop import TrainingLoop
from chain_of_zoom.distillation.settings import SPANS
from chain_of_zoom.distillation.small.chains import draw_chain, reduce_crop
from chain_of_zoom.distillation.small.losses import compute_chain_loss, make_chain_batch
from chain_of_zoom.distillation.small.settings import SmallSettings
from chain_of_zoom.distillation.small.validation import MEASURES, MOST_PICTURES, enlarge_chained, measure_truth
from chain_of_zoom.distillation.validation import EXAMPLES_PER_SHEET, write_sheet
from chain_of_zoom.errors import UsageError
from chain_of_zoom.imaging.images import enlarge
from chain_of_zoom.networks.rrdb.network import from_ncnn
from chain_of_zoom.networks.rrdb.span import SpanNet, write_ncnn
from chain_of_zoom.networks.rrdb.span_layers import FACTOR
from chain_of_zoom.plugins import NCNN_FILES

_RECENT = 4
"""At the start of a run the average is over about one in five of its steps so far, the latest ones."""


class SmallTrainer(TrainingLoop[SmallSettings]):
    """Trains a SPAN; what is exported is an average of its weights over the last steps."""

    columns = ("pixel", "parent", "teacher", "total")
    headline = "total"
    trained = ("network",)

    def open_pictures(self, source: str) -> TrainingSet:
        """Open a folder or a list of pictures, whose crops the chain reduces itself."""
        return open_training_set(Path(source), size=self.settings.data.size, stage=None, seed=self.settings.run.seed)

    def read_before_folder(self) -> None:
        """Read the networks to begin with and to learn from, and the pictures that are looked at."""
        self.examples = self.draw_sheet_examples(MOST_PICTURES if self.settings.data.validation else EXAMPLES_PER_SHEET)
        model, init = self.settings.model, self.settings.run.init
        torch.manual_seed(self.settings.run.seed)
        network = read_span(init, "--init") if init else make_random_span(model.width)
        self.network = network.to(self.device).train()
        self.average = copy.deepcopy(self.network).requires_grad_(False)
        self.teacher = read_span(model.teacher, "model.teacher").to(self.device) if model.teacher else None

    def load_networks(self) -> Groups:
        """Return the weights of the network, and their average."""
        weights = {name: weight for name, weight in self.network.named_parameters() if name != "mean"}
        averages = {name: weight for name, weight in self.average.named_parameters() if name != "mean"}
        for weight in weights.values():
            weight.requires_grad_(True)
        return {"network": weights, "average": averages}

    def begin(self) -> None:
        """Begin with the weights that are there: those of --init were read with the network."""

    def take_step(
        self, batches: Iterator[list[order.NumberedExample]], interrupted: threading.Event
    ) -> dict[str, float]:
        """Take one step, at a learning rate that rises at first; average the weights with those before."""
        optimizer = self.settings.optimizer
        self.updates.set_rate(optimizer.lr * min(1.0, (self.step + 1) / optimizer.warmup))
        losses = super().take_step(batches, interrupted)
        share = 1 - min(optimizer.average, (self.step + 1) / (self.step + 1 + _RECENT))
        with torch.no_grad():
            for name, average in self.groups["average"].items():
                average.lerp_(self.groups["network"][name], share)
        return losses

    def add_gradients(self, examples: list[order.NumberedExample], batches: int) -> dict[str, Tensor]:
        """Add the gradients of chains of as many steps as it is the turn of."""
        data, seed = self.settings.data, self.settings.run.seed
        steps = data.chain[self.step % len(data.chain)]
        chains = [
            draw_chain(entry.example.hr, steps, data.window, np.random.default_rng((seed, entry.k, 2)))
            for entry in examples  # 2: apart from what the crop itself is drawn by
        ]
        batch = make_chain_batch(chains, self.device)
        losses = compute_chain_loss(self.network, batch, self.settings.losses, self.teacher)
        self.updates.backward(losses["total"] / batches)
        return {name: value.detach() for name, value in losses.items()}

    def export(self) -> Path:
        """Write the average as ncnn's files; return the path of the layers."""
        path = self.folder / SMALL[0]
        write_ncnn(self.average, path)
        return path

    def write_sheet(self) -> None:
        """Write a sheet of enlarged pictures and, of pictures not trained on, how true they are."""
        shown = self.examples[:EXAMPLES_PER_SHEET]
        windows = [reduce_crop(example.hr, FACTOR, "bicubic") for example in shown]
        pairs = [replace(example, lr=enlarge(window, FACTOR)) for example, window in zip(shown, windows, strict=True)]
        results = [enlarge_chained(self.average, window, 1, self.device) for window in windows]
        write_sheet(self.folder, self.step, pairs, results, self.name_sheet())
        if self.settings.data.validation:
            numbers = measure_truth(self.average, [example.hr for example in self.examples], self.device)
            with ExitStack() as stack:
                journal = Journal(self.folder, self.step - 1, VALIDATION, MEASURES)
                stack.callback(journal.close)
                journal.write(self.step, numbers)
            text = ", ".join(f"{name} {value:.2f}" for name, value in numbers.items())
            self.say(f"step {self.step}: PSNR in dB: {text}")

    def describe_use(self) -> str:
        """Return the options of `coz zoom` that use the network."""
        return f"--backbone {self.folder / SMALL[0]}"


def make_random_span(width: int) -> SpanNet:
    """Make a network that begins at random, by the seed of torch."""
    network = SpanNet(width)
    with torch.no_grad():
        network.conv_1.weight /= 255  # its input is in levels, which would explode in the attention
    return network


def read_span(name: str, option: str) -> SpanNet:
    """Read a SPAN in torch: by the name of a backbone, a file, or the folder of an earlier run.

    Raises UsageError for another network, MissingError for what is not there.
    """
    path = Path(name).expanduser()
    if name not in SPANS and path.is_dir():
        name = str(path / SMALL[0])
    elif name not in SPANS and path.suffix not in NCNN_FILES:
        accepted = f"{', '.join(SPANS)}, ncnn's .param, or a folder that coz train --network small wrote"
        raise UsageError(f"{option} {name!r}; accepted: {accepted}; type: {option} span")
    network = from_ncnn(*FeedForward(name).find_files())
    assert isinstance(network, SpanNet)
    return network
