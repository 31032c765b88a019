"""What a user gets from a release: the program and its weights, and nothing of its workshop."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
import tomllib
import zipfile
from email.parser import HeaderParser
from pathlib import Path

import jsonschema
import pytest
from conftest import ROOT

WEIGHTS = {"lite0.bin", "heads.npz", "span.bin", "tiles.npz"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, ROOT]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    [file] = out.iterdir()
    return file


@pytest.mark.slow
def test_the_wheel_holds_the_package_its_weights_and_its_licences_alone(wheel):
    with zipfile.ZipFile(wheel) as archive:
        files = {Path(name) for name in archive.namelist()}
        text = next(archive.read(str(file)).decode() for file in files if file.name == "METADATA")
    roots = {file.parts[0] for file in files}
    metadata = HeaderParser().parsestr(text)
    assert roots == {"chain_of_zoom", f"chain_of_zoom-{metadata['Version']}.dist-info"}
    assert {file.name for file in files} >= {*WEIGHTS, "py.typed", "LICENSE", "NOTICE", "record.schema.json"}
    suffixes = {file.suffix for file in files if file.parts[0] == "chain_of_zoom"}
    assert suffixes <= {
        ".py", ".bin", ".param", ".npz", ".html", ".js", ".css", ".svg", ".json", ".txt", ".tsv", ".typed",
    }  # fmt: skip
    assert not [file for file in files if file.name.startswith("test") or "__pycache__" in file.parts]
    assert wheel.stat().st_size < 15e6
    assert (metadata["License-Expression"], metadata["Requires-Python"]) == ("Apache-2.0", ">=3.11")


@pytest.mark.slow
def test_the_registry_will_take_it(wheel):
    check = [sys.executable, "-m", "twine", "check", "--strict", wheel]
    assert "PASSED" in subprocess.run(check, check=True, capture_output=True, text=True, timeout=60).stdout


@pytest.mark.slow
def test_the_bill_of_materials_names_every_package_and_every_model(wheel):
    sbom = runpy.run_path(str(ROOT / ".ci" / "sbom.py"))["make_sbom"](wheel)
    component = {
        "type": "object",
        "required": ["type", "name", "bom-ref"],
        "properties": {"purl": {"pattern": "^pkg:pypi/[a-z0-9-]+@.+"}, "licenses": {"minItems": 1}},
    }
    jsonschema.validate(sbom["components"], {"type": "array", "items": component})
    names = {Path(part["name"]).name for part in sbom["components"]}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    direct = {re.split(r"[><=]", text)[0] for text in project["dependencies"]}
    assert names >= {*WEIGHTS, *direct}
    assert {link for entry in sbom["dependencies"] for link in entry["dependsOn"]} <= names
    assert "torch" not in names


def test_the_version_is_the_same_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"\nversion: {project['version']}\n" in (ROOT / "CITATION.cff").read_text()
    assert set(project["optional-dependencies"]["dev"]) >= {"build>=1.2", "twine>=6"}
