"""`coz backbones`: what can do the zooming here."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from chain_of_zoom.api import DEFAULT_BACKBONE, load_backbone
from chain_of_zoom.plugins import BACKBONES


def evidence(limit: float | None) -> str:
    """How far tests on real pixels support a backbone, in words."""
    if limit is None:
        return "invents nothing"
    return f"evidence up to {limit:g}x the photo's resolution" if limit > 1 else "no evidence on real pixels"


def backbones(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the super-resolution backbones: factor, prompts read or not, licence, evidence, installed or how to get it.

    Example:  coz backbones --json
    """
    rows: list[dict[str, Any]] = []
    for name in BACKBONES:
        backbone = load_backbone(name)
        info = backbone.info
        rows.append(
            {
                "name": name,
                "default": name == DEFAULT_BACKBONE,
                "factor": info.factor,
                "text_aware": info.text_aware,
                "licence": info.licence,
                "evidence_limit": info.evidence_limit,
                "install": backbone.missing(),
                "summary": info.summary,
            }
        )
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        limit = row["evidence_limit"]
        facts = (
            f"{row['factor']}x a step",
            "reads prompts" if row["text_aware"] else "ignores prompts",
            evidence(limit),
            f"licence {row['licence']}",
            f"get it: {row['install']}" if row["install"] else "installed",
        )
        typer.echo(f"{row['name']}{' (default)' if row['default'] else ''}: {row['summary']}\n    {'; '.join(facts)}")
