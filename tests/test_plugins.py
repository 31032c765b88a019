"""Backbones and prompters of other packages: the example, really installed, and packages broken in every way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import PHOTO, ROOT

from chain_of_zoom import load_backbone, load_prompter, plugins
from chain_of_zoom.cli import doctor
from chain_of_zoom.errors import MissingError, UsageError

FAST = ("--size", "64x48", "--zoom", "16")


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """examples/plugin, installed by pip into a folder of its own."""
    for needed in ("pip", "hatchling"):
        pytest.importorskip(needed, reason=f"{needed} is not installed, so the example cannot be")
    folder = tmp_path_factory.mktemp("installed")
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check")
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(folder), str(ROOT / "examples/plugin")]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return folder


@pytest.fixture
def with_example(example: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(example), os.environ.get("PYTHONPATH", "")]))
    yield from seen(example, monkeypatch)


def seen(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Packages of a folder count as installed."""
    monkeypatch.syspath_prepend(folder)
    plugins._entries.cache_clear()
    yield
    plugins._entries.cache_clear()


def test_the_example_is_short():
    code = (ROOT / "examples" / "plugin" / "coz_sharp.py").read_text()
    assert len(code.splitlines()) <= 40


@pytest.mark.slow
def test_the_example_works_from_the_command_line(with_example, coz, coz_process, tmp_path):
    (tmp_path / "more.toml").write_text("[backbone]\namount = 150\n")
    names = ("--backbone", "sharp", "--prompter", "colours")
    done = coz_process("zoom", PHOTO, *names, *FAST, "--config", "more.toml", "-o", "more")
    assert done.returncode == 0, done.stderr
    assert coz("zoom", PHOTO, *names, *FAST, "--set", "backbone.amount=0", "-o", "none").returncode == 0
    record = json.loads((tmp_path / "more" / "record.json").read_bytes())
    assert (record["backbone"]["name"], record["backbone"]["package"]) == ("sharp", "coz-sharp 1.0")
    assert (record["prompter"], record["prompter_package"]) == ("colours", "coz-sharp 1.0")
    assert record["options"]["backbone"] == {"amount": "150"}
    assert record["states"][-1]["prompt"] in ("red", "green", "blue", "dark", "pale")
    pictures = [(tmp_path / folder / record["states"][-1]["file"]).read_bytes() for folder in ("more", "none")]
    assert pictures[0] != pictures[1]


@pytest.mark.slow
def test_the_example_is_listed_and_its_mistyped_name_is_guessed(with_example, coz):
    rows = {row["name"]: row for row in json.loads(coz("backbones", "--json").stdout)}
    assert rows["sharp"]["package"] == "coz-sharp 1.0"
    assert rows["realsr"]["package"] is None
    assert {row["broken"] for row in rows.values()} == {None}
    done = coz("zoom", PHOTO, "--backbone", "shrap")
    assert done.returncode == 2
    assert "did you mean sharp?" in done.stderr


@pytest.mark.slow
def test_the_example_is_measured_like_the_built_in_ones(with_example, coz, tmp_path):
    methods = "sharp,sharp:direct,fake+colours,nearest"
    done = coz("eval", "--data", PHOTO, "--scales", "4", "--metrics", "psnr", "--methods", methods, "-o", "measured")
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "measured" / "results.json").read_bytes())
    assert [method["name"] for method in found["methods"]] == methods.split(",")
    assert not found["failures"]


