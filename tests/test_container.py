"""The files of the container fit together; `.ci/container` builds the image for real and runs the main job in it."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib

import pytest
import yaml
from conftest import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")


def test_what_is_copied_is_there_and_not_ignored():
    [copied] = re.findall(r"^COPY ([^-].*) \./$", DOCKERFILE, re.M)
    names = [*copied.split(), "src"]
    wanted = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert all((ROOT / name).exists() for name in names)
    assert wanted == set(names)


def test_the_image_runs_as_nobody_special_and_knows_its_extras():
    stages = re.findall(r"^FROM (\S+) AS (\S+)$", DOCKERFILE, re.M)
    assert stages[-1] == ("runtime", "cpu")  # what is built without --target
    assert ("runtime", "cuda") in stages
    assert re.search(r"^USER [1-9]\d*$", DOCKERFILE, re.M)
    assert re.search(r'^ENTRYPOINT \["coz"\]$', DOCKERFILE, re.M)
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    extras = [
        name for part in re.findall(r"EXTRAS=(\S+)|\.\[([a-z-]+)\]", DOCKERFILE) for name in "".join(part).split(",")
    ]
    assert extras
    assert set(extras) <= set(declared)


def test_the_composition_needs_a_token_and_asks_for_health():
    services = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))["services"]
    explorer = services["explorer"]
    assert ":?" in explorer["environment"]["COZ_TOKEN"]
    assert all(port.startswith("127.0.0.1:") for port in explorer["ports"])
    assert "localhost:8642/healthz" in explorer["healthcheck"]["test"][-1]
    assert services["vlm"]["profiles"] == ["vlm"]


@pytest.mark.skipif(os.name == "nt", reason="sh")
def test_the_command_of_the_composition_is_one_that_coz_takes(tmp_path):
    """The shell of the container, with a `coz` that prints its words; compose writes $$ for $."""
    services = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))["services"]
    (tmp_path / "coz").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (tmp_path / "coz").chmod(0o755)
    command = [part.replace("$$", "$") for part in services["explorer"]["entrypoint"]]
    variables = {
        "PATH": f"{tmp_path}:/usr/bin:/bin",
        "COZ_TOKEN": "correct-horse-battery",
        "COZ_OPTIONS": "--backbone span",
    }
    words = subprocess.run(command, env=variables, capture_output=True, text=True, check=True).stdout.splitlines()
    import typer

    from chain_of_zoom.cli.app import app

    group = typer.main.get_command(app)
    context = group.commands[words[0]].make_context(words[0], words[1:])
    assert (context.params["token"], context.params["backbone"]) == ("correct-horse-battery", "span")
