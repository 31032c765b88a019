"""`coz zoom` with many photos, as a user meets it."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from batch_files import save
from conftest import PHOTO, noise

from chain_of_zoom.batch.tasks import Task
from chain_of_zoom.chain.request import ZoomRequest
from chain_of_zoom.cli.progress import Display
from chain_of_zoom.cli.zoom_many import BatchProgress
from chain_of_zoom.imaging import sheet

FAST = ("--backbone", "fake", "--size", "24x16", "--zoom", "4")


@pytest.fixture(autouse=True)
def small_sheets(monkeypatch):
    monkeypatch.setattr(sheet, "CELL", 96)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of two good photos and one that is broken, and one further down."""
    folder = tmp_path / "photos"
    for seed, name in enumerate(("a.png", "b.png", "c.png", "down/d.png")):
        save(noise(32, 48, seed), folder / name)
    (folder / "b.png").write_bytes(b"broken")
    return folder


def folders(out: Path) -> list[str]:
    return sorted(path.parent.name for path in out.rglob("record.json"))


@pytest.mark.slow
def test_a_folder_goes_through_with_one_bad_photo(coz, tmp_path, photos):
    done = coz("zoom", "photos", *FAST)
    assert done.returncode == 3
    assert folders(tmp_path / "zooms") == ["a", "c"]
    assert done.stdout.splitlines() == [
        *done.stdout.splitlines()[:3],
        "zooms/index.html  all of them: look at this first",
        done.stdout.splitlines()[4],
        "2 done, 0 kept from before, 1 failed",
    ]
    assert done.stdout.splitlines()[0].startswith("zooms/a  3 states to 4x, 1 beyond evidence  (")
    assert done.stdout.splitlines()[1].startswith("zooms/b  failed: b.png: not a picture")
    assert "beyond evidence" in done.stdout.splitlines()[4]
    assert done.stderr.startswith("error: b.png: not a picture; accepted: JPEG")
    assert done.stderr.count("\n") == 1
    again = coz("zoom", "photos", "--recursive", "--skip-done", *FAST)
    assert "1 done, 2 kept from before, 1 failed" in again.stdout
    assert folders(tmp_path / "zooms") == ["a", "c", "d"]


@pytest.mark.slow
def test_one_photo_and_one_spot_is_no_batch(coz, tmp_path, photos):
    assert coz("zoom", "photos/a.png", "--at", "0.5,0.5", *FAST).returncode == 0
    assert (tmp_path / "a_4x" / "record.json").is_file()
    assert not list(tmp_path.rglob("index.html"))
    assert coz("zoom", "photos/a.png", "--at", "0.5,0.5", "--skip-done", *FAST).returncode == 0
    assert folders(tmp_path / "zooms") == ["a"]


@pytest.mark.slow
def test_several_spots_and_lists(coz, tmp_path, photos):
    (tmp_path / "photos" / "list.csv").write_text('photo,at,prompt,name\na.png,"0.1,0.1",a wing,wing\nc.png,,,\n')
    done = coz(
        "zoom", "photos/a.png", "--at", "0.3,0.5", "--at", "0.7,0.5", "--list", "photos/list.csv", "-o", "out", *FAST
    )
    assert done.returncode == 0, done.stderr
    assert folders(tmp_path / "out") == ["a", "a-2", "c", "c-2", "wing"]
    record = json.loads((tmp_path / "out" / "wing" / "record.json").read_bytes())
    assert (record["settings"]["at"], record["settings"]["prompt"], record["prompter"]) == ("0.1,0.1", "a wing", "text")
    assert [state["prompt"] for state in record["states"]] == [None, None, "a wing"]


@pytest.mark.slow
def test_json_is_the_summary_and_nothing_else(coz, tmp_path, photos):
    done = coz("zoom", "photos/a.png", "photos/b.png", *FAST, "--json", "-o", "out")
    assert done.returncode == 3
    assert json.loads(done.stdout) == json.loads((tmp_path / "out" / "summary.json").read_bytes())
    assert done.stderr.startswith("error: b.png")


@pytest.mark.slow
def test_quiet_says_only_what_failed(coz, photos):
    done = coz("zoom", photos, *FAST, "-q")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("error: b.png")
    done = coz("zoom", photos / "a.png", photos / "c.png", *FAST, "-q")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.slow
