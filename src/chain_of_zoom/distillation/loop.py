"""Runs a training in a folder: steps, curves, sheets and checkpoints, whatever network is trained."""

from __future__ import annotations

import math
import signal
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor

from chain_of_zoom.distillation import order
from chain_of_zoom.distillation.checkpoint import (
    Groups,
    TrainingProgress,
    load_checkpoint,
    load_groups,
    read_progress,
    save_checkpoint,
)
from chain_of_zoom.distillation.data import Example, Skipped, TrainingSet
from chain_of_zoom.distillation.folder import SETTINGS, TrainingFolder
from chain_of_zoom.distillation.journal import LOSSES, Journal
from chain_of_zoom.distillation.settings import TrainingSettings
from chain_of_zoom.distillation.updates import Processes, Updates
from chain_of_zoom.errors import BackboneError, ShortageError
from chain_of_zoom.files import write_atomic
from chain_of_zoom.settings import format_toml

Losses = Mapping[str, float]
OnStep = Callable[[int, int, Losses], None]
"""Called with the finished steps, the steps in all, and the losses of the step."""
Say = Callable[[str], None]
Plan = TypeVar("Plan", bound=TrainingSettings)


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """Says how a run ended."""

    folder: Path
    """Folder of the run."""
    weights: Path
    """File with what was trained, for `coz zoom`."""
    steps: int
    """Finished steps."""
    losses: Losses
    """Losses of the last step; empty where the run was finished before."""
    skipped: tuple[Skipped, ...]
    """Pictures left out, with the reasons."""


