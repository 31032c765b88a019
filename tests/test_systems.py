"""What is done otherwise on Windows and macOS, emulated here: every branch is taken, with a fake of the system."""

from __future__ import annotations

import ctypes
import fcntl
import io
import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import ROOT
from PIL import Image

from chain_of_zoom import files, resources
from chain_of_zoom.cli import terminal
from chain_of_zoom.errors import OccupiedError, OutputError
from chain_of_zoom.explorer import run
from chain_of_zoom.runs.lock import lock_folder


@pytest.fixture
def windows(monkeypatch, tmp_path):
    """No fcntl, and an msvcrt whose locks are those of this kernel: one for every opened file."""

    def locking(handle, mode, count):
        assert (mode, count) == (2, 1)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)

    monkeypatch.setitem(sys.modules, "fcntl", None)
    monkeypatch.setitem(sys.modules, "msvcrt", SimpleNamespace(LK_NBLCK=2, locking=locking))
    for module in (files, resources, terminal):
        monkeypatch.setattr(module, "WINDOWS", True)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    return tmp_path


def test_a_folder_is_locked_without_fcntl_and_can_be_removed_meanwhile(windows):
    folder = windows / "run"
    folder.mkdir()
    owner = SimpleNamespace
    release = lock_folder(owner, folder)
    assert list(folder.iterdir()) == []
    with pytest.raises(OccupiedError, match="another process is writing"):
        lock_folder(owner, windows / "." / "run")
    with pytest.raises(FileNotFoundError):
        lock_folder(owner, windows / "nowhere")
    release()
    assert list((windows / "temporary").iterdir()) == []
    lock_folder(owner, folder)()


def test_a_file_is_closed_before_it_takes_its_place(windows, monkeypatch):
    replace, closed = Path.replace, []

    def refuse_open(self, target):
        opened = [handle.readlink() for handle in Path("/proc/self/fd").iterdir() if handle.is_symlink()]
        closed.append(self not in opened)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", refuse_open)
    files.write_atomic(windows / "a", b"data")
    assert ((windows / "a").read_bytes(), closed) == (b"data", [True])


def test_a_photo_on_another_drive_is_named_whole(monkeypatch, tmp_path):
    assert files.relate(tmp_path / "a" / "b.png", tmp_path / "c") == "../a/b.png"

    def other_drive(path, start):
        raise ValueError("path is on mount 'D:', start on mount 'C:'")

    monkeypatch.setattr(os.path, "relpath", other_drive)
    assert files.relate(tmp_path / "b.png", tmp_path) == str(tmp_path / "b.png")


def test_memory_is_asked_of_windows(monkeypatch, tmp_path):
    def fill(reference):
        status = reference._obj
        assert status.length == 64  # bytes, as the system checks
        status.total, status.free, status.pagefile_free = 16 << 30, 3 << 30, 5 << 30

    monkeypatch.setattr(ctypes, "windll", SimpleNamespace(kernel32=SimpleNamespace(GlobalMemoryStatusEx=fill)), False)
    monkeypatch.setattr(resources, "WINDOWS", True)
    assert resources.total_memory(tmp_path) == 16 << 30
    assert resources.available_memory(tmp_path) == 5 << 30


def test_memory_where_only_sysconf_says_it(monkeypatch, tmp_path):
    assert resources.total_memory(tmp_path) == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    monkeypatch.setattr(os, "sysconf_names", {})
    monkeypatch.setitem(sys.modules, "resource", None)
    assert resources.available_memory(tmp_path) is None
    monkeypatch.delattr(os, "sched_getaffinity")
    assert resources.available_cores(tmp_path) == os.cpu_count()


def test_a_port_is_not_shared_on_windows(monkeypatch):
    options = []
    monkeypatch.setattr(socket, "SO_EXCLUSIVEADDRUSE", -5, raising=False)
    monkeypatch.setattr(socket.socket, "setsockopt", lambda self, *option: options.append(option))
    run.bind("127.0.0.1", 0).close()
    assert options == [(socket.SOL_SOCKET, -5, 1)]


