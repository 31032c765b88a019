"""The files of the Space: they fit together, and the start script does what it says, with the fake backbone."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from conftest import ROOT

from chain_of_zoom.explorer.client import ExplorerClient

SPACE = ROOT / "spaces"
TOKEN = "correct-horse-battery"


def run_script(tmp_path: Path, **variables: str) -> subprocess.Popen[str]:
    tools = f"{variables.pop('TOOLS', '')}:{Path(sys.executable).parent}:/usr/bin:/bin"
    environment = {"PATH": tools, "HOME": str(tmp_path), "COZ_DATA": str(tmp_path), **variables}
    return subprocess.Popen(
        ["sh", SPACE / "start.sh"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def read_front_matter() -> dict[str, str]:
    _, front, _ = (SPACE / "README.md").read_text("utf-8").split("---\n", 2)
    return dict(re.findall(r"^(\w+): (.+)$", front, re.M))


def test_the_files_fit_together():
    front, docker = read_front_matter(), (SPACE / "Dockerfile").read_text("utf-8")
    assert (front["sdk"], front["license"]) == ("docker", "apache-2.0")
    assert len(front["short_description"]) <= 60
    assert f"EXPOSE {front['app_port']}\n" in docker
    assert f"localhost:{front['app_port']}/healthz" in docker
    script = (SPACE / "start.sh").read_text("utf-8")
    assert f"${{PORT:-{front['app_port']}}}" in script
    assert re.search(r"^USER user$", docker, re.M)
    assert docker.rstrip().endswith('CMD ["sh", "start.sh"]')
    (copied,) = re.findall(r"^COPY (.+) \./$", docker, re.M)
    assert all("*" in name or (SPACE / name).is_file() for name in copied.split())
    readme = (SPACE / "README.md").read_text("utf-8")
    assert {f"`{name}`" for name in re.findall(r"COZ_(?!DATA)\w+", script + docker)} - set(
        re.findall("`COZ_.*?`", readme)
    ) == set()


@pytest.mark.skipif(os.name == "nt", reason="sh")
def test_without_a_token_it_does_not_start(tmp_path):
    with run_script(tmp_path, COZ_OPTIONS="--backbone fake") as process:
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 2
    assert errors.startswith("COZ_TOKEN is not set; accepted: ")


@pytest.mark.skipif(os.name == "nt", reason="sh")
def test_the_weights_of_the_preset_are_fetched_once(tmp_path):
    (tmp_path / "tools").mkdir()
    for name in ("coz", "git"):
        tool = tmp_path / "tools" / name
        tool.write_text(f'#!/bin/sh\necho {name} "$@"\n')
        tool.chmod(0o755)
    for calls in (
        ["coz models get", "git clone", "coz models convert", "coz explore"],
        ["coz models get", "coz explore"],
    ):
        options = {"TOOLS": str(tmp_path / "tools"), "COZ_TOKEN": TOKEN, "COZ_OPTIONS": "--preset paper"}
        with run_script(tmp_path, **options) as process:
            output, _ = process.communicate(timeout=30)
        lines = output.splitlines()
        assert [line[: len(call)] for line, call in zip(lines, calls, strict=True)] == calls
        assert lines[-1].endswith("--preset paper")


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="sh")
def test_it_serves_under_the_name_of_the_space_and_ends_when_it_is_told_to(tmp_path):
    variables = {"COZ_TOKEN": TOKEN, "COZ_OPTIONS": "--backbone fake", "SPACE_HOST": "me-zoom.hf.space", "PORT": "0"}
    with run_script(tmp_path, **variables) as process:
        address = process.stdout.readline().strip()
        local = re.sub("//.*:", "//127.0.0.1:", address)
        client = ExplorerClient(local)
        assert client.is_healthy()
        assert client.read_session().backbone.name == "fake"
        page = {"host": "me-zoom.hf.space", "accept": "text/html", "sec-fetch-site": "cross-site"}
        answer = httpx.get(client.address, headers=page | {"sec-fetch-mode": "navigate"})
        assert answer.status_code == 401
        assert "frame-ancestors https://huggingface.co" in answer.headers["content-security-policy"]
        assert httpx.get(client.address, headers={"host": "evil.example"}).status_code == 421
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 0
    assert (tmp_path / "cache").is_dir()
