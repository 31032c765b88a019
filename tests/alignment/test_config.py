"""Settings: layers, refusals, and the file they are written to."""

from __future__ import annotations

import tomllib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain_of_zoom.alignment.training.config import AlignConfig, check_batches, resolve
from chain_of_zoom.errors import UsageError
from chain_of_zoom.settings import format_toml

BASE = {"data": "pairs", "model": "vlm", "critic": {"name": "judge"}}


def test_the_papers_preset():
    """What the paper states (section 3.3), and that nothing else divides or pulls."""
    config = resolve("paper", BASE)
    assert config.weights == {"critic": 1.0, "phrase": 0.5, "repetition": 0.5}
    assert (config.group, config.steps, config.scale, config.kl) == (2, 10_000, "none", 0)
    assert config.batch * config.accumulate // config.group == 4  # groups of a step, one for each of four cards
    assert (config.lora.r, config.lora.alpha, config.lora.dropout, config.lora.targets) == (8, 32, 0.05, None)


def test_the_safe_preset_guards():
    config = resolve("safe", BASE)
    assert config.group > 2
    assert config.kl > 0
    assert config.used["validity"] > 0


def test_later_layers_win_and_tables_are_merged():
    config = resolve(
        "paper", BASE, {"lora": {"r": 16, "alpha": 8}, "steps": 5}, {"lora": {"r": 4}, "weights": {"phrase": 0}}
    )
    assert (config.lora.r, config.lora.alpha, config.steps) == (4, 8, 5)
    assert config.used == {"critic": 1.0, "repetition": 0.5}
    assert config.critic.name == "judge"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"stepz": 3}, "unknown field `stepz`"),
        ({"lora": {"rank": 3}}, r"unknown field `rank`.*\$\.lora"),
        ({"critic": {"url": "x"}}, r"unknown field `url`.*\$\.critic"),
        ({"steps": 0}, r"`int` >= 1.*\$\.steps"),
        ({"group": 1}, r"`int` >= 2.*\$\.group"),
        ({"kl": -1}, r"\$\.kl"),
        ({"learning_rate": "much"}, r"\$\.learning_rate"),
        ({"scale": "batch"}, r"\$\.scale"),
        ({"loggers": ["mlflow"]}, r"\$\.loggers"),
        ({"weights": {"nonsense": 1}}, "unknown reward 'nonsense'"),
        ({"reward": {"sr": {"backbone": "fake"}}}, "options of the reward sr, which has no weight"),
        ({"reward": {"critic": {"patience": 3}}}, "reward.critic is no table"),
        ({"weights": {"critic": 0, "phrase": 0, "repetition": 0, "validity": 0}}, "no reward has a weight"),
        ({"critic": {"name": None}}, "--critic is missing"),
    ],
)
def test_what_it_does_not_know_is_refused(changed, message):
    with pytest.raises(UsageError, match=message):
        resolve("safe", BASE, changed)


def test_presets_and_missing_values():
    with pytest.raises(UsageError, match="--preset 'fast'; accepted: paper, safe"):
        resolve("fast", BASE)
    with pytest.raises(UsageError, match="--data is missing"):
        resolve("safe", {"model": "x"})
    with pytest.raises(UsageError, match="--model is missing"):
        resolve("safe", {"data": "x"})


names = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=12)


@pytest.mark.slow
@given(names, names, st.floats(0, 10), st.dictionaries(names, st.integers(-5, 5) | names | st.booleans(), max_size=3))
def test_the_file_gives_the_settings_back(data, model, kl, trl):
    config = resolve("safe", BASE, {"data": data, "model": model, "kl": kl, "trl": trl, "loggers": []})
    read = tomllib.loads(format_toml(config).decode())
    assert msgspec.convert(read, AlignConfig) == config


def test_options_of_rewards_go_into_the_file_too():
    config = resolve(
        "safe", BASE, {"weights": {"sr": 0.5}, "reward": {"sr": {"backbone": "fake", "list": [1, {"a": "b"}]}}}
    )
    assert msgspec.convert(tomllib.loads(format_toml(config).decode()), AlignConfig) == config


def test_differences_name_what_may_not_change():
    one = resolve("safe", BASE)
    longer = resolve("safe", BASE, {"steps": 9000, "save_every": 7, "critic": {"patience": 3}})
    assert one.difference(longer) == ""
    other = resolve("safe", BASE, {"lora": {"r": 3}, "critic": {"name": "another"}})
    assert other.difference(one) == "critic.name is judge, not another; lora.r is 8, not 3"
    servers = [resolve("safe", BASE, {"critic": {"name": f"http://host:{port}/v1"}}) for port in (1, 2)]
    assert servers[0].difference(servers[1]) == ""


@pytest.mark.parametrize(("processes", "batch", "accumulate"), [(1, 8, 1), (1, 4, 2), (4, 2, 1), (1, 16, 3), (2, 4, 1)])
def test_groups_that_fill_a_step(processes, batch, accumulate):
    check_batches(resolve("safe", BASE, {"batch": batch, "accumulate": accumulate}), processes)


@pytest.mark.parametrize(
    ("processes", "batch", "accumulate", "fitting"),
    [(1, 6, 1, 8), (1, 9, 1, 16), (2, 2, 1, 4), (3, 4, 1, 8), (1, 3, 4, 4)],
)
def test_groups_that_do_not_divide(processes, batch, accumulate, fitting):
    config = resolve("safe", BASE, {"batch": batch, "accumulate": accumulate})
    with pytest.raises(
        UsageError, match=f"groups of 8 do not divide the {batch * accumulate * processes} texts"
    ) as error:
        check_batches(config, processes)
    assert str(error.value).endswith(f"--set batch={fitting}")
    check_batches(msgspec.structs.replace(config, batch=fitting), processes)
