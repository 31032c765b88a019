"""Run one alignment from settings to an adapter with its card and its report; stopped, the same call goes on."""

from __future__ import annotations

import gc
import importlib
import importlib.util
import json
import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from chain_of_zoom import plugins
from chain_of_zoom.alignment.pairs.read import Pair, Pairs, read_pairs
from chain_of_zoom.alignment.rewards.base import Reward
from chain_of_zoom.alignment.rewards.critic import CriticReward
from chain_of_zoom.alignment.training.config import AlignConfig, check_batches
from chain_of_zoom.alignment.training.report import ReportData, write_report
from chain_of_zoom.alignment.training.run_folder import (
    ADAPTER,
    CACHE,
    CARD,
    CHECKPOINTS,
    REPORT,
    TENSORBOARD,
    AlignFolder,
    HeldOutSample,
    find_last_checkpoint,
    read_step,
)
from chain_of_zoom.errors import BadInputError, DownError, MissingError, UsageError
from chain_of_zoom.files import write_atomic
from chain_of_zoom.prompters.critic import make_critic

if TYPE_CHECKING:
    from chain_of_zoom.alignment.training.trainer import LoggedStep
    from chain_of_zoom.networks.vlm.loading import LoadedVlm

Progress = Callable[["LoggedStep"], None]
Say = Callable[[str], None]
Log = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class AlignmentResult:
    """The result of an alignment."""

    folder: Path
    """Folder of the adapter."""
    steps: int
    """Steps of training in all."""
    resumed: int
    """The step that this call went on from; 0 for a new run."""
    first: Log
    """Logged numbers of the first step."""
    last: Log
    """Logged numbers of the last step."""
    unscored: int
    """Texts without a score."""
    skipped: tuple[tuple[str, str], ...]
    """Pairs that could not be read, and the reasons."""
    report: Path
    """The page with curves and texts."""


def align(
    config: AlignConfig, out: Path, *, force: bool = False, progress: Progress | None = None, say: Say | None = None
) -> AlignmentResult | None:
    """Train the adapter in `out`, with checkpoints, curves, card and report; return None in every other process.

    progress: receives every logged step. say: receives lines about waiting and about detours.
    Raises UsageError for settings that make no sense or do not fit this machine, BadInputError for pairs, MissingError
    for models, servers and extras, OccupiedError and OutputError for the folder, and DownError, with a checkpoint,
    when the critic is away for good.
    """
    for package in ("torch", "transformers", "peft", "accelerate", "datasets", "trl"):
        if importlib.util.find_spec(package) is None:
            raise MissingError(f"coz align needs {package}; type: pip install 'chain-of-zoom[train]'")
    with silence_libraries():
        return _AlignmentRun(config, out, progress, say or (lambda line: None)).go(force)


