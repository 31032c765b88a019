"""Trains the super-resolution backbone by one-step distillation of Stable Diffusion 3 (as published)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from chain_of_zoom.distillation import order
from chain_of_zoom.distillation.adapters import REGULARISER
from chain_of_zoom.distillation.checkpoint import Groups, write_published, write_weights
from chain_of_zoom.distillation.data import TrainingSet, open_training_set
from chain_of_zoom.distillation.loop import TrainingLoop
from chain_of_zoom.distillation.losses import (
    TrainingBatch,
    compute_generator_loss,
    compute_regulariser_loss,
    load_perceptual,
)
from chain_of_zoom.distillation.network import CaptionEmbeddings, Student
from chain_of_zoom.distillation.settings import Settings
from chain_of_zoom.distillation.validation import EXAMPLES_PER_SHEET, restore_example, write_sheet
from chain_of_zoom.networks.sd.sd3 import load_pipeline, to_tensor
from chain_of_zoom.runtime.placement import choose_dtype


class Trainer(TrainingLoop[Settings]):
    """Trains adapters of Stable Diffusion 3."""

    columns = ("l2", "perceptual", "matching", "generator", "regulariser")
    headline = "generator"
    trained = ("generator", "encoder", "regulariser")

    def choose_precision(self) -> torch.dtype:
        """Choose the precision of the transformer."""
        return choose_dtype(self.settings.run.dtype, self.device)

    def open_pictures(self, source: str) -> TrainingSet:
        """Open a folder or a list of pictures, those to learn from with their captions."""
        data, optimizer = self.settings.data, self.settings.optimizer
        return open_training_set(
            Path(source),
            size=data.size,
            stage=data.stage,
            seed=self.settings.run.seed,
            captions=Path(data.captions) if data.captions and source == data.source else None,
            examples=self.settings.steps * optimizer.batch * optimizer.accumulate * self.processes.count,
        )

    def read_before_folder(self) -> None:
        """Make the examples of the sheets, and load the perceptual loss."""
        self.sheet_examples = self.draw_sheet_examples(EXAMPLES_PER_SHEET)
        uses_perceptual = self.settings.losses.perceptual > 0
        self.perceptual = load_perceptual(self.settings.losses.network, self.device) if uses_perceptual else None

    def load_networks(self) -> Groups:
        """Load the base model and embed the captions, before the adapters and the optimizers need memory."""
        model, device = self.settings.model, self.device
        pipeline = load_pipeline(model.base, model.t5, self.dtype)
        captions = {example.caption for example in self.sheet_examples}
        captions |= {""} if self.data.captions is None else {caption.text for caption in self.data.captions.values()}
        self.texts = CaptionEmbeddings(pipeline, captions, tokens=model.t5_tokens, device=device)
        self.student = Student(
            pipeline,
            shift_in=model.shift_in,
            checkpointing=model.checkpointing,
            seed=self.settings.run.seed,
            device=device,
            autocast=lambda: torch.autocast(device.type, self.dtype, enabled=self.dtype != torch.float32),
        )
        return self.student.groups

    def describe(self) -> list[str]:
        """Say what became of the captions."""
        state = "embedded once, text encoders freed" if self.texts.freed else "too many to keep: embedded 256 at a time"
        return [f"captions: {state}"]

    def add_gradients(self, examples: list[order.NumberedExample], batches: int) -> dict[str, Tensor]:
        """Add the gradients of both losses; gradients of each reach its own adapters."""
        batch = self.make_batch(examples)
        z, total, losses = compute_generator_loss(self.student, batch, self.settings.losses, self.perceptual)
        self.updates.backward(total / batches)
        with self.student.switch.activate(REGULARISER):
            regulariser_loss = compute_regulariser_loss(self.student, z, batch)
            self.updates.backward(regulariser_loss / batches)
        losses |= {"generator": total, "regulariser": regulariser_loss}
        return {name: value.detach() for name, value in losses.items()}

    def make_batch(self, numbered: list[order.NumberedExample]) -> TrainingBatch:
        """Bring examples and their noise to the device."""
        examples = [entry.example for entry in numbered]
        shape = self.student.latent_shape(self.settings.data.size)
        times = len(self.student.timesteps)
        noise = order.draw_noise([entry.k for entry in numbered], self.settings.run.seed, shape, times)
        return TrainingBatch(
            low=to_tensor(np.stack([example.lr for example in examples])).to(self.device),
            high=to_tensor(np.stack([example.hr for example in examples])).to(self.device),
            texts=self.texts([example.caption for example in examples], self._list_upcoming(numbered[-1].k)),
            noise=noise.to(self.device),
        )

    def _list_upcoming(self, k: int) -> Iterator[str]:
        """Yield the captions of the examples of this process after example k."""
        for numbers in self.number_batches():
            for number in numbers:
                if number > k:
                    yield self.data.find_caption(self.data.find_place(number))

    def export(self) -> Path:
        """Write the adapters to one file."""
        model = self.settings.model
        use = {"shift_in": model.shift_in, "t5": model.t5, "t5_tokens": model.t5_tokens}
        about = {"version": 1, "step": self.step, "stage": self.settings.data.stage, "use": use}
        return write_weights(self.folder, self.student, about)

    def finish(self) -> None:
        """Write the published layout where it is wanted."""
        if self.settings.run.published_layout:
            write_published(self.folder, self.student, self.step)

    def write_sheet(self) -> None:
        """Write a sheet of restored pictures."""
        restored = [
            restore_example(self.student, self.texts, example, number, self.settings.run.seed)
            for number, example in enumerate(self.sheet_examples)
        ]
        write_sheet(self.folder, self.step, self.sheet_examples, restored, self.name_sheet())

    def describe_use(self) -> str:
        """Return the options of `coz zoom` that use the adapters."""
        return f"--backbone osediff-sd3 --base {self.settings.model.base} --lora {self.folder}"
