"""Define the settings of an alignment: a preset with layers of tables over it, checked at once, and written as TOML."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

from chain_of_zoom import plugins
from chain_of_zoom.errors import UsageError
from chain_of_zoom.prompters.critic import is_url
from chain_of_zoom.runs.folder import list_changes
from chain_of_zoom.settings import check_settings

Count = Annotated[int, msgspec.Meta(ge=1)]
NotNegative = Annotated[float, msgspec.Meta(ge=0)]
Positive = Annotated[float, msgspec.Meta(gt=0)]
Tables = Mapping[str, Any]


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class Lora(_Table, frozen=True, kw_only=True):
    """The adapter (paper, section 3.3)."""

    r: Count = 8
    """Rank of its matrices."""
    alpha: Count = 32
    """Scale of its output, times r."""
    dropout: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.05
    """Share of its inputs that are dropped while training."""
    targets: str | None = None
    """Regex of module names; null: TARGETS, the language model alone."""


class CriticSettings(_Table, frozen=True, kw_only=True):
    """The critic that rates texts, as `make_critic` takes it."""

    name: str | None = None
    """A model of this machine, or the URL of a server."""
    model: str | None = None
    """Name of the model on that server; null where it has one."""
    device: str = "auto"
    """Device of a local model."""
    dtype: str = "auto"
    """Precision of a local model."""
    max_new_tokens: Count = 16
    """Tokens of an answer at most."""
    timeout: Positive = 60.0
    """Seconds for an answer of a server."""
    concurrency: Count = 8
    """Questions that a server is asked at a time."""
    key_variable: str = "OPENAI_API_KEY"
    """Environment variable with the key of a server."""
    patience: NotNegative = 600.0
    """Seconds to go on asking a server that is down."""


class AlignConfig(_Table, frozen=True, kw_only=True):
    """Everything that an alignment depends on besides the pairs' pixels and the weights."""

    preset: str
    """Name of the preset below these settings."""
    data: str
    """Folder or JSONL file of pairs."""
    model: str
    """Model of the prompter: a folder or a name in the local cache."""
    critic: CriticSettings = CriticSettings()
    """The critic."""
    steps: Count
    """Steps of the optimizer."""
    group: Annotated[int, msgspec.Meta(ge=2)]
    """Texts per pair that are compared."""
    batch: Count
    """Texts per device at a time."""
    accumulate: Count = 1
    """Such batches per step."""
    learning_rate: Positive = 1e-5
    """Step size of the optimizer."""
    kl: NotNegative
    """Weight of the KL term (beta)."""
    scale: Literal["none", "group"] = "none"
    """Whether advantages are divided by the group's spread."""
    temperature: Positive = 1.0
    """Of sampling; higher tries more."""
    max_new_tokens: Count = 32
    """Tokens of a text at most."""
    seed: Annotated[int, msgspec.Meta(ge=0, lt=2**31)] = 0
    """Decides order, sampling and the adapter's first weights."""
    device: str = "auto"
    """auto, cpu or gpu."""
    dtype: str = "auto"
    """Precision of the frozen weights."""
    checkpointing: bool | None = None
    """Whether activations are computed again to save memory; null: on a GPU."""
    samples: Annotated[int, msgspec.Meta(ge=0)] = 8
    """Held-out pairs that the model writes about before and after."""
    save_every: Count = 100
    """Steps between checkpoints."""
    log_every: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Steps between logged numbers; 0 for about 1000 points."""
    vllm: bool = False
    """Whether vLLM generates the texts."""
    loggers: tuple[Literal["tensorboard", "wandb"], ...] = ("tensorboard",)
    """Where curves go besides the report."""
    weights: dict[str, Annotated[float, msgspec.Meta(ge=-100, le=100)]]
    """Weights of the rewards by name; 0 leaves one out."""
    reward: dict[str, dict[str, Any]] = {}
    """Options of rewards, by name."""
    lora: Lora = Lora()
    """The adapter."""
    trl: dict[str, Any] = {}
    """Further arguments of TRL's GRPOConfig."""

    @property
    def used(self) -> dict[str, float]:
        """Return the rewards that count, and their weights."""
        return {name: weight for name, weight in self.weights.items() if weight}

    def difference(self, earlier: AlignConfig) -> str:
        """Describe how an earlier configuration differs in what may not change within a run; empty if it does not."""
        may_change = set(MAY_CHANGE)
        if all(is_url(str(config.critic.name)) for config in (self, earlier)):
            may_change.add("critic.name")  # servers move
        return "; ".join(list_changes(msgspec.to_builtins(earlier), msgspec.to_builtins(self), ignored=may_change))


