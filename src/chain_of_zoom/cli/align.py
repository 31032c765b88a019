"""`coz align`: preference alignment of the prompt extractor."""

from __future__ import annotations

import typer

from chain_of_zoom.cli.align_pairs import pairs

align_app = typer.Typer(no_args_is_help=True, help="Teach the prompter which words help.")
align_app.command("pairs")(pairs)


@align_app.callback()
def _group() -> None:
    pass
