"""Files are written whole, under names nobody can guess, and never through a link."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from chain_of_zoom.errors import OutputError
from chain_of_zoom.files import (
    check_names,
    is_temporary,
    make_inner_folder,
    open_inner,
    remove_stale,
    replacement,
    write_atomic,
)

STALE = ".0123456789abcdef.coz.tmp"
LONG = "ü" * 127 + "x"  # 255 bytes


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    path = tmp_path / "outside"
    path.write_bytes(b"victim")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "folder"
    path.mkdir()
    return path


def test_a_link_in_the_place_of_a_file_is_replaced(folder: Path, outside: Path) -> None:
    for link in (folder / "a", folder / ".a.tmp", folder / STALE):
        link.symlink_to(outside)
    write_atomic(folder / "a", b"data")
    assert (folder / "a").read_bytes() == b"data"
    assert not (folder / "a").is_symlink()
    assert outside.read_bytes() == b"victim"


def test_temporary_names_differ_and_are_short(folder: Path) -> None:
    names = set()
    for _ in range(50):
        with replacement(folder / LONG) as file:
            names.add(Path(file.name).name)
            assert Path(file.name).stat().st_mode & 0o777 == 0o666 & ~_umask()
    assert len(names) == 50
    assert all(is_temporary(name) and len(name) < 30 for name in names)
    assert [path.name for path in folder.iterdir()] == [LONG]


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_failure_leaves_the_file_before_and_nothing_else(folder: Path) -> None:
    write_atomic(folder / "a", b"before")
    with suppress(KeyboardInterrupt), replacement(folder / "a") as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert [path.name for path in folder.iterdir()] == ["a"]
    assert (folder / "a").read_bytes() == b"before"


def test_leftovers_of_ours_go_and_nothing_of_others(folder: Path, outside: Path) -> None:
    others = {name: folder / name for name in (".notes.tmp", ".a.png.tmp", ".0123456789abcdef.tmp", "0.coz.tmp")}
    for path in others.values():
        path.write_bytes(b"precious")
    (folder / ".00000000000000aa.coz.tmp").mkdir()
    (folder / ".00000000000000bb.coz.tmp").symlink_to(outside)
    os.mkfifo(folder / ".00000000000000cc.coz.tmp")
    os.link(outside, folder / ".00000000000000dd.coz.tmp")
    (folder / STALE).write_bytes(b"half")
    write_atomic(folder / "a", b"data")
    assert not (folder / STALE).exists()
    assert all(path.read_bytes() == b"precious" for path in others.values())
    assert outside.read_bytes() == b"victim"


@pytest.mark.skipif(sys.platform == "win32", reason="needs flock")
def test_a_file_that_is_being_written_is_no_leftover(folder: Path) -> None:
    code = (
        f"from pathlib import Path; from chain_of_zoom.files import remove_stale; remove_stale(Path({str(folder)!r}))"
    )
    with replacement(folder / "a") as file:
        subprocess.run([sys.executable, "-c", code], check=True)
        file.write(b"data")
    assert (folder / "a").read_bytes() == b"data"
    (folder / STALE).write_bytes(b"half")
    remove_stale(folder)
    assert not (folder / STALE).exists()


@pytest.mark.parametrize("mode", ["ab", "r+b"])
def test_files_changed_in_place_are_no_links_and_no_pipes(folder: Path, outside: Path, mode: str) -> None:
    (folder / "soft").symlink_to(outside)
    os.link(outside, folder / "hard")
    os.mkfifo(folder / "pipe")
    for name in ("soft", "hard"):
        with pytest.raises(OSError, match="link"):
            open_inner(folder / name, mode)
    with pytest.raises(OSError, match=r"No such device|not seekable"):
        open_inner(folder / "pipe", mode)
    assert outside.read_bytes() == b"victim"


def test_inner_folders_are_no_links(folder: Path, tmp_path: Path) -> None:
    assert make_inner_folder(folder, "a", "b").is_dir()
    (tmp_path / "elsewhere").mkdir()
    (folder / "c").symlink_to(tmp_path / "elsewhere")
    for names in (("c",), ("c", "d")):
        with pytest.raises(OutputError, match="is a link"):
            make_inner_folder(folder, *names)
    assert not list((tmp_path / "elsewhere").iterdir())


def test_names_that_are_too_long(folder: Path) -> None:
    check_names(folder / LONG, folder / "absent" / "a")
    with pytest.raises(OutputError, match=r"too long\); name another file with -o"):
        check_names(folder / "a", folder / f"{LONG}x")


@pytest.mark.parametrize("place", ["folder", "file/a", "x" * 300])
def test_what_cannot_be_written_is_said(folder: Path, place: str) -> None:
    (folder / "file").touch()
    (folder / "folder").mkdir()
    with pytest.raises(OutputError, match="cannot write"):
        write_atomic(folder / place, b"data")
    assert sorted(path.name for path in folder.rglob("*")) == ["file", "folder"]
