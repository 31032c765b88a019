"""Trains the super-resolution backbone by one-step distillation of Stable Diffusion 3 (as published)."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from chain_of_zoom.distillation import order
from chain_of_zoom.distillation.adapters import REGULARISER
from chain_of_zoom.distillation.checkpoint import (
    TrainingProgress,
    load_adapters,
    load_checkpoint,
    read_progress,
    save_checkpoint,
    write_published,
    write_weights,
)
from chain_of_zoom.distillation.data import Example, Skipped, TrainingSet, open_training_set
from chain_of_zoom.distillation.folder import SETTINGS, TrainingFolder
from chain_of_zoom.distillation.journal import COLUMNS, Journal
from chain_of_zoom.distillation.losses import (
    TrainingBatch,
    compute_generator_loss,
    compute_regulariser_loss,
    load_perceptual,
)
from chain_of_zoom.distillation.network import CaptionEmbeddings, Student
from chain_of_zoom.distillation.settings import Settings
from chain_of_zoom.distillation.updates import Processes, Updates
from chain_of_zoom.distillation.validation import EXAMPLES_PER_SHEET, restore_example, write_sheet
from chain_of_zoom.errors import BackboneError
from chain_of_zoom.files import write_atomic
from chain_of_zoom.networks.sd.sd3 import load_pipeline, to_tensor
from chain_of_zoom.runtime.placement import choose_dtype
from chain_of_zoom.settings import format_toml
from chain_of_zoom.weights.files import TRAINED

Losses = Mapping[str, float]
OnStep = Callable[[int, int, Losses], None]
"""Called with the finished steps, the steps in all, and the losses of the step."""
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """Says how a run ended."""

    folder: Path
    """Folder of the run."""
    weights: Path
    """File with the adapters, for `coz zoom --lora`."""
    steps: int
    """Finished steps."""
    losses: Losses
    """Losses of the last step; empty where the run was finished before."""
    skipped: tuple[Skipped, ...]
    """Pictures left out, with the reasons."""


class Trainer:
    """Trains in a folder, and goes on from the checkpoint of an earlier start.

    say: called with lines for the user, in the first process alone. Raises UsageError, BadInputError, MissingError, and
    OccupiedError where the folder holds a run of other settings and `force` is not given.
    """

    def __init__(self, settings: Settings, folder: Path, *, force: bool = False, say: Say = print) -> None:
        self.settings, self.folder = settings, folder
        self.processes = Processes(settings.run.device)
        self.device = self.processes.device
        self.dtype = choose_dtype(settings.run.dtype, self.device)
        self.say: Say = say if self.processes.first else lambda line: None
        # Pictures come first: a set that does not serve leaves no folder behind.
        self.data = self._open_pictures(settings.data.source, settings.data.captions)
        self.sheet_examples = self._choose_sheet_examples()
        uses_perceptual = settings.losses.perceptual > 0
        self.perceptual = load_perceptual(settings.losses.network, self.device) if uses_perceptual else None
        self.identity = settings.identity(pictures=len(self.data), ranks=self.processes.count)
        self.claimed = TrainingFolder(folder, self.identity, force=force) if self.processes.first else None
        self.processes.wait()  # until the first has removed the files that the others would read
        progress = self.claimed.earlier if self.claimed else read_progress(folder)
        self.texts, self.student = self._load_networks()
        self.groups = self.student.groups
        is_scaled = self.dtype == torch.float16
        self.updates = Updates(self.groups, settings.optimizer, self.processes, scaled=is_scaled)
        self.step = self._restore(progress)
        self.skipped: dict[str, str] = dict(self.data.skipped)
        self._announce()

    def _open_pictures(self, source: str, captions: str | None) -> TrainingSet:
        data, seed = self.settings.data, self.settings.run.seed
        path = None if captions is None else Path(captions)
        return open_training_set(Path(source), size=data.size, stage=data.stage, seed=seed, captions=path)

    def _choose_sheet_examples(self) -> list[Example]:
        """Make the examples on the sheets, which are the same on all of them."""
        source = self.settings.data.validation
        pictures = self._open_pictures(source, None) if source else self.data
        return [pictures.example(index, 0) for index in range(min(EXAMPLES_PER_SHEET, len(pictures)))]

    def _load_networks(self) -> tuple[CaptionEmbeddings, Student]:
        """Load the base model and embed the captions, before the adapters and the optimizers need memory."""
        model, device = self.settings.model, self.device
        pipeline = load_pipeline(model.base, model.t5, self.dtype)
        captions = {example.caption for example in self.sheet_examples}
        captions |= {""} if self.data.captions is None else {caption.text for caption in self.data.captions.values()}
        texts = CaptionEmbeddings(pipeline, captions, tokens=model.t5_tokens, device=device)
        student = Student(
            pipeline,
            shift_in=model.shift_in,
            checkpointing=model.checkpointing,
            seed=self.settings.run.seed,
            device=device,
            autocast=lambda: torch.autocast(device.type, self.dtype, enabled=self.dtype != torch.float32),
        )
        return texts, student

    def _restore(self, progress: TrainingProgress | None) -> int:
        """Load the checkpoint of the folder, or the adapters of --init; return the finished steps."""
        if progress:
            load_checkpoint(self.folder, self.groups, self.updates.optimizers)
            if progress.scale:
                self.updates.scaler.load_state_dict(progress.scale)
            return progress.step
        if self.settings.run.init:
            load_adapters(Path(self.settings.run.init), self.groups)
        return 0

    def _announce(self) -> None:
        """Tell the user what is trained on what, where, and from which step on."""
        count = self.processes.count
        self.say(f"{len(self.data)} pictures, {self.identity['pictures a step']} a step, {self.settings.steps} steps")
        for note in self.data.notes:
            self.say(note)
        sizes = {name: sum(weight.numel() for weight in group.values()) for name, group in self.groups.items()}
        self.say("weights trained: " + ", ".join(f"{name} {size:,}" for name, size in sizes.items()))
        texts = "embedded once, text encoders freed" if self.texts.freed else "too many to keep: text encoders stay"
        self.say(
            f"captions: {texts}; on {self.device} in {str(self.dtype).removeprefix('torch.')}, {count} process(es)"
        )
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
                journal = Journal(self.folder, self.step)
                stack.callback(journal.close)
                write_atomic(self.folder / SETTINGS, format_toml(self.settings))
            if not self.step:
                self._write_sheet()
            try:
                with _finish_steps_before_interrupts() as interrupted:
                    while self.step < steps:
                        losses = self._take_step(batches, interrupted)
                        self.step += 1
                        if is_first:
                            journal.write(self.step, losses)
                        on_step(self.step, steps, losses)
                        if self.step % run.sheet == 0 or self.step == steps:
                            self._write_sheet()
                        if self.step % run.save == 0 and self.step < steps:
                            self.save()
            except (BackboneError, KeyboardInterrupt):
                self.save()
                raise
            weights = self.save()
            if run.published_layout and is_first:
                write_published(self.folder, self.student, self.step)
        return TrainingResult(
            folder=self.folder, weights=weights, steps=self.step, losses=losses, skipped=tuple(self.skipped.items())
        )

    def _draw_batches(self) -> Iterator[list[order.NumberedExample]]:
        """Draw the batches of this process for all steps that are left."""
        optimizer, processes = self.settings.optimizer, self.processes
        numbers = order.number_batches(
            self.step,
            self.settings.steps,
            batch=optimizer.batch,
            accumulate=optimizer.accumulate,
            rank=processes.rank,
            ranks=processes.count,
        )
        return order.draw_batches(self.data, list(numbers), self.settings.run.seed, self.settings.data.workers)

    def _take_step(
        self, batches: Iterator[list[order.NumberedExample]], interrupted: threading.Event
    ) -> dict[str, float]:
        """Take one step of both optimizers; return the losses, means over its pictures in all processes."""
        count = self.settings.optimizer.accumulate
        totals = dict.fromkeys(COLUMNS[1:], 0.0)
        for _ in range(count):
            for name, value in self._add_gradients(next(batches), count).items():
                totals[name] += float(value) / count
        # Ctrl-C may reach one process alone; averaged with the losses, all of them stop after the same step.
        values = torch.tensor([*totals.values(), float(interrupted.is_set())], dtype=torch.float64)
        *means, interrupts = self.processes.average(values).tolist()
        if interrupts:
            raise KeyboardInterrupt
        losses = dict(zip(totals, means, strict=True))
        if not all(map(math.isfinite, means)) or not self.updates.apply():
            causes = ", ".join(name for name, value in losses.items() if not math.isfinite(value)) or "the gradients"
            raise BackboneError(
                f"training stopped: {causes} became no number in step {self.step + 1}; what step {self.step} left is "
                "kept; type: a smaller --lr with --init and another -o, or --dtype float32"
            )
        return losses

    def _add_gradients(self, examples: list[order.NumberedExample], batches: int) -> dict[str, torch.Tensor]:
        """Add the gradients of one of the `batches` of a step; return its losses."""
        for example in examples:
            self.skipped.update(example.skipped)
        batch = self._make_batch(examples)
        z, total, losses = compute_generator_loss(self.student, batch, self.settings.losses, self.perceptual)
        self.updates.backward(total / batches)
        with self.student.switch.activate(REGULARISER):
            regulariser_loss = compute_regulariser_loss(self.student, z, batch)
            self.updates.backward(regulariser_loss / batches)
        losses |= {"generator": total, "regulariser": regulariser_loss}
        return {name: value.detach() for name, value in losses.items()}

    def _make_batch(self, numbered: list[order.NumberedExample]) -> TrainingBatch:
        """Bring examples and their noise to the device."""
        examples = [entry.example for entry in numbered]
        shape = self.student.latent_shape(self.settings.data.size)
        times = len(self.student.timesteps)
        noise = order.draw_noise([entry.k for entry in numbered], self.settings.run.seed, shape, times)
        return TrainingBatch(
            low=to_tensor(np.stack([example.lr for example in examples])).to(self.device),
            high=to_tensor(np.stack([example.hr for example in examples])).to(self.device),
            texts=self.texts([example.caption for example in examples]),
            noise=noise.to(self.device),
        )

    def save(self) -> Path:
        """Write checkpoint and weights of the last finished step; return the weights' path. Raises OutputError."""
        if self.processes.first:
            scaler = self.updates.scaler
            scale = scaler.state_dict() if scaler.is_enabled() else None
            progress = TrainingProgress(step=self.step, identity=self.identity, scale=scale)
            save_checkpoint(self.folder, progress, self.groups, self.updates.optimizers)
            model = self.settings.model
            use = {"shift_in": model.shift_in, "t5": model.t5, "t5_tokens": model.t5_tokens}
            about = {"version": 1, "step": self.step, "stage": self.settings.data.stage, "use": use}
            write_weights(self.folder, self.student, about)
        return self.folder / TRAINED

    def _write_sheet(self) -> None:
        if not self.processes.first:
            return
        restored = [
            restore_example(self.student, self.texts, example, number, self.settings.run.seed)
            for number, example in enumerate(self.sheet_examples)
        ]
        kind = "not trained on" if self.settings.data.validation else "a training picture"
        write_sheet(self.folder, self.step, self.sheet_examples, restored, kind)


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