# A run may go on for longer, on another device, and with more patience for its critic.
MAY_CHANGE = {"preset", "steps", "save_every", "samples", "device", "critic.device"}
MAY_CHANGE |= {"critic.patience", "critic.timeout", "critic.concurrency", "critic.key_variable"}

PRESETS: dict[str, Tables] = {
    "paper": {
        "steps": 10_000,
        "group": 2,
        "batch": 2,
        "accumulate": 4,  # the groups of a step lay on four cards
        "kl": 0.0,
        "weights": {"critic": 1.0, "phrase": 0.5, "repetition": 0.5},
    },
    "safe": {
        "steps": 2_000,
        "group": 8,
        "batch": 8,
        "kl": 0.04,
        "weights": {"critic": 1.0, "phrase": 0.5, "repetition": 0.5, "validity": 1.0},
    },
}


def resolve(preset: str, *layers: Tables) -> AlignConfig:
    """Lay tables over a preset, the last one winning. Raises UsageError for unknown or missing settings."""
    if preset not in PRESETS:
        raise UsageError(f"--preset {preset!r}; accepted: {', '.join(PRESETS)}; for example --preset safe")
    merged: dict[str, Any] = {}
    for layer in (PRESETS[preset], *layers, {"preset": preset}):
        merged = _merge(merged, layer)
    for key, flag in (("data", "--data"), ("model", "--model")):
        if key not in merged:
            raise UsageError(f"{flag} is missing; accepted: {flag} with a value; see coz align --help")
    hint = "accepted: the keys and values of docs/alignment.md; for example --set group=8 --set lora.r=16"
    config = check_settings(merged, AlignConfig, "settings of the alignment", hint)
    _check_config(config)
    return config


def _check_config(config: AlignConfig) -> None:
    try:
        re.compile(config.lora.targets or "")
    except re.error as error:
        raise UsageError(
            f"lora.targets {config.lora.targets!r} is no regex ({error}); accepted: one of module names; leave it out"
        ) from error
    used = list(config.used)
    for name in {*config.weights, *config.reward}:
        plugins.factory("reward", plugins.REWARDS, name)
    if not used:
        raise UsageError("no reward has a weight; accepted: one or more; for example --set weights.critic=1")
    if unused := [name for name in config.reward if name not in used]:
        raise UsageError(
            f"options of the reward {unused[0]}, which has no weight; accepted: options of {', '.join(used)}; "
            f"type: --set weights.{unused[0]}=0.5"
        )
    if "critic" in config.reward:
        raise UsageError("reward.critic is no table; accepted: critic.KEY; for example --set critic.patience=60")
    if "critic" in used and not config.critic.name:
        raise UsageError(
            "--critic is missing; accepted: a model of this machine or the URL of a server; for example --critic "
            "http://127.0.0.1:8000/v1, or without a critic --set weights.critic=0"
        )


def check_batches(config: AlignConfig, processes: int) -> None:
    """Raises UsageError unless whole groups fill the texts of a step."""
    texts = config.batch * config.accumulate * processes
    if texts % config.group:
        per = config.accumulate * processes
        fitting = next(
            batch for batch in range(config.batch, config.batch + config.group) if batch * per % config.group == 0
        )
        raise UsageError(
            f"groups of {config.group} do not divide the {texts} texts of a step (batch {config.batch} x accumulate "
            f"{config.accumulate} x {processes} processes); accepted: a multiple of {config.group}; "
            f"for example --set batch={fitting}"
        )


def _merge(below: Tables, above: Tables) -> dict[str, Any]:
    """Merge tables within tables and replace anything else."""
    merged = dict(below)
    for key, value in above.items():
        are_tables = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merge(merged[key], value) if are_tables else value
    return merged