class _AlignmentRun:
    """One run: it checks settings and pairs when it is made, and trains when it is called to `go`."""

    def __init__(self, config: AlignConfig, out: Path, progress: Progress | None, say: Say) -> None:
        from chain_of_zoom.alignment.training.trainer import make_trl_config
        from chain_of_zoom.runtime.placement import choose_device, choose_dtype

        self.config, self.out, self.progress, self.say = config, out, progress, say
        self.is_main = int(os.environ.get("RANK", "0")) == 0
        check_batches(config, int(os.environ.get("WORLD_SIZE", "1")))
        if "wandb" in config.loggers and importlib.util.find_spec("wandb") is None:
            raise MissingError("the logger wandb is not installed; type: pip install wandb, or leave it out of loggers")
        device = choose_device(config.device)
        if device.index:
            raise UsageError(
                f"device {config.device}; accepted: auto, cpu, gpu; another GPU: CUDA_VISIBLE_DEVICES={device.index}"
            )
        self.dtype = choose_dtype(config.dtype, device)
        self.pairs: Pairs = read_pairs(Path(config.data))
        self.train, self.held_out = _split_pairs(self.pairs, config)
        try:
            self.args = make_trl_config(config, out / CHECKPOINTS, device, self.dtype)
        except (TypeError, ValueError, ImportError) as error:
            raise UsageError(
                f"TRL refuses the settings ({' '.join(str(error).split())[:200]}); accepted: arguments of its "
                "GRPOConfig in [trl]; see docs/alignment.md"
            ) from error
        if self.args.n_gpu > 1:
            raise UsageError(
                f"{self.args.n_gpu} GPUs are visible to one process; accepted: one process per GPU; type: accelerate "
                "launch -m chain_of_zoom align ..., or set CUDA_VISIBLE_DEVICES=0"
            )

    def go(self, force: bool) -> AlignmentResult | None:
        """Train, unless the folder holds the finished run."""
        import torch

        with self.args.main_process_first(local=False):
            folder = AlignFolder(self.out, self.config, force=force) if self.is_main else None
        try:
            checkpoint = find_last_checkpoint(self.out)
            resumed = read_step(checkpoint) if checkpoint else 0
            if AlignFolder.is_finished(self.out, self.config.steps):
                return self._finish(folder, resumed, _read_history(checkpoint)) if folder else None
            return self._train(folder, checkpoint, resumed)
        except torch.OutOfMemoryError as error:
            raise UsageError(
                f"the memory of {self.args.device} is used up ({str(error)[:120]}); accepted: smaller batches, which "
                f"begin anew; for example --set batch=1 --set accumulate={self.config.batch * self.config.accumulate} "
                "--force"
            ) from error
        finally:
            if folder:
                folder.close()

    def _train(self, folder: AlignFolder | None, checkpoint: Path | None, resumed: int) -> AlignmentResult | None:
        from chain_of_zoom.alignment.training.budget import require_memory
        from chain_of_zoom.alignment.training.policy import answer_pairs
        from chain_of_zoom.networks.vlm.loading import load_vlm

        require_memory(self.config, self.args, self.dtype.itemsize, self.train[0])
        rewards = self._load_rewards()
        vlm = load_vlm(self.config.model, None, self.args.device, self.dtype)
        if folder and self.held_out and not folder.read_samples():
            before = answer_pairs(vlm, self.held_out, self.config, rewards)
            answers = zip(self.held_out, before, strict=True)
            folder.write_samples([HeldOutSample(pair=pair.name, before=answer) for pair, answer in answers])
        history = self._learn(vlm, rewards, folder, checkpoint, resumed)
        del vlm
        gc.collect()
        if folder is None:
            return None
        if samples := folder.read_samples():
            # The adapter is read from its files, as a zoom will do.
            aligned = load_vlm(self.config.model, self.out, self.args.device, self.dtype)
            after = answer_pairs(aligned, self.held_out, self.config, rewards)
            compared = zip(samples, after, strict=True)
            folder.write_samples([msgspec.structs.replace(sample, after=answer) for sample, answer in compared])
        return self._finish(folder, resumed, history)

    def _learn(
        self, vlm: LoadedVlm, rewards: list[Reward], folder: AlignFolder | None, checkpoint: Path | None, resumed: int
    ) -> list[Log]:
        """Train, save the adapter and return the logged numbers."""
        from transformers import PrinterCallback

        from chain_of_zoom.alignment.training.policy import make_dataset, make_lora_config
        from chain_of_zoom.alignment.training.trainer import (
            AlignTrainer,
            TrainingCallback,
            make_tensorboard,
            save_last_step,
        )

        trainer = AlignTrainer(
            rewards,
            model=vlm.model,
            processing_class=vlm.processor,
            args=self.args,
            train_dataset=make_dataset(self.train),
            peft_config=make_lora_config(vlm.model, self.config.lora),
        )
        trainer.remove_callback(PrinterCallback)
        callback = TrainingCallback(folder, lambda: self._write_files(trainer, folder), self.progress)
        trainer.add_callback(callback)
        if folder:
            trainer.unscored_texts = folder.read_unscored(until=resumed)
            if "tensorboard" in self.config.loggers:
                trainer.add_callback(make_tensorboard(folder.path / TENSORBOARD, resumed))
        try:
            if resumed < self.config.steps:
                trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
            else:
                trainer._load_from_checkpoint(str(checkpoint))
        except DownError as error:
            step = trainer.state.global_step
            if step > resumed:
                save_last_step(trainer, callback)
            raise DownError(
                f"stopped after step {step} of {self.config.steps}, which is kept in {self.out}: {error}; run the same "
                "command again to go on"
            ) from error
        self._save(trainer)
        return _list_logged(trainer.state.log_history) if resumed < self.config.steps else _read_history(checkpoint)

    def _write_files(self, trainer: Any, folder: AlignFolder | None) -> None:
        if folder:
            folder.write_unscored(trainer.unscored_texts)
            self._write_report(folder, _list_logged(trainer.state.log_history))

    def _save(self, trainer: Any) -> None:
        """Write the adapter's two files and the card; TRL's other files are in the checkpoints."""
        from chain_of_zoom.alignment.training.report import format_card

        temporary = self.out / CHECKPOINTS / "adapter"
        trainer.save_model(str(temporary))
        if not self.is_main:
            return
        config_file, weights_file = ADAPTER
        adapter_config = json.loads((temporary / config_file).read_text("utf-8"))
        adapter_config["base_model_name_or_path"] = self.config.model
        write_atomic(self.out / config_file, json.dumps(adapter_config, indent=2).encode() + b"\n")
        write_atomic(self.out / weights_file, (temporary / weights_file).read_bytes())
        shutil.rmtree(temporary)
        write_atomic(self.out / CARD, format_card(self.config, self.pairs, len(self.train)).encode())

    def _finish(self, folder: AlignFolder, resumed: int, history: list[Log]) -> AlignmentResult:
        report = self._write_report(folder, history)
        return AlignmentResult(
            folder=self.out,
            steps=self.config.steps,
            resumed=resumed,
            first=history[0] if history else {},
            last=history[-1] if history else {},
            unscored=len(folder.read_unscored()),
            skipped=self.pairs.skipped,
            report=report,
        )

    def _write_report(self, folder: AlignFolder, history: list[Log]) -> Path:
        data = ReportData(
            config=self.config,
            history=history,
            samples=folder.read_samples(),
            unscored=folder.read_unscored(),
            skipped=self.pairs.skipped,
            pairs={pair.name: pair for pair in self.held_out},
            trained_on=len(self.train),
        )
        return write_report(data, folder.path / REPORT)

    def _load_rewards(self) -> list[Reward]:
        """Return the rewards with a weight, ready to be asked. Raises their errors."""
        rewards: list[Reward] = []
        for name in self.config.used:
            if name == "critic":
                options = msgspec.structs.asdict(self.config.critic)
                options["device"] = str(self.args.device) if options["device"] == "auto" else options["device"]
                cache = self.out / CACHE
                reward: Reward = CriticReward(make_critic(options.pop("name"), **options, cache=cache, say=self.say))
            else:
                options = self.config.reward.get(name, {})
                reward = plugins.create("reward", plugins.REWARDS, name, **options)
            reward.load()
            rewards.append(reward)
        return rewards


