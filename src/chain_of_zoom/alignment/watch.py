"""What happens around training: progress, complete checkpoints, TensorBoard, a report that grows, an orderly stop."""

from __future__ import annotations

import importlib
import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import TrainerCallback

from chain_of_zoom.alignment.run_folder import CHECKPOINTS, WHOLE, AlignFolder
from chain_of_zoom.errors import MissingError


@dataclass(frozen=True)
class LoggedStep:
    """How far training is. values: what was logged last, as TRL names it."""

    step: int
    steps: int
    values: dict[str, float]


class TrainingCallback(TrainerCallback):
    """Tells of every logged step; marks checkpoints that are complete and then rewrites what lies beside them.

    keep: writes gaps and report. Random numbers are noted after every step, so that a stop in the middle of the next
    one can be undone.
    """

    def __init__(
        self, folder: AlignFolder | None, keep: Callable[[], None], progress: Callable[[LoggedStep], None] | None
    ) -> None:
        self.folder = folder
        self.keep = keep
        self.progress = progress
        self.noted = _random_state()

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """The state of a checkpoint, if there is one, is in place."""
        self.noted = _random_state()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """A step of the optimizer is done."""
        self.noted = _random_state()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        """Numbers of a step."""
        if self.progress and self.folder and logs and "reward" in logs:
            self.progress(LoggedStep(state.global_step, state.max_steps, logs))

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Everything of a checkpoint is written."""
        if self.folder:
            self.keep()
            (self.folder.file(CHECKPOINTS) / f"checkpoint-{state.global_step}" / WHOLE).touch()


def save_last_step(trainer: Any, watch: TrainingCallback) -> None:
    """A checkpoint of the last whole step, though the next one has begun."""
    _restore(watch.noted)
    trainer._save_checkpoint(trainer.model, None)
    watch.on_save(trainer.args, trainer.state, trainer.control)


def make_tensorboard(folder: Path, step: int) -> TrainerCallback:
    """Curves for TensorBoard; what an earlier process wrote after `step` goes. Raises MissingError."""
    integrations: Any = importlib.import_module("transformers.integrations")
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingError(f"TensorBoard needs {error.name}; type: pip install 'chain-of-zoom[train]'") from error
    writer = SummaryWriter(log_dir=str(folder), purge_step=step or None)
    callback: TrainerCallback = integrations.TensorBoardCallback(writer)
    return callback


def _random_state() -> tuple[Any, ...]:
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return random.getstate(), np.random.get_state(), torch.get_rng_state(), cuda


def _restore(state: tuple[Any, ...]) -> None:
    random.setstate(state[0])
    np.random.set_state(state[1])
    torch.set_rng_state(state[2])
    if state[3]:
        torch.cuda.set_rng_state_all(state[3])


@contextmanager
def silence_libraries() -> Iterator[None]:
    """Without the libraries' own bars, hints and deprecations: ours say what matters."""
    logging: Any = importlib.import_module("transformers.utils.logging")
    datasets: Any = importlib.import_module("datasets")
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    datasets.disable_progress_bars()
    try:
        with warnings.catch_warnings():
            for kind in (FutureWarning, DeprecationWarning, UserWarning):
                warnings.filterwarnings("ignore", category=kind)
            yield
    finally:
        logging.set_verbosity(before)
        logging.enable_progress_bar()
        datasets.enable_progress_bars()
