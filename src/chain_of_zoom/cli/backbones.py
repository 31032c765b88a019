"""`coz backbones`: what can do the zooming here."""

from __future__ import annotations

import json
from importlib.util import find_spec
from typing import Any

from chain_of_zoom.api import DEFAULT_BACKBONE, WHOLE_PICTURE_BACKBONE, load_backbone
from chain_of_zoom.cli.flags import AsJson
from chain_of_zoom.cli.terminal import echo_lines
from chain_of_zoom.errors import ChainOfZoomError, UsageError
from chain_of_zoom.plugins import BACKBONES, NCNN_FILES, SPANDREL_FILES, installed
from chain_of_zoom.resources import human_size

DEFAULTS = {
    DEFAULT_BACKBONE: "zooms, coz explore, and where there are words",
    WHOLE_PICTURE_BACKBONE: "whole pictures",
}


def evidence(limit: float | None) -> str:
    """How far tests on real pixels support a backbone, in words."""
    if limit is None:
        return "invents nothing"
    return f"evidence up to {limit:g}x the photo's resolution" if limit > 1 else "no evidence on real pixels"


def backbones(as_json: AsJson = False) -> None:
    """List the super-resolution backbones: factor, prompts read or not, licence, evidence, installed or how to get it.

    Those that installed packages add (docs/plugins.md) come last, with the package, and with what is wrong if broken.
    --backbone also takes a file, .safetensors or .pth, of any network that spandrel reads (the extra [models]), or a
    .param that `coz train --network small` wrote.

    Example:  coz backbones --json
    """
    rows = [_row(name) for name in {**DEFAULTS, **BACKBONES}]  # the defaults first
    for plugin in installed("backbone", BACKBONES):
        try:
            if plugin.clash:
                raise UsageError(plugin.clash)
            rows.append(_row(plugin.name, plugin.package))
        except ChainOfZoomError as error:
            rows.append(dict.fromkeys(rows[0]) | {"name": plugin.name, "default": False, "package": plugin.package})
            rows[-1]["broken"] = str(error)
    if as_json:
        echo_lines(json.dumps(rows, indent=2))
        return
    for row in rows:
        echo_lines(_text(row))
    get = "installed" if find_spec("spandrel") else "get it: pip install 'chain-of-zoom[models]'"
    echo_lines(
        f"a file ending in {' or '.join(SPANDREL_FILES)}: any super-resolution network that spandrel reads\n"
        f"    its own factor a step; ignores prompts; {evidence(1.0)}; licence as the file's author says; {get}\n"
        f"a file ending in {' or '.join(NCNN_FILES)}, with the other beside it: what coz train --network small writes\n"
        f"    4x a step; ignores prompts; {evidence(1.0)}; licence as the file's author says; installed"
    )


def _row(name: str, package: str | None = None) -> dict[str, Any]:
    backbone = load_backbone(name)
    info = backbone.info
    return {
        "name": name,
        "default": name == DEFAULT_BACKBONE,
        "default_for": DEFAULTS.get(name),
        "factor": info.factor,
        "text_aware": info.text_aware,
        "licence": info.licence,
        "bytes": info.bytes,
        "evidence_limit": info.evidence_limit,
        "wordless_evidence_limit": info.acting_as(uses_words=False).evidence_limit,
        "install": backbone.missing(),
        "summary": info.summary,
        "package": package,
        "broken": None,
    }


def _describe_evidence(row: dict[str, Any]) -> str:
    limit, wordless = row["evidence_limit"], row["wordless_evidence_limit"]
    return evidence(wordless) + (f", {limit:g}x where words change it" if limit != wordless else "")


def _text(row: dict[str, Any]) -> str:
    if row["broken"]:
        return f"{row['name']} (broken, from {row['package']}): {row['broken']}"
    facts = (
        f"{row['factor']}x a step",
        "reads prompts" if row["text_aware"] else "ignores prompts",
        _describe_evidence(row),
        f"licence {row['licence']}",
        *([f"weights of {human_size(row['bytes'])} (coz models)"] if row["bytes"] else []),
        f"get it: {row['install']}" if row["install"] else "installed",
        *([f"from {row['package']}"] if row["package"] else []),
    )
    default = f" (default for {row['default_for']})" if row["default_for"] else ""
    return f"{row['name']}{default}: {row['summary']}\n    {'; '.join(facts)}"
