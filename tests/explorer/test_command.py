"""`coz explore` as a process: it says where it is, ends by Ctrl-C with a page open, and says what it lacks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import httpx
import pytest
from conftest import PHOTO
from explorer.sessions import wait_for

from chain_of_zoom.explorer import run


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_it_serves_until_it_is_interrupted_even_with_a_page_open(tmp_path):
    command = [sys.executable, "-m", "chain_of_zoom", "explore", PHOTO, "--backbone", "fake", "--no-browser"]
    with subprocess.Popen(
        [*command, "--port", "0", "--cache", tmp_path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        address = process.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:")
        events: list[str] = []

        def listen() -> None:
            with httpx.stream("GET", address + "api/events", timeout=60) as stream:
                events.extend(stream.iter_lines())

        page = threading.Thread(target=listen)
        page.start()
        wait_for(lambda: "coz_pages 1\n" in httpx.get(address + "metrics").text)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        page.join(60)
        assert process.returncode == 0
        assert "Traceback" not in errors
        assert "ERROR" not in errors
        assert events[0] == "event: hello"


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
