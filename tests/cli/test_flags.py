"""Flags that several commands share, and what libraries may print."""

from __future__ import annotations

import inspect
import logging
import os
import sys
import warnings

import pytest

from chain_of_zoom.cli import app, eval, upscale, zoom
from chain_of_zoom.cli.eval import _options
from chain_of_zoom.cli.flags import LOADERS
from chain_of_zoom.errors import UsageError
from chain_of_zoom.evaluation.methods import parse_methods


def test_flags_of_loaders_are_the_same_everywhere():
    names = [name for table in LOADERS.values() for name in table]
    assert {"base", "lora", "model", "ram", "device", "memory"} <= set(names)
    for command in (zoom.zoom, upscale.upscale, eval.evaluate):
        parameters = inspect.signature(command).parameters
        assert [name for name in parameters if name in names] == names
        assert "loaders" not in parameters


def test_flags_of_an_evaluation_reach_those_that_take_them_and_one_method_may_differ():
    methods = parse_methods("bicubic,animevideo,other=animevideo")
    flags = {"backbone": {}, "prompter": {}, "both": {"device": "cpu"}}
    options = _options(methods, None, ["backbone.device=gpu", "other/backbone.device=auto"], flags)
    assert {name: told["backbone"] for name, told in options.items()} == {
        "bicubic": {},
        "animevideo": {"device": "cpu"},
        "other": {"device": "auto"},
    }
    with pytest.raises(UsageError, match="prompter option url means nothing to bicubic"):
        _options(methods[:1], None, [], {"backbone": {}, "prompter": {"url": "x"}, "both": {}})
    with pytest.raises(UsageError, match="option memory means nothing"):
        _options(methods[:1], None, [], {"backbone": {}, "prompter": {}, "both": {"memory": "low"}})


@pytest.fixture
def clean(monkeypatch):
    for name in app._LIBRARIES:
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)
    handlers = list(logging.getLogger().handlers)
    with warnings.catch_warnings():
        warnings.resetwarnings()
        yield
    logging.getLogger().handlers[:] = handlers


def test_what_libraries_would_print_is_silenced_unless_the_user_wants_it(clean, monkeypatch, capsys):
    monkeypatch.setenv("DIFFUSERS_VERBOSITY", "info")
    app._silence_libraries()
    assert os.environ["TRANSFORMERS_VERBOSITY"] == "critical"
    assert os.environ["DIFFUSERS_VERBOSITY"] == "info"
    warnings.warn("old", FutureWarning, stacklevel=1)
    logging.getLogger("library").warning("hint")
    assert capsys.readouterr().err == ""
    warnings.filterwarnings("error", category=FutureWarning)
    with pytest.raises(FutureWarning):
        warnings.warn("old", FutureWarning, stacklevel=1)


@pytest.mark.parametrize(
    ("words", "silent"), [(["doctor", "--debug"], False), (["models", "get", "x"], False), (["doctor"], True)]
)
def test_debug_and_downloads_are_not_silenced(clean, monkeypatch, words, silent):
    monkeypatch.setattr(sys, "argv", ["coz", *words])
    monkeypatch.setattr(app, "app", lambda *_, **__: 0)
    with pytest.raises(SystemExit):
        app.main()
    assert ("TRANSFORMERS_VERBOSITY" in os.environ) == silent