@pytest.mark.slow
def test_a_built_in_name_asks_no_package():
    code = (
        "import sys, chain_of_zoom as c; c.load_backbone('fake'); c.load_prompter(); "
        "print('importlib.metadata' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


BROKEN = """
from chain_of_zoom import Backbone, BackboneInfo, Prompter

number = 3

class Abstract(Backbone):
    info = BackboneInfo(name="abstract", summary="", factor=4, text_aware=False, licence="MIT")

class Good(Abstract):
    info = BackboneInfo(name="good", summary="", factor=4, text_aware=False, licence="MIT")
    def _enlarge(self, windows, prompts, seeds): ...

class Needy(Good):
    def __init__(self, path): ...

class Nameless(Good):
    info = None

class Failing(Good):
    def __init__(self): 1 / 0

class Shy(Prompter):
    name = "someone else"
    def __call__(self, contexts): ...
"""
ENTRIES = """[chain_of_zoom.backbones]
good = odd:Good
realsr = odd:Good
absent = odd_absent:Good
exits = odd_exits:Good
attribute = odd:Nothing
number = odd:number
prompter = odd:Shy
abstract = odd:Abstract
misnamed = odd:Good
nameless = odd:Nameless
failing = odd:Failing
twice = odd:Good

[chain_of_zoom.prompters]
shy = odd:Shy
good = odd:Good
"""


def install(folder: Path, name: str, entries: str) -> None:
    info = folder / f"{name}-2.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 2.5\n")
    (info / "entry_points.txt").write_text(entries)


@pytest.fixture
def odd(tmp_path_factory, monkeypatch):
    """A package with one good backbone and every kind of broken one."""
    folder = tmp_path_factory.mktemp("odd")
    (folder / "odd.py").write_text(BROKEN)
    (folder / "odd_exits.py").write_text("raise SystemExit(0)")
    install(folder, "odd", ENTRIES)
    install(folder, "rival", "[chain_of_zoom.backbones]\ntwice = odd:Good\n")
    yield from seen(folder, monkeypatch)


@pytest.mark.parametrize(
    ("name", "error", "says"),
    [
        ("absent", MissingError, "cannot be imported .ModuleNotFoundError: No module named 'odd_absent'"),
        ("exits", MissingError, "cannot be imported .SystemExit"),
        ("attribute", MissingError, "cannot be imported .AttributeError"),
        ("number", MissingError, "is no finished subclass of chain_of_zoom.Backbone"),
        ("prompter", MissingError, "is no finished subclass of chain_of_zoom.Backbone"),
        ("abstract", MissingError, "is no finished subclass of chain_of_zoom.Backbone"),
        ("misnamed", MissingError, "calls itself 'good'"),
        ("nameless", MissingError, "cannot be made .AttributeError"),
        ("failing", MissingError, "cannot be made .ZeroDivisionError"),
        ("twice", UsageError, "rival 2.5 adds twice too"),
    ],
)
def test_a_broken_plugin_is_one_typed_error_with_its_package(odd, name, error, says):
    with pytest.raises(error, match=says) as raised:
        load_backbone(name)
    assert f"backbone {name} of the package odd 2.5" in str(raised.value)
    assert "odd" in str(raised.value).rpartition("pip uninstall")[2]


def test_prompters_are_held_to_theirs(odd):
    with pytest.raises(MissingError, match="prompter good .* is no finished subclass of chain_of_zoom.Prompter"):
        load_prompter("good")
    with pytest.raises(MissingError, match="prompter shy of the package odd 2.5 calls itself 'someone else'"):
        load_prompter("shy")


def test_a_built_in_name_cannot_be_taken(odd, coz):
    assert load_backbone("realsr").info.licence.startswith("Apache")
    assert load_backbone("realsr").package is None
    assert "realsr (broken, from odd 2.5): realsr is built in" in coz("backbones").stdout


@pytest.mark.slow
def test_the_good_one_works_among_broken_ones(odd, coz):
    assert load_backbone("good").package == "odd 2.5"
    done = coz("backbones", "--json")
    assert done.returncode == 0
    rows = json.loads(done.stdout)
    broken = {row["name"] for row in rows if row["broken"]}
    names = {line.partition(" ")[0] for line in ENTRIES.partition("\n\n")[0].splitlines()[1:]}
    assert broken == names - {"good"}
    assert sum(row["name"] == "realsr" for row in rows) == 2
    plugged = {row["name"]: row for row in rows if row["package"]}
    assert plugged["good"]["factor"] == 4
    found = doctor._plugins()
    assert {row["name"] for row in found if row["kind"] == "prompter" and row["broken"]} == {"shy", "good"}
    assert {row["name"] for row in found if row["kind"] == "backbone" and row["broken"]} == broken


def test_wrong_options_of_a_plugin_are_a_usage_error(odd):
    with pytest.raises(UsageError, match="its package's documentation"):
        load_backbone("good", amount=3)
