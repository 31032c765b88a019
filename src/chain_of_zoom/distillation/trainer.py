"""Training of the SR backbone: one-step distillation of Stable Diffusion 3 (method, section 5)."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from chain_of_zoom.distillation import order
from chain_of_zoom.distillation.adapters import REGULARISER
from chain_of_zoom.distillation.checkpoint import Progress, load_adapters, load_checkpoint, save_checkpoint
from chain_of_zoom.distillation.data import Example, Skipped, TrainingSet, open_training_set
from chain_of_zoom.distillation.export import write_published, write_weights
from chain_of_zoom.distillation.folder import SETTINGS, clear, earlier_run
from chain_of_zoom.distillation.journal import COLUMNS, Journal
from chain_of_zoom.distillation.network import Student
from chain_of_zoom.distillation.perceptual import load_perceptual
from chain_of_zoom.distillation.processes import Processes
from chain_of_zoom.distillation.settings import Settings, to_toml
from chain_of_zoom.distillation.step import Batch, generator_loss, regulariser_loss
from chain_of_zoom.distillation.texts import CaptionEmbeddings
from chain_of_zoom.distillation.updates import Updates
from chain_of_zoom.distillation.validation import SHOWN, restore, write_sheet
from chain_of_zoom.errors import BackboneError
from chain_of_zoom.files import make_folder, write_atomic
from chain_of_zoom.imaging.images import RGB8
from chain_of_zoom.networks.sd.sd3 import load_pipeline, to_tensor
from chain_of_zoom.runs.lock import lock_folder
from chain_of_zoom.runtime.placement import choose_dtype
from chain_of_zoom.weights.files import TRAINED

Losses = Mapping[str, float]
OnStep = Callable[[int, int, Losses], None]  # steps done, steps in all, the step's losses
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Trained:
    """How a run ended. weights: for `coz zoom --lora`. losses: of the last step; none where the run was done before."""

    folder: Path
    weights: Path
    steps: int
    losses: Losses
    skipped: tuple[Skipped, ...]


class Trainer:
    """A run in a folder: opens everything, goes on where an earlier start ended.

    Raises UsageError, BadInputError, MissingError, and OccupiedError where the folder holds another run and `force` is
    not given. say: takes a line for the user, from the first process alone.
    """

    def __init__(self, settings: Settings, folder: Path, *, force: bool = False, say: Say = print) -> None:
        self.settings, self.folder = settings, folder
        data, model, run = settings.data, settings.model, settings.run
        self.processes = processes = Processes(run.device)
        self.device = device = processes.device
        self.dtype = choose_dtype(run.dtype, device)
        self.say: Say = say if processes.first else lambda line: None
        self.data = self._open(data.source, data.captions)
        self.shown = self._shown()
        self.perceptual = load_perceptual(settings.losses.network, device) if settings.losses.perceptual else None
        self.identity = settings.identity(pictures=len(self.data), ranks=processes.count)
        make_folder(folder)
        self.release = lock_folder(self, folder) if processes.first else lambda: None
        if force and processes.first:
            clear(folder)
        processes.wait()
        earlier = earlier_run(folder, self.identity)
        pipeline = load_pipeline(model.base, model.t5, self.dtype)
        texts = {example.caption for example in self.shown}
        texts |= {""} if self.data.captions is None else {caption.text for caption in self.data.captions.values()}
        self.texts = CaptionEmbeddings(pipeline, texts, tokens=model.t5_tokens, device=device)
        self.student = student = Student(
            pipeline,
            shift_in=model.shift_in,
            checkpointing=model.checkpointing,
            seed=run.seed,
            device=device,
            autocast=lambda: torch.autocast(device.type, self.dtype, enabled=self.dtype != torch.float32),
        )
        self.groups = {"generator": student.generator, "encoder": student.encoder, "regulariser": student.regulariser}
        self.updates = Updates(
            [*student.generator.values(), *student.encoder.values()],
            list(student.regulariser.values()),
            settings.optimizer,
            processes,
            scaled=self.dtype == torch.float16,
        )
        generator, regulariser = self.updates.optimizers
        self.optimizers = {
            "generator": (generator, ("generator", "encoder")),
            "regulariser": (regulariser, ("regulariser",)),
        }
        self.step = self._begin(earlier)
        self.skipped: dict[str, str] = dict(self.data.skipped)
        self._say_what()

    def _open(self, source: str, captions: str | None) -> TrainingSet:
        data, seed = self.settings.data, self.settings.run.seed
        path = None if captions is None else Path(captions)
        return open_training_set(Path(source), size=data.size, stage=data.stage, seed=seed, captions=path)

    def _shown(self) -> list[Example]:
        """The examples on the sheets: always the same."""
        name = self.settings.data.validation
        shown = self._open(name, None) if name else self.data
        return [shown.example(index, 0) for index in range(min(SHOWN, len(shown)))]

    def _begin(self, earlier: Progress | None) -> int:
        if earlier:
            load_checkpoint(self.folder, self.groups, self.optimizers)
            if earlier.scale:
                self.updates.scaler.load_state_dict(earlier.scale)
            return earlier.step
        if self.settings.run.init:
            load_adapters(Path(self.settings.run.init), self.groups)
        return 0

    def _say_what(self) -> None:
        settings, count = self.settings, self.processes.count
        trained = {name: sum(p.numel() for p in group.values()) for name, group in self.groups.items()}
        self.say(f"{len(self.data)} pictures, {self.identity['pictures a step']} a step, {settings.steps} steps")
        for note in self.data.notes:
            self.say(note)
        self.say("weights trained: " + ", ".join(f"{name} {number:,}" for name, number in trained.items()))
        kept = "embedded once, text encoders freed" if self.texts.freed else "too many to keep: text encoders stay"
        self.say(f"captions: {kept}; on {self.device} in {str(self.dtype).removeprefix('torch.')}, {count} process(es)")
        if self.step:
            self.say(f"going on after step {self.step}")

    def run(self, on_step: OnStep = lambda step, steps, losses: None) -> Trained:
        """Train to the last step. Raises BackboneError when a loss is no number, OutputError, and KeyboardInterrupt.

        Whichever it is, the checkpoint of the last whole step is written before.
        """
        settings, steps = self.settings, self.settings.steps
        journal = Journal(self.folder, self.step) if self.processes.first else None
        losses: Losses = {}
        how = settings.optimizer
        parts = list(
            order.numbers(
                self.step, steps, batch=how.batch, accumulate=how.accumulate,
                rank=self.processes.rank, ranks=self.processes.count,
            )
        )  # fmt: skip
        batches = order.draw(self.data, parts, settings.run.seed, settings.data.workers)
        if self.processes.first:
            write_atomic(self.folder / SETTINGS, to_toml(settings).encode())
        if not self.step:
            self._sheet()
        try:
            with _finishing_steps() as interrupted:
                while self.step < steps:
                    losses = self._step(batches, interrupted)
                    self.step += 1
                    if journal:
                        journal.write(self.step, losses)
                    on_step(self.step, steps, losses)
                    if self.step % settings.run.sheet == 0 or self.step == steps:
                        self._sheet()
                    if self.step % settings.run.save == 0 and self.step < steps:
                        self.save()
        except (BackboneError, KeyboardInterrupt):
            self.save()
            raise
        finally:
            if journal:
                journal.close()
            self.release()
        weights = self.save()
        if settings.run.published_layout and self.processes.first:
            write_published(self.folder, self.student, self.step)
        return Trained(
            folder=self.folder, weights=weights, steps=self.step, losses=losses, skipped=tuple(self.skipped.items())
        )

    def _step(self, batches: Iterator[list[order.Draw]], interrupted: threading.Event) -> dict[str, float]:
        """One step of both optimizers; returns the means of the losses over its pictures, on all processes."""
        parts = self.settings.optimizer.accumulate
        totals = dict.fromkeys(COLUMNS[1:], 0.0)
        for _ in range(parts):
            for name, value in self._losses(next(batches), parts).items():
                totals[name] += float(value) / parts
        everywhere = torch.tensor([*totals.values(), float(interrupted.is_set())], dtype=torch.float64)
        *means, stop = self.processes.average(everywhere).tolist()
        if stop:  # wherever Ctrl-C was seen, all stop after the same step
            raise KeyboardInterrupt
        losses = dict(zip(totals, means, strict=True))
        if not all(map(math.isfinite, means)) or not self.updates.apply():
            bad = ", ".join(name for name, value in losses.items() if not math.isfinite(value)) or "the gradients"
            raise BackboneError(
                f"training stopped: {bad} became no number in step {self.step + 1}; what step {self.step} left is "
                "kept; type: a smaller --lr with --init and another -o, or --dtype float32"
            )
        return losses

    def _losses(self, draws: list[order.Draw], parts: int) -> dict[str, torch.Tensor]:
        """Losses of a batch, whose gradients are added to those of the step."""
        for each in draws:
            self.skipped.update(each.skipped)
        batch, weights = self._batch(draws), self.settings.losses
        z, total, losses = generator_loss(self.student, batch, weights, self.perceptual)
        self.updates.backward(total / parts)
        with self.student.switch.to(REGULARISER):
            own = regulariser_loss(self.student, z, batch)
            self.updates.backward(own / parts)
        losses |= {"generator": total, "regulariser": own}
        return {name: value.detach() for name, value in losses.items()}

    def _batch(self, draws: list[order.Draw]) -> Batch:
        student, examples = self.student, [each.example for each in draws]
        shape = student.latent_shape(self.settings.data.size)
        drawn = order.noise([each.k for each in draws], self.settings.run.seed, shape, len(student.timesteps))
        return Batch(
            low=to_tensor(np.stack([example.lr for example in examples])).to(self.device),
            high=to_tensor(np.stack([example.hr for example in examples])).to(self.device),
            texts=self.texts([example.caption for example in examples]),
            noise=drawn.to(self.device),
        )

    def save(self) -> Path:
        """The checkpoint and the weights of the last whole step; the path of the weights. Raises OutputError."""
        weights = self.folder / TRAINED
        if self.processes.first:
            scaler = self.updates.scaler
            scale = scaler.state_dict() if scaler.is_enabled() else None
            progress = Progress(step=self.step, identity=self.identity, scale=scale)
            save_checkpoint(self.folder, progress, self.groups, self.optimizers)
            model = self.settings.model
            use = {"shift_in": model.shift_in, "t5": model.t5, "t5_tokens": model.t5_tokens}
            about = {"version": 1, "step": self.step, "stage": self.settings.data.stage, "use": use}
            write_weights(self.folder, self.student, about)
        return weights

    def _sheet(self) -> None:
        if not self.processes.first:
            return
        made: list[RGB8] = [
            restore(self.student, self.texts, example, number, self.settings.run.seed)
            for number, example in enumerate(self.shown)
        ]
        kind = "not trained on" if self.settings.data.validation else "a training picture"
        write_sheet(self.folder, self.step, self.shown, made, kind)


@contextmanager
def _finishing_steps() -> Iterator[threading.Event]:
    """Ctrl-C sets the event instead of interrupting a step half-way; a second one interrupts at once."""
    interrupted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield interrupted
        return

    def note(number: int, frame: Any) -> None:
        interrupted.set()
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)