class TrainingLoop(ABC, Generic[Plan]):
    """Trains in a folder, and goes on from the checkpoint of an earlier start.

    A subclass per network says what a step is. say: called with lines for the user, in the first process alone. Raises
    UsageError, BadInputError, MissingError, and OccupiedError where the folder holds a run of other settings and
    `force` is not given.
    """

    columns: ClassVar[tuple[str, ...]]
    """Names of the losses."""
    headline: ClassVar[str]
    """The loss that progress shows."""
    trained: ClassVar[tuple[str, ...]]
    """Groups of weights that are trained, each with an optimizer and a norm of its own, in order."""

    def __init__(self, settings: Plan, folder: Path, *, force: bool = False, say: Say = print) -> None:
        self.settings, self.folder = settings, folder
        self.processes = Processes(settings.run.device)
        self.device = self.processes.device
        self.dtype = self.choose_precision()
        self.say: Say = say if self.processes.first else lambda line: None
        # Pictures come first: a set that does not serve leaves no folder behind.
        self.data = self.open_pictures(settings.data.source)
        self.looked_at = self._open_validation()
        self.read_before_folder()
        self.identity = settings.identity(pictures=len(self.data), ranks=self.processes.count)
        self.claimed = TrainingFolder(folder, self.identity, force=force) if self.processes.first else None
        self.processes.wait()  # until the first has removed the files that the others would read
        progress = self.claimed.earlier if self.claimed else read_progress(folder)
        with self._name_shortage():
            self.groups = self.load_networks()
        is_scaled = self.dtype == torch.float16
        self.updates = Updates(self.groups, self.trained, settings.optimizer, self.processes, scaled=is_scaled)
        self.step = self._restore(progress)
        self.skipped: dict[str, str] = dict(self.data.skipped)
        self._announce()

    def choose_precision(self) -> torch.dtype:
        """Choose the precision of the network."""
        return torch.float32

    @abstractmethod
    def open_pictures(self, source: str) -> TrainingSet:
        """Open a folder or a list of pictures."""

    def _open_validation(self) -> TrainingSet:
        source = self.settings.data.validation
        return self.open_pictures(source) if source else self.data

    def draw_sheet_examples(self, most: int) -> list[Example]:
        """Make the first examples, up to `most`, of the pictures that are looked at."""
        places = [self.looked_at.find_place(k) for k in range(min(most, len(self.looked_at)))]
        return [self.looked_at.example(index, epoch) for epoch, index in places]

    def name_sheet(self) -> str:
        """Say whose pictures a sheet shows."""
        return "not trained on" if self.settings.data.validation else "a training picture"

    def read_before_folder(self) -> None:
        """Read what may be missing, before there is a folder."""

    @abstractmethod
    def load_networks(self) -> Groups:
        """Load the networks; return the weights that a checkpoint holds, by group and name."""

    @abstractmethod
    def add_gradients(self, examples: list[order.NumberedExample], batches: int) -> dict[str, Tensor]:
        """Add the gradients of one of the `batches` of a step; return its losses by `columns`."""

    @abstractmethod
    def export(self) -> Path:
        """Write what `coz zoom` uses; return the path. Raises OutputError."""

    @abstractmethod
    def write_sheet(self) -> None:
        """Write a sheet, and what else shows how far the run is. Raises OutputError."""

    @abstractmethod
    def describe_use(self) -> str:
        """Return the options of `coz zoom` that use what was trained."""

    def finish(self) -> None:
        """Write what only the end of a run leaves."""

    def begin(self) -> None:
        """Load the weights that a new run begins with, by default those of the folder of --init."""
        if self.settings.run.init:
            load_groups(Path(self.settings.run.init), self.groups)

    def _restore(self, progress: TrainingProgress | None) -> int:
        """Load the checkpoint of the folder, or what a new run begins with; return the finished steps."""
        if progress is None:
            self.begin()
            return 0
        load_checkpoint(self.folder, self.groups, self.updates.optimizers)
        if progress.scale:
            self.updates.scaler.load_state_dict(progress.scale)
        return progress.step

    def describe(self) -> list[str]:
        """Return lines for the user about what is special to this network."""
        return []

    def _announce(self) -> None:
        """Tell the user what is trained on what, where, and from which step on."""
        self.say(f"{len(self.data)} pictures, {self.identity['pictures a step']} a step, {self.settings.steps} steps")
        for note in self.data.notes:
            self.say(note)
        sizes = {name: sum(weight.numel() for weight in group.values()) for name, group in self.groups.items()}
        self.say("weights trained: " + ", ".join(f"{name} {sizes[name]:,}" for name in self.trained))
        for line in self.describe():
            self.say(line)
        self.say(f"on {self.device} in {str(self.dtype).removeprefix('torch.')}, {self.processes.count} process(es)")
        if self.step:
            self.say(f"going on after step {self.step}")

    def run(self, on_step: OnStep = lambda step, steps, losses: None) -> TrainingResult:
        """Train to the last step. Raises BackboneError when a loss is no number, OutputError, and KeyboardInterrupt.

        The checkpoint of the last finished step is written also before BackboneError and KeyboardInterrupt.
        """
        run, steps, is_first = self.settings.run, self.settings.steps, self.processes.first
        losses: Losses = {}
        batches = self._draw_batches()
        with ExitStack() as stack:
            stack.enter_context(self.claimed or nullcontext())
            if is_first:
                journal = Journal(self.folder, self.step, LOSSES, self.columns)
                stack.callback(journal.close)
                write_atomic(self.folder / SETTINGS, format_toml(self.settings))
            try:
                with _finish_steps_before_interrupts() as interrupted, self._name_shortage():
                    if not self.step:
                        self._look()
                    while self.step < steps:
                        losses = self.take_step(batches, interrupted)
                        self.step += 1
                        if is_first:
                            journal.write(self.step, losses)
                        on_step(self.step, steps, losses)
                        if self.step % run.sheet == 0 or self.step == steps:
                            self._look()
                        if self.step % run.save == 0 and self.step < steps:
                            self.save()
            except (BackboneError, KeyboardInterrupt):
                self.save()
                raise
            weights = self.save()
            if is_first:
                self.finish()
        return TrainingResult(
            folder=self.folder, weights=weights, steps=self.step, losses=losses, skipped=tuple(self.skipped.items())
        )

    @contextmanager
    def _name_shortage(self) -> Iterator[None]:
        """Raises ShortageError, which says what to type, for torch's error of a device without memory."""
        try:
            yield
        except torch.OutOfMemoryError as error:
            optimizer = self.settings.optimizer
            pictures = optimizer.batch * optimizer.accumulate
            advice = f"type: --batch 1 --accumulate {pictures}, the same training"
            if optimizer.batch == 1:
                advice = "make --size smaller, with another -o, or take a device with more"
            raise ShortageError(
                f"the memory of {self.device} is used up ({str(error)[:120]}); the last whole step is kept; accepted: "
                f"what fits, see coz train --estimate; {advice}"
            ) from error

    def _look(self) -> None:
        if self.processes.first:
            self.write_sheet()

    def _draw_batches(self) -> Iterator[list[order.NumberedExample]]:
        """Draw the batches of this process for all steps that are left."""
        numbers = list(self.number_batches())
        return order.draw_batches(self.data, numbers, self.settings.data.workers)

    def number_batches(self) -> Iterator[list[int]]:
        """Yield the numbers of the examples of each batch of this process that is left."""
        optimizer, processes = self.settings.optimizer, self.processes
        return order.number_batches(
            self.step,
            self.settings.steps,
            batch=optimizer.batch,
            accumulate=optimizer.accumulate,
            rank=processes.rank,
            ranks=processes.count,
        )

    def take_step(
        self, batches: Iterator[list[order.NumberedExample]], interrupted: threading.Event
    ) -> dict[str, float]:
        """Take one step of the optimizers; return the losses, means over its pictures in all processes."""
        count = self.settings.optimizer.accumulate
        totals = dict.fromkeys(self.columns, 0.0)
        for _ in range(count):
            examples = next(batches)
            for example in examples:
                self.skipped.update(example.skipped)
            for name, value in self.add_gradients(examples, count).items():
                totals[name] += float(value) / count
        # Ctrl-C may reach one process alone; averaged with the losses, all of them stop after the same step.
        values = torch.tensor([*totals.values(), float(interrupted.is_set())], dtype=torch.float64)
        *means, interrupts = self.processes.average(values).tolist()
        if interrupts:
            raise KeyboardInterrupt
        losses = dict(zip(totals, means, strict=True))
        if not all(map(math.isfinite, means)) or not self.updates.apply():
            causes = ", ".join(name for name, value in losses.items() if not math.isfinite(value)) or "the gradients"
            precision = "" if self.dtype == torch.float32 else ", or --dtype float32"
            raise BackboneError(
                f"training stopped: {causes} became no number in step {self.step + 1}; what step {self.step} left is "
                f"kept; type: a smaller --lr with --init and another -o{precision}"
            )
        return losses

    def save(self) -> Path:
        """Write checkpoint and weights of the last finished step; return the weights' path. Raises OutputError."""
        if self.processes.first:
            scaler = self.updates.scaler
            scale = scaler.state_dict() if scaler.is_enabled() else None
            progress = TrainingProgress(step=self.step, identity=self.identity, scale=scale)
            save_checkpoint(self.folder, progress, self.groups, self.updates.optimizers)
            return self.export()
        return self.folder


@contextmanager
def _finish_steps_before_interrupts() -> Iterator[threading.Event]:
    """Let Ctrl-C set an event instead of interrupting a step half-way; a second Ctrl-C interrupts at once."""
    interrupted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield interrupted  # only the main thread may handle signals
        return

    def note_interrupt(number: int, frame: Any) -> None:
        interrupted.set()
        signal.signal(signal.SIGINT, previous)

    previous = signal.signal(signal.SIGINT, note_interrupt)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, previous)
