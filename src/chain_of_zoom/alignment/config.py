"""Settings of an alignment: a preset with layers of tables over it, checked at once, and written as TOML."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

from chain_of_zoom import plugins
from chain_of_zoom.errors import UsageError

Count = Annotated[int, msgspec.Meta(ge=1)]
NotNegative = Annotated[float, msgspec.Meta(ge=0)]
Positive = Annotated[float, msgspec.Meta(gt=0)]
Tables = Mapping[str, Any]


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class Lora(_Table, frozen=True, kw_only=True):
    """The adapter (paper, section 3.3). targets: a regex of module names; null: TARGETS, the language model alone."""

    r: Count = 8
    alpha: Count = 32
    dropout: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.05
    targets: str | None = None


class CriticSettings(_Table, frozen=True, kw_only=True):
    """Who rates. name: a model of this machine, or the URL of a server; the others as `make_critic` takes them."""

    name: str | None = None
    model: str | None = None
    device: str = "auto"
    dtype: str = "auto"
    max_new_tokens: Count = 16
    timeout: Positive = 60.0
    concurrency: Count = 8
    key_variable: str = "OPENAI_API_KEY"
    patience: NotNegative = 600.0


class AlignConfig(_Table, frozen=True, kw_only=True):
    """Everything that an alignment depends on besides the pairs' pixels and the weights.

    data: pairs. model: the prompter's, a folder or a name in the local cache. steps: of the optimizer. group: texts per
    pair that are compared. batch: texts per device at a time. accumulate: such batches per step. kl: weight of the KL
    term (beta). scale: whether advantages are divided by the group's spread. weights: of the rewards, by name; 0 leaves
    one out. reward: options of rewards, by name. dtype: of the frozen weights. samples: held-out pairs written about
    before and after. save_every: steps. log_every: steps; 0 for about 1000 points. checkpointing: of gradients; null:
    on a GPU. vllm: generate with it. loggers: tensorboard, wandb. trl: further arguments of TRL's GRPOConfig.
    """

    preset: str
    data: str
    model: str
    critic: CriticSettings = CriticSettings()
    steps: Count
    group: Annotated[int, msgspec.Meta(ge=2)]
    batch: Count
    accumulate: Count = 1
    learning_rate: Positive = 1e-5
    kl: NotNegative
    scale: Literal["none", "group"] = "none"
    temperature: Positive = 1.0
    max_new_tokens: Count = 32
    seed: Annotated[int, msgspec.Meta(ge=0, lt=2**31)] = 0
    device: str = "auto"
    dtype: str = "auto"
    checkpointing: bool | None = None
    samples: Annotated[int, msgspec.Meta(ge=0)] = 8
    save_every: Count = 100
    log_every: Annotated[int, msgspec.Meta(ge=0)] = 0
    vllm: bool = False
    loggers: tuple[Literal["tensorboard", "wandb"], ...] = ("tensorboard",)
    weights: dict[str, Annotated[float, msgspec.Meta(ge=-100, le=100)]]
    reward: dict[str, dict[str, Any]] = {}
    lora: Lora = Lora()
    trl: dict[str, Any] = {}

    @property
    def used(self) -> dict[str, float]:
        """The rewards that count, and their weights."""
        return {name: weight for name, weight in self.weights.items() if weight}

    def to_toml(self) -> bytes:
        """As a file that `coz align --config` reads."""
        return _toml(msgspec.to_builtins(self)).encode()

    def difference(self, other: AlignConfig) -> str:
        """What sets two configurations apart that may not change within a run; empty where nothing does."""
        mine, theirs = (_flat(msgspec.to_builtins(config)) for config in (self, other))
        keys = [key for key in {**theirs, **mine} if key not in MAY_CHANGE and mine.get(key) != theirs.get(key)]
        if all(is_url(str(config.critic.name)) for config in (self, other)):
            keys = [key for key in keys if key != "critic.name"]  # servers move
        return "; ".join(f"{key} is {theirs.get(key, 'not set')}, not {mine.get(key, 'not set')}" for key in keys)


# A run may be longer, look elsewhere or wait longer than it began to.
MAY_CHANGE = {"preset", "steps", "save_every", "samples", "device", "critic.device"}
MAY_CHANGE |= {"critic.patience", "critic.timeout", "critic.concurrency", "critic.key_variable"}

PRESETS: dict[str, Tables] = {
    "paper": {
        "steps": 10_000,
        "group": 2,
        "batch": 2,
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
    """A preset with layers of tables over it, the last one winning. Raises UsageError for what it does not know."""
    if preset not in PRESETS:
        raise UsageError(f"--preset {preset!r}; accepted: {', '.join(PRESETS)}; for example --preset safe")
    merged: dict[str, Any] = {}
    for layer in (PRESETS[preset], *layers, {"preset": preset}):
        merged = _over(merged, layer)
    for key, flag in (("data", "--data"), ("model", "--model")):
        if key not in merged:
            raise UsageError(f"{flag} is missing; accepted: {flag} with a value; see coz align --help")
    try:
        config = msgspec.convert(merged, AlignConfig)
    except msgspec.ValidationError as error:
        raise UsageError(
            f"settings of the alignment: {error}; accepted: the keys and values of docs/alignment.md; "
            "for example --set group=8 --set lora.r=16"
        ) from error
    _check(config)
    return config


def _check(config: AlignConfig) -> None:
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


def is_url(critic: str) -> bool:
    """Whether a critic is a server."""
    return critic.startswith(("http://", "https://"))


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


def _over(below: Tables, above: Tables) -> dict[str, Any]:
    """Tables within tables are merged, anything else replaced."""
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _over(merged[key], value) if both else value
    return merged


def _flat(tables: Tables, prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tables.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return flat


def _toml(tables: Tables, prefix: str = "") -> str:
    """Plain values first, then tables; what is not set has no line."""
    plain = {key: value for key, value in tables.items() if not isinstance(value, Mapping) and value is not None}
    lines = [f"{_key(key)} = {_value(value)}\n" for key, value in plain.items()]
    for key, value in tables.items():
        if isinstance(value, Mapping) and value:
            name = prefix + _key(key)
            lines.append(f"\n[{name}]\n{_toml(value, f'{name}.')}")
    return "".join(lines)


def _key(text: str) -> str:
    return text if text.replace("_", "").replace("-", "").isalnum() and text.isascii() else _value(text)


def _value(value: Any) -> str:
    """JSON's scalars and lists are TOML's, but for one character and tables in a line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(key)} = {_value(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