def test_commands_to_type_are_in_the_quotes_of_the_shell(windows, monkeypatch):
    words = ["coz", "zoom", "my photo.jpg", "--set", "a='b'"]
    assert terminal.quote(words) == "coz zoom \"my photo.jpg\" --set a='b'"
    monkeypatch.setattr(terminal, "WINDOWS", False)
    assert terminal.quote(words) == """coz zoom 'my photo.jpg' --set 'a='"'"'b'"'"''"""


def test_a_console_of_an_old_code_page_takes_any_name(monkeypatch):
    from chain_of_zoom.cli import app

    console = io.TextIOWrapper(io.BytesIO(), encoding="cp1252", write_through=True)
    monkeypatch.setattr(sys, "stdout", console)
    monkeypatch.setattr(app, "_run", lambda: print("塔.png") or 0)
    with pytest.raises(SystemExit):
        app.main()
    assert console.buffer.getvalue().strip() == b"\\u5854.png"


def test_pictures_are_written_where_links_cannot_be_told(monkeypatch, tmp_path):
    """Windows has neither flag."""
    monkeypatch.delattr(os, "O_NOFOLLOW")
    monkeypatch.delattr(os, "O_NONBLOCK")
    with files.open_inner(tmp_path / "journal", "ab") as file:
        file.write(b"line")
    assert (tmp_path / "journal").read_bytes() == b"line"
    with pytest.raises(OutputError):
        files.write_atomic(tmp_path / "no" / "a", b"")


WITHOUT_POSIX = """
import fcntl as locks, os, sys, types, warnings
import multiprocessing.connection, ncnn, numpy, pyvips, subprocess  # these choose by the system themselves
locking = lambda handle, mode, count: locks.flock(handle, locks.LOCK_EX | locks.LOCK_NB)
sys.modules["msvcrt"] = types.SimpleNamespace(LK_NBLCK=2, locking=locking)
for name in ("fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "syslog", "crypt"):
    sys.modules[name] = None
for name in (
    "fork", "forkpty", "killpg", "getpgid", "setsid", "getuid", "geteuid", "getgid", "uname", "mkfifo", "sysconf",
    "sched_getaffinity", "posix_fadvise", "O_NOFOLLOW", "O_NONBLOCK", "O_DIRECTORY", "fchmod", "chown",
):
    if hasattr(os, name):
        delattr(os, name)
os.sysconf_names = {}
warnings.filterwarnings("error", category=EncodingWarning, module="chain_of_zoom")
from chain_of_zoom.cli.app import make_app, _COMMANDS
for line in sys.argv[1:]:
    make_app(_COMMANDS)(line.split(), standalone_mode=False)
"""


@pytest.mark.slow
def test_the_commands_run_without_what_windows_does_not_have(tmp_path, astronaut):
    """In a process of its own, where reading or writing text in the system's encoding is an error, too."""
    for name in ("塔", "b"):
        Image.fromarray(astronaut[:120, :120]).save(tmp_path / f"{name}.png")
    commands = [
        "zoom b.png --zoom 16 --size 64x64 -q --animate -o one",
        "zoom 塔.png b.png --backbone bicubic --zoom 4 --size 64x64 -q -o many",
        "upscale b.png --scale 2 --backbone bicubic -q -o large.png",
        "doctor --json",
        "animate one -o film.webp",
    ]
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), "PYTHONUTF8": "0", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        [sys.executable, "-X", "warn_default_encoding", "-c", WITHOUT_POSIX, *commands],
        cwd=tmp_path, env=environment, capture_output=True, text=True, encoding="utf-8", check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert {path.parent.name for path in tmp_path.glob("many/*/*_4x.png")} == {"b", "塔"}
    with Image.open(tmp_path / "large.png") as large:
        assert large.size == (240, 240)
    assert (tmp_path / "film.webp").stat().st_size > 1000


def test_ci_tries_every_python_that_the_package_names_on_three_systems():
    workflow = (ROOT / ".github" / "workflows" / "tests.yml").read_text()
    systems, versions = re.findall(r"(?:os|python): \[(.*)\]", workflow)
    claims = re.findall(r"Python :: (3\.\d+)\"", (ROOT / "pyproject.toml").read_text())
    assert set(re.findall(r"[\d.]+", versions)) >= set(claims)
    assert re.findall("[a-z]+", systems) == ["ubuntu", "macos", "windows"]