def test_the_first_failure_gives_the_exit_code(coz, photos):
    done = coz("zoom", photos / "a.png", photos / "b.png", "--at", "0.5,0.5", "--at", "300px,5px", *FAST)
    assert done.returncode == 2
    assert [line[:20] for line in done.stderr.splitlines()] == [
        "error: a.png: --at 3", "error: b.png: not a ", "error: b.png: not a ",
    ]  # fmt: skip
    assert "Traceback" in coz("zoom", photos / "b.png", photos / "b.png", "--skip-done", *FAST, "--debug").stderr


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (["photos", "--at", "there"], 2, "not 2 numbers"),
        (["photos", "--at", "0.1,0.1", "--at", "there"], 2, "not 2 numbers"),
        (["photos", "--at", "0.1,0.1", "--at", "0,0", "--box", "0,0,1,1"], 2, "--box already gives"),
        (["--list", "none.csv"], 2, "cannot be read"),
        (["--list", "bad.csv"], 2, "bad.csv, line 2, column zoom"),
        (["photos", "-o", "photos", "-r"], 2, "another folder"),
        (["photos", "--prompter", "text"], 2, "--prompt TEXT"),
        (["photos", "-o", "/dev/null/x"], 4, "cannot write"),
        (["photos", "-o", "bad.csv"], 4, "cannot write"),
    ],
)
def test_bad_batches_are_one_line_and_leave_nothing(coz, tmp_path, photos, args, code, says):
    (tmp_path / "bad.csv").write_text("photo,zoom\na.png,x\n")
    before = sorted(tmp_path.rglob("*"))
    done = coz("zoom", *args, "--backbone", "fake")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1)
    assert says in done.stderr
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.slow
def test_an_empty_folder_fails_in_its_turn(coz, tmp_path, photos):
    (tmp_path / "empty").mkdir()
    done = coz("zoom", "empty", "photos/a.png", *FAST)
    assert done.returncode == 3
    assert folders(tmp_path / "zooms") == ["a"]
    assert "error: empty: no pictures in this folder" in done.stderr
    assert "--recursive" in done.stderr


class Counted(Display):
    """A bar that notes what it is told."""

    def __init__(self) -> None:
        super().__init__("", show=False)
        self.seen: list[tuple[int, int]] = []

    def expect(self, total: int, *, done: int = 0) -> None:
        self.seen.append((done, total))


def test_the_bar_counts_enlargements_over_all_photos():
    display = Counted()
    progress = BatchProgress(display, 4, SimpleNamespace(add=lambda *_: None), debug=False)
    for name, needed, made in [("a", 0, 0), ("b", 3, 3), ("c", 3, 1), ("d", 6, 6)]:
        task = Task(photo=Path(name), request=ZoomRequest(), name=name)
        progress.on_task_start(task)
        progress.on_task_planned(task, needed)
        for _ in range(made):
            progress.on_state(task, None, None, True)
            progress.on_state(task, None, None, False)
        progress.due.clear()
        progress._show()
    assert display.seen[0] == (0, 3 + 2 * 3), "nothing is known before a photo has needed any"
    assert display.seen == sorted(display.seen, key=lambda seen: seen[0])
    assert all(done <= total for done, total in display.seen)
    assert display.seen[-1] == (10, 10), "a failed photo's missing enlargements are not waited for"


@pytest.mark.slow
def test_a_terminal_sees_a_bar_with_the_time_left(tmp_path, photos):
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "chain_of_zoom", "zoom", PHOTO, photos / "c.png", "--backbone", "animevideo"]
    process = subprocess.Popen(
        [*command, "--zoom", "64", "--size", "128x128"], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=follower,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "120"},
    )  # fmt: skip
    os.close(follower)
    seen = b""
    while True:
        try:
            data = os.read(leader, 65536)
        except OSError:
            break
        if not data:
            break
        seen += data
    os.close(leader)
    assert process.wait(timeout=60) == 0
    text = seen.decode(errors="replace")
    assert "astronaut (1 of 2)" in text
    assert "c (2 of 2)" in text
    assert "0:0" in text


@pytest.mark.slow
def test_a_full_standard_output_is_one_line(tmp_path, photos):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    for args in (["photos/a.png"], ["photos/a.png", "photos/c.png", "--json"]):
        shutil.rmtree(tmp_path / "zooms", ignore_errors=True)
        with Path("/dev/full").open("wb") as full:
            done = subprocess.run(
                [sys.executable, "-m", "chain_of_zoom", "zoom", *args, *FAST],
                cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
            )  # fmt: skip
        assert done.returncode == 4
        assert done.stderr == "error: cannot write to standard output (No space left on device); check where it goes\n"