def _split_pairs(pairs: Pairs, config: AlignConfig) -> tuple[tuple[Pair, ...], tuple[Pair, ...]]:
    """Return the pairs to learn from, and the held-out ones that the model writes about.

    Raises BadInputError where a step needs more than there are.
    """
    train, held_out = pairs.select("train"), pairs.select("held-out")
    needed = config.batch * config.accumulate * int(os.environ.get("WORLD_SIZE", "1")) // config.group
    if len(train) < max(needed, 2):
        raise BadInputError(
            f"{config.data} has {len(train)} pairs to learn from, {len(held_out)} held out and {len(pairs.skipped)} "
            f"unreadable; accepted: {max(needed, 2)} or more, as every step sees {needed}; make more: coz align pairs "
            "PHOTOS -o pairs"
        )
    return train, held_out[: config.samples]


def _list_logged(history: Sequence[dict[str, Any]]) -> list[Log]:
    """Return the numbers of every logged step."""
    return [{k: v for k, v in line.items() if isinstance(v, int | float)} for line in history if "reward" in line]


def _read_history(checkpoint: Path | None) -> list[Log]:
    """Return the numbers that a checkpoint remembers."""
    if checkpoint is None:
        return []
    return _list_logged(json.loads((checkpoint / "trainer_state.json").read_text("utf-8"))["log_history"])


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
        with warnings.catch_warnings():  # of a variable of the user's that keeps bars off anyhow
            warnings.simplefilter("ignore")
            logging.enable_progress_bar()
            datasets.enable_progress_bars()
