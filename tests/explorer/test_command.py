"""`coz explore` as a process: it says where it is, ends by Ctrl-C with a page open, and says what it lacks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import skimage
from conftest import PHOTO

from chain_of_zoom.explorer import run
from chain_of_zoom.explorer.client import ExplorerClient
from chain_of_zoom.explorer.events import HelloEvent


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_told_to_end_even_with_a_page_open(tmp_path, number):
    command = [sys.executable, "-m", "chain_of_zoom", "explore", PHOTO, "--backbone", "fake", "--no-browser"]
    command += ["--quiet", "--port", "0", "--cache", tmp_path, "--log-format", "json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        client = ExplorerClient(process.stdout.readline().strip())
        assert client.address.startswith("http://127.0.0.1:")
        events = client.listen()
        assert isinstance(next(events), HelloEvent)
        process.send_signal(number)
        assert list(events) == []  # which end when the server does
        _, log = process.communicate(timeout=60)
        assert process.returncode == 0
        lines = [json.loads(line) for line in log.splitlines()]
        assert [line["event"] for line in lines] == ["worker", "started", "stopped"]


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_the_prompter_of_the_package_names_a_cat_and_a_restart_keeps_its_word(tmp_path):
    photo = Path(skimage.__file__).parent / "data" / "chelsea.png"
    command = [sys.executable, "-m", "chain_of_zoom", "explore", photo, "--backbone", "fake", "--prompter", "words"]
    command += ["--no-browser", "--quiet", "--port", "0", "--cache", tmp_path]
    for start in range(2):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            client = ExplorerClient(process.stdout.readline().strip())
            assert client.read_session().prompter == "words"
            tree = client.plant(client.read_session().photos[0].id)
            places = list(client.make(tree, tree.native + 1, (0.3, 0.3, 0.4, 0.4)))
            assert bool(places) == (start == 0)
            words = client.describe_tile(tree.id, tree.native + 1, 1, 1)
            assert (words.words, words.by) == ("cat", "words")
            process.send_signal(signal.SIGINT)
        assert process.returncode == 0


def test_a_prompter_without_words_of_its_own_is_refused(coz, tmp_path):
    done = coz("explore", PHOTO, "--prompter", "text", "--cache", tmp_path, "--no-browser")
    assert done.returncode == 2
    assert "type the words on the page" in done.stderr


def test_the_extra_is_named_where_it_is_missing(coz, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    done = coz("explore", PHOTO, "--cache", tmp_path)
    assert done.returncode == 5
    assert "pip install 'chain-of-zoom[web]'" in done.stderr


def test_photos_that_cannot_be_read_are_said_before_anything_is_opened(coz, tmp_path):
    done = coz("explore", tmp_path / "none.png", "--backbone", "fake", "--cache", tmp_path / "tiles", "--no-browser")
    assert done.returncode == 3
    assert "none.png" in done.stderr


@pytest.mark.parametrize(("host", "expected"), [("127.0.0.1", "http://127.0.0.1:"), ("localhost", "http://localhost:")])
def test_the_address_of_the_page(host, expected):
    listener = run.bind(host, 0)
    assert run.address_of(listener, host, None).startswith(expected)
    assert run.address_of(listener, host, "a" * 16).endswith("/?token=" + "a" * 16)
    assert "0.0.0.0" not in run.address_of(listener, "0.0.0.0", None)
    listener.close()
