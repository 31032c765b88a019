"""The exit codes of docs/reference.md, over all commands: what a user does is never "unexpected"."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from batch_files import save
from conftest import ROOT, noise

from chain_of_zoom import errors
from chain_of_zoom.files import write_atomic
from chain_of_zoom.imaging.images import RGB8

EVAL = ("eval", "--methods", "bicubic", "--scales", "4", "--jobs", "1", "-q", "--data")
FAST = ("--backbone", "bicubic", "--size", "16x16", "--no-animate", "-q")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with a photo, a folder of pictures, and files that are not what they should be."""
    save(noise(40, 60), tmp_path / "p.png")
    save(noise(40, 60), tmp_path / "photos" / "a.png")
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "x.jpg").write_bytes(b"junk")
    (tmp_path / "deep.json").write_text('{"a":' + "[" * 20_000 + "]" * 20_000 + "}")
    (tmp_path / "deep.toml").write_text("a=" + "[" * 5000 + "]" * 5000)
    (tmp_path / "digits.toml").write_text("[backbone]\nfactor=" + "9" * 5000)
    (tmp_path / "nul.csv").write_text("photo\np\0.png\n")
    (tmp_path / "digits.csv").write_text(f"photo,seed\np.png,{'9' * 5000}\n")
    (tmp_path / "exponent.csv").write_text('photo,at\np.png,"1e999999999,0"\n')
    (tmp_path / "utf16.csv").write_bytes("photo\np.png\n".encode("utf-16"))
    return tmp_path


LONG = "x" * 300
CASES: dict[int, list[tuple[str, ...]]] = {
    2: [
        ("nope",), ("zoom",), ("zoom", "p.png", "--nope"), ("upscale",), ("animate",), ("eval",), ("eval", "data"),
        ("models", "get", "nope"), ("train",), ("align",), ("align", "pairs"), ("prompts", "score"), ("backbones", "x"),
        ("doctor", "--selftest", "nope"), ("eval", "compare", "photos"),
        *(("zoom", "p.png", *FAST, "--at", at) for at in ("1e999999999,0", "1e-99999999999,0.5", "9" * 5000, "\udcff")),
        ("zoom", "p.png", *FAST, "--box", "0,0,1e999999999,1"),
        ("zoom", "p.png", *FAST, "--box", "0,0,1e-99,1e-99"),
        ("zoom", "p.png", *FAST, "--zoom", "1e999999999"),
        ("zoom", "p.png", *FAST, "--size", f"{'9' * 5000}x1"),
        *(("zoom", "p.png", *FAST, "--set", f"backbone.factor={value}") for value in ("0", "-3", "[1,2]", "9" * 5000)),
        *(("zoom", "p.png", *FAST, "--config", name) for name in ("deep.toml", "digits.toml", "nope", "empty")),
        *(("zoom", *FAST, "--list", f"{name}.csv") for name in ("nul", "digits", "exponent", "utf16", "nope")),
        ("zoom", "p.png", *FAST, "--prompt", "\udcff"),
        ("upscale", "p.png", "--backbone", "bicubic", "--scale", "1e999999999"),
        ("upscale", "p.png", "--backbone", "bicubic", "--prompt", "\udcff"),
        ("upscale", "p.png", "--backbone", "fake", "--scale", "2", "-o", "u.png", "--prompts-from", "deep.json"),
        ("upscale", "p.png", "--backbone", "bicubic", "-o", "\udcff.png"), ("animate", "photos", "-o", "\udcff.webp"),
        (*EVAL, "photos", "--scales", "9" * 5000), (*EVAL, "photos", "--spots", "9" * 5000, "--protocol", "true-zoom"),
        ("train", "--data", "photos", "--base", "x", "--set", f"run.steps={'9' * 5000}"),
        ("align", "--data", "photos", "--model", "x", "--set", f"steps={'9' * 5000}"),
        ("train", "captions", "--data", "photos", "--prompter", "null", "--config", "deep.toml"),
    ],
    3: [
        *(("zoom", name, *FAST) for name in ("nope.png", "empty", "bad", "bad/x.jpg", LONG, "\udce9.png", "/dev/null")),
        *(("upscale", name, "--backbone", "bicubic", "-q") for name in ("nope.png", "empty", "bad/x.jpg", LONG)),
        *(("animate", name, "-q") for name in ("nope", "empty", "photos", LONG)),
        *((*EVAL, name) for name in ("nope", "empty", "bad", "bad/x.jpg", "deep.json", LONG)),
        *(("eval", "data", name) for name in ("nope", "empty", "bad", LONG)),
        ("eval", "compare", "photos", "empty"),
        *(("align", "pairs", name) for name in ("nope", "empty", "deep.json", LONG)),
        *(("train", "--data", name, "--base", "x", "-o", "t") for name in ("nope", "empty", LONG)),
        *(("train", "degrade", name) for name in ("nope", "empty", "bad/x.jpg")),
        ("train", "captions", "--data", "nope", "--prompter", "null"),
        *(("prompts", "score", "--data", name, "--prompter", "null") for name in ("nope", "empty", "deep.json", LONG)),
        ("align", "--data", "nope", "--model", "x", "--set", "weights.critic=0"),
    ],
    4: [
        ("zoom", "p.png", *FAST, "-o", "p.png"), ("zoom", "p.png", "p.png", "--at", "0,0", *FAST, "-o", "p.png"),
        ("upscale", "p.png", "--backbone", "bicubic", "-q", "-o", "p.png/w.png"), (*EVAL, "photos", "-o", "p.png"),
        ("eval", "data", "photos", "-o", "p.png/m.json"),
    ],
    5: [
        ("zoom", "p.png", "--backbone", "osediff-sd3", "--lora", "nope"),
        ("zoom", "p.png", "--backbone", "nope.safetensors"), ("upscale", "p.png", "--backbone", "nope.pth"),
        ("zoom", "p.png", "--prompter", "dape", "--ram", "nope", "--tags", "nope", "--thresholds", "nope"),
    ],
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("code", "args"), [(code, args) for code, cases in CASES.items() for args in cases])
def test_every_command_returns_what_is_documented(coz, home, code, args):
    done = coz(*args)
    assert done.returncode == code, done.stderr
    assert done.stderr.startswith("error: ")
    assert "report what it prints" not in done.stderr
    assert "Traceback" not in done.stderr


