"""Write what a wheel and the packages it needs consist of, as CycloneDX 1.6: python .ci/sbom.py WHEEL OUT.

Run where the wheel is installed: versions and licences are those of the packages there. The same environment gives the
same bytes.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import zipfile
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

MODELS = (".bin", ".npz")
NAME = "chain-of-zoom"


def normalise(name: str) -> str:
    """The name of a package as purls have it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def list_requirements(name: str) -> list[str]:
    """The packages that a package needs here, without extras."""
    requirements = [Requirement(text) for text in metadata.requires(name) or []]
    wanted = (r for r in requirements if r.marker is None or r.marker.evaluate({"extra": ""}))
    return sorted({normalise(r.name) for r in wanted})


def describe_package(name: str) -> dict[str, Any]:
    """The component of an installed package."""
    about, version = metadata.metadata(name), metadata.version(name)
    component = {"type": "library", "bom-ref": normalise(name), "name": normalise(name), "version": version}
    component["purl"] = f"pkg:pypi/{normalise(name)}@{version}"
    if expression := about.get("License-Expression"):
        return component | {"licenses": [{"expression": expression}]}
    first_line = about.get("License", "").partition("\n")[0]  # some packages put the whole text there
    return component | ({"licenses": [{"license": {"name": first_line}}]} if first_line else {})


def make_sbom(wheel: Path) -> dict[str, Any]:
    """The whole document."""
    needs: dict[str, list[str]] = {}
    waiting = [NAME]
    while waiting:
        name = waiting.pop()
        if name not in needs:
            needs[name] = list_requirements(name)
            waiting += needs[name]
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.endswith(MODELS)]
        models = [
            {
                "type": "machine-learning-model",
                "bom-ref": name,
                "name": name,
                "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(archive.read(name)).hexdigest()}],
            }
            for name in sorted(names)
        ]
    own = {**describe_package(NAME), "type": "application"}
    own["hashes"] = [{"alg": "SHA-256", "content": hashlib.sha256(wheel.read_bytes()).hexdigest()}]
    dependencies = [{"ref": name, "dependsOn": needs[name]} for name in sorted(needs)]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": own},
        "components": [*(describe_package(name) for name in sorted(needs) if name != NAME), *models],
        "dependencies": dependencies,
    }


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(make_sbom(Path(sys.argv[1])), indent=2) + "\n", "utf-8")
