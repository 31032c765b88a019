"""Settings: layers, refusals, and that what is written is what is read."""

from __future__ import annotations

import tomllib

import pytest

from chain_of_zoom.distillation.settings import read_sets, read_settings
from chain_of_zoom.errors import UsageError
from chain_of_zoom.settings import format_toml

NEEDED = {"data": {"source": "photos"}, "model": {"base": "sd3"}}


def test_the_defaults_are_the_published_values():
    settings = read_settings(NEEDED)
    assert (settings.losses.l2, settings.losses.perceptual, settings.losses.matching) == (1.0, 2.0, 1.0)
    how = settings.optimizer
    assert (how.lr, how.weight_decay, how.clip, how.batch, how.accumulate) == (5e-5, 1e-2, 1.0, 2, 2)
    assert (settings.run.seed, settings.steps, settings.data.size, settings.model.shift_in) == (123, 25_000, 512, True)
    assert read_settings(NEEDED, {"data": {"stage": "bicubic"}}).steps == 20_000


def test_the_last_layer_wins_and_what_is_written_reads_back():
    sets = read_sets(["optimizer.lr=1e-3", "model.t5=false", 'data.source=a "b" \\c'])
    settings = read_settings(NEEDED, {"optimizer": {"lr": 0.5, "batch": 3}}, sets, {"run": {"init": "früher"}})
    assert (settings.optimizer.lr, settings.optimizer.batch, settings.model.t5) == (1e-3, 3, False)
    assert settings.data.source == 'a "b" \\c'
    assert read_settings(tomllib.loads(format_toml(settings).decode())) == settings


@pytest.mark.parametrize(
    ("layer", "told"),
    [
        ({"optimiser": {}}, "'optimiser'; accepted: tables data, model"),
        ({"run": 3}, "'run'"),
        ({"optimizer": {"rate": 1}}, "rate"),
        ({"optimizer": {"lr": -1}}, "lr"),
        ({"optimizer": {"batch": 0}}, "batch"),
        ({"data": {"stage": "jpeg"}}, "stage"),
        ({"data": {"size": 16}}, "size"),
        ({"losses": {"network": "dists"}}, "network"),
        ({"model": {"base": ""}}, "--base MODEL"),
    ],
)
def test_what_makes_no_sense_is_refused(layer, told):
    with pytest.raises(UsageError, match=told):
        read_settings(NEEDED, layer)


@pytest.mark.parametrize("text", ["lr=1", "optimizer.lr", "optimizer.=1", "other.lr=1"])
def test_details_name_table_and_key(text):
    with pytest.raises(UsageError, match=r"TABLE\.KEY=VALUE"):
        read_sets([text])


def test_a_resumed_run_may_change_how_it_runs_and_not_what_it_learns():
    base = read_settings(NEEDED).identity(pictures=10, ranks=1)

    def same(pictures: int = 10, ranks: int = 1, **tables: dict) -> bool:
        return read_settings(NEEDED, tables).identity(pictures=pictures, ranks=ranks) == base

    assert same(run={"steps": 7, "save": 1, "device": "cpu"}, data={"workers": 0})
    assert same(optimizer={"batch": 4, "accumulate": 1})
    assert same(optimizer={"accumulate": 1}, ranks=2)
    assert not same(optimizer={"batch": 4})
    assert not same(pictures=11)
    assert not same(model={"shift_in": False})
    assert not same(losses={"matching": 0.5})
