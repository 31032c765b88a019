"""Train by TRL's GRPO with our rewards, and do what happens around it.

A text without a score teaches nothing, and a failure stops all processes. Around training: progress, complete
checkpoints, TensorBoard, a growing report and an orderly stop.
"""

from __future__ import annotations

import importlib
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import accelerate.utils as exchange
import numpy as np
import torch
from transformers import TrainerCallback

from chain_of_zoom.alignment.rewards.base import Reward, Sample, Unscored, check_scores
from chain_of_zoom.alignment.training.config import AlignConfig
from chain_of_zoom.alignment.training.run_folder import CHECKPOINTS, COMPLETE_MARK, AlignFolder, UnscoredText
from chain_of_zoom.errors import ChainOfZoomError, MissingError
from chain_of_zoom.prompters.text_statistics import measure_distinct, split_words


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
            (self.folder.path / CHECKPOINTS / f"checkpoint-{state.global_step}" / COMPLETE_MARK).touch()


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


trl: Any = importlib.import_module("trl")  # its names are not typed as exported


class AlignTrainer(trl.GRPOTrainer):  # type: ignore[misc]
    """A GRPOTrainer that asks `Reward` objects and lists texts without a score in `unscored_texts`."""

    def __init__(self, rewards: Sequence[Reward], **options: Any) -> None:
        self.rewards = list(rewards)
        self.unscored_texts: list[UnscoredText] = []
        super().__init__(reward_funcs=[_name_reward(reward.name) for reward in rewards], **options)

    def _calculate_rewards(
        self, inputs: list[dict[str, Any]], prompts: Any, completions: list[Any], completion_ids_list: Any
    ) -> torch.Tensor:
        """Return rewards of all processes, text by reward. A row with a missing score is NaN throughout.

        TRL leaves such rows out of their group's mean and gives them no advantage; a single NaN would count as 0.
        """
        samples = [
            Sample(row["pair"], np.asarray(row["images"][0]), np.asarray(row["images"][1]), _read_text(completion))
            for row, completion in zip(inputs, completions, strict=True)
        ]
        columns: list[list[float | Unscored]] = []
        failure: ChainOfZoomError | None = None
        try:
            columns = [check_scores(reward, samples) for reward in self.rewards]
        except ChainOfZoomError as error:  # the next exchange stops all processes together
            failure = error
        if failures := [error for error in exchange.gather_object([failure]) if error is not None]:
            raise failures[0]
        table = torch.tensor([[math.nan if isinstance(v, Unscored) else v for v in column] for column in columns]).T
        table[table.isnan().any(dim=1)] = math.nan
        step = self.state.global_step + 1
        unscored = [
            UnscoredText(step=step, reward=reward.name, pair=sample.pair, text=sample.text, why=value.why)
            for reward, column in zip(self.rewards, columns, strict=True)
            for sample, value in zip(samples, column, strict=True)
            if isinstance(value, Unscored)
        ]
        self.unscored_texts += exchange.gather_object(unscored)
        self._measure([sample.text for sample in samples], len({(text.pair, text.text) for text in unscored}))
        rows: torch.Tensor = exchange.gather(table.to(self.accelerator.device))
        return rows

    def _measure(self, texts: list[str], unscored: int) -> None:
        """Record length, variety and missing scores, beside TRL's own measures."""
        texts = exchange.gather_object(texts)
        values = {
            "texts/words": sum(len(split_words(text)) for text in texts) / len(texts),
            "texts/distinct": measure_distinct(texts, 1) or 0.0,
            "texts/empty": sum(not split_words(text) for text in texts) / len(texts),
            "texts/unscored": sum(exchange.gather_object([unscored])) / len(texts),
        }
        for name, value in values.items():
            self._metrics["train" if self.model.training else "eval"][name].append(value)

    def create_model_card(self, *args: Any, **options: Any) -> None:
        """Do nothing: our card is written at the end."""

    def _send_telemetry(self) -> None:
        """Send nothing to anybody."""


def make_trl_config(config: AlignConfig, out: Path, device: torch.device, dtype: torch.dtype) -> Any:
    """Return TRL's configuration. Raises TypeError or ValueError for arguments of the table [trl] that it refuses."""
    on_cpu = device.type == "cpu"
    fixed = {
        "output_dir": str(out),
        "max_steps": config.steps,
        "per_device_train_batch_size": config.batch,
        "gradient_accumulation_steps": config.accumulate,
        "num_generations": config.group,
        "max_completion_length": config.max_new_tokens,
        "temperature": config.temperature,
        "beta": config.kl,
        "scale_rewards": config.scale,
        "reward_weights": list(config.used.values()),
        "learning_rate": config.learning_rate,
        "seed": config.seed,
        "use_cpu": on_cpu,
        "bf16": dtype == torch.bfloat16,
        "fp16": dtype == torch.float16,
        "gradient_checkpointing": not on_cpu if config.checkpointing is None else config.checkpointing,
        "use_vllm": config.vllm,
        "save_steps": config.save_every,
        "logging_steps": config.log_every or max(1, config.steps // 1000),
        "report_to": [name for name in config.loggers if name != "tensorboard"],  # that one gets its folder from us
        "logging_first_step": True,
        "remove_unused_columns": False,
        "disable_tqdm": True,
        "push_to_hub": False,
    }
    # Gradients of all clipped texts of a group count alike, as in the first GRPO; the paper says nothing of a schedule.
    defaults = {"loss_type": "grpo", "lr_scheduler_type": "constant", "save_total_limit": 2}
    if doubled := [key for key in config.trl if key in fixed]:
        raise ValueError(f"trl.{doubled[0]} is set by another key")
    return trl.GRPOConfig(**{**fixed, **defaults, **config.trl})


def _read_text(completion: Any) -> str:
    return str(completion[0]["content"])


def _name_reward(name: str) -> Callable[..., list[float]]:
    """Return a function with a name for TRL's logs; never called, since `_calculate_rewards` is ours."""

    def reward(*_: object) -> list[float]:
        raise AssertionError(name)

    reward.__name__ = name
    return reward