def test_the_table_is_that_of_the_errors():
    reference = (ROOT / "docs" / "reference.md").read_text()
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, errors.ChainOfZoomError) and kind.exit_code > 1:
            assert f"| {kind.exit_code} | `{kind.__name__}` |" in reference or kind.__bases__[0].exit_code > 1
    for code in (0, 130, 141):
        assert f"| {code} | " in reference


@pytest.mark.slow
@pytest.mark.slow
def test_a_completion_that_is_shown_or_installed_is_no_failure(tmp_path):
    for option in ("--show-completion", "--install-completion"):
        environment = {**os.environ, "HOME": str(tmp_path), "SHELL": "/bin/bash"}
        command = [sys.executable, "-m", "chain_of_zoom", option, "bash"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "complet" in done.stdout


@pytest.mark.slow
def test_a_reader_that_goes_away_ends_the_run_quietly(home):
    coz = [sys.executable, "-m", "chain_of_zoom"]
    zoom = ["zoom", "p.png", *FAST[:-1], "-o", "run"]
    for args in (zoom, [*zoom, "--json"], ["--help"]):
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run([*coz, *args], cwd=home, stdout=writer, stderr=subprocess.PIPE, timeout=120, check=False)
        os.close(writer)
        assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.slow
def test_ctrl_c(coz, home, monkeypatch):
    def interrupted(*args: object, **more: object) -> RGB8:
        raise KeyboardInterrupt

    for where, args in (
        ("chain_of_zoom.api.ChainOfZoom.read_photo", ("zoom", "p.png", *FAST)),
        ("chain_of_zoom.imaging.decode.decode", ("upscale", "p.png", "--backbone", "bicubic")),
        ("chain_of_zoom.datasets.manifest.read_data", (*EVAL, "photos")),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(where, interrupted)
            done = coz(*args)
        assert done.returncode == 130
        assert "run the same command again to go on" in done.stderr


@pytest.fixture
def locked(home, monkeypatch):
    """p.png and a folder that cannot be read, as for a user who is not root; the parser's own check sees it, too."""
    closed = [home / "p.png", home / "tree" / "locked"]
    save(noise(40, 60), home / "tree" / "a.png")
    save(noise(40, 60), closed[1] / "b.png")
    real = {name: getattr(Path, name) for name in ("open", "read_bytes", "iterdir", "is_dir", "stat")}

    def guarded(name):
        def method(path, *args, **more):
            resolved = Path(os.path.abspath(path))  # noqa: PTH100 - resolve would stat
            inside = closed[1] in resolved.parents
            if inside or (resolved in closed and name in ("open", "read_bytes", "iterdir")):
                raise PermissionError(13, "Permission denied", str(path))
            return real[name](path, *args, **more)

        return method

    for name in real:
        monkeypatch.setattr(Path, name, guarded(name))
    access, names = os.access, ("p.png", "locked")
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name not in names and access(path, mode))


@pytest.mark.slow
def test_what_cannot_be_read_fails_alone(coz, home, locked):
    done = coz("zoom", "photos/a.png", "p.png", *FAST, "-o", "z")
    assert done.returncode == 3
    assert done.stderr == "error: p.png cannot be read (Permission denied); check its permissions\n"
    assert (home / "z" / "a" / "record.json").is_file()
    done = coz("zoom", "--recursive", "tree", *FAST, "-o", "r")
    assert done.returncode == 3
    assert done.stderr == "error: tree/locked cannot be read (Permission denied); check its permissions\n"
    assert (home / "r" / "a" / "record.json").is_file()
    for args in (("zoom", "p.png", *FAST), ("upscale", "p.png", "--backbone", "bicubic"), ("zoom", "tree/locked/b.png"),
                 ("zoom", "tree/locked", *FAST), (*EVAL, "p.png")):  # fmt: skip
        done = coz(*args)
        assert done.returncode == 3
        assert "Permission denied); check its permissions" in done.stderr
        assert "coz --help" not in done.stderr
    (home / "zooms.csv").write_text("photo\np.png\nphotos/a.png\n")
    assert coz("zoom", "--list", "zooms.csv", *FAST, "-o", "l").returncode == 3
    assert (home / "l" / "a" / "record.json").is_file()
    save(noise(40, 60), home / "photos" / "p.png")
    assert coz(*EVAL, "photos", "-o", "e").returncode == 0


def test_a_folder_without_pictures_is_the_first_thing_said(coz, home):
    done = coz("zoom", "empty", "--backbone", "bicubic")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("error: empty: no pictures in this folder")
    assert not (home / "zooms").exists()


@pytest.mark.slow
def test_names_that_are_no_text(coz, home):
    """Photos are refused, since records could not name them; folders are as good as any."""
    name = os.fsdecode(b"caf\xe9")
    try:
        (home / name).mkdir()
    except (OSError, UnicodeEncodeError):
        pytest.skip("this file system takes only UTF-8")
    write_atomic(home / name / "q.png", (home / "p.png").read_bytes())
    assert coz("zoom", "p.png", *FAST, "-o", f"{name}/run").returncode == 0
    assert coz("animate", f"{name}/run", "-q").returncode == 0
    for args in (("zoom", f"{name}/q.png", *FAST), ("upscale", f"{name}/q.png", "-q")):
        done = coz(*args)
        assert done.returncode == 3
        assert "the name is not UTF-8" in done.stderr
    assert coz("zoom", "p.png", f"{name}/q.png", *FAST, "-o", "z").returncode == 3
    assert (home / "z" / "p" / "record.json").is_file()
    assert coz(*EVAL, name).returncode == 3
