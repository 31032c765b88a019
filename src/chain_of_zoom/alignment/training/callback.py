"""Do what happens around training: progress, complete checkpoints, TensorBoard, a growing report, an orderly stop."""

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

from chain_of_zoom.alignment.training.run_folder import CHECKPOINTS, COMPLETE_MARK, AlignFolder
from chain_of_zoom.errors import MissingError


@dataclass(frozen=True)
class LoggedStep:
    """The numbers of a step of training."""

    step: int
    """Steps so far."""
    steps: int
    """Steps in all."""
    values: dict[str, float]
    """The step's numbers, as TRL names them."""


class TrainingCallback(TrainerCallback):
    """Reports every logged step; marks complete checkpoints and then rewrites the files beside them.

    write_files: writes unscored texts and report. Random numbers are copied after every step, so that a stop in the
    middle of the next one can be undone.
    """

    def __init__(
        self, folder: AlignFolder | None, write_files: Callable[[], None], progress: Callable[[LoggedStep], None] | None
    ) -> None:
        self.folder = folder
        self.write_files = write_files
        self.progress = progress
        self.random_state = _copy_random_state()

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Copy the random numbers, which come from the checkpoint where there is one."""
        self.random_state = _copy_random_state()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Copy the random numbers after a step of the optimizer."""
        self.random_state = _copy_random_state()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        """Report the numbers of a step."""
        if self.progress and self.folder and logs and "reward" in logs:
            self.progress(LoggedStep(state.global_step, state.max_steps, logs))

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Mark a checkpoint whose files are all written."""
        if self.folder:
            self.write_files()
            (self.folder.file(CHECKPOINTS) / f"checkpoint-{state.global_step}" / COMPLETE_MARK).touch()


def save_last_step(trainer: Any, callback: TrainingCallback) -> None:
    """Write a checkpoint of the last whole step, though the next one has started."""
    _restore_random_state(callback.random_state)
    trainer._save_checkpoint(trainer.model, None)
    callback.on_save(trainer.args, trainer.state, trainer.control)


def make_tensorboard(folder: Path, step: int) -> TrainerCallback:
    """Return a callback that writes curves for TensorBoard, without what an earlier process wrote after `step`.

    Raises MissingError.
    """
    integrations: Any = importlib.import_module("transformers.integrations")
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingError(f"TensorBoard needs {error.name}; type: pip install 'chain-of-zoom[train]'") from error
    writer = SummaryWriter(log_dir=str(folder), purge_step=step or None)
    callback: TrainerCallback = integrations.TensorBoardCallback(writer)
    return callback


def _copy_random_state() -> tuple[Any, ...]:
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return random.getstate(), np.random.get_state(), torch.get_rng_state(), cuda


def _restore_random_state(state: tuple[Any, ...]) -> None:
    random.setstate(state[0])
    np.random.set_state(state[1])
    torch.set_rng_state(state[2])
    if state[3]:
        torch.cuda.set_rng_state_all(state[3])


@contextmanager
def silence_libraries() -> Iterator[None]:
    """Suppress the libraries' own bars, hints and deprecations: ours say what matters."""
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
