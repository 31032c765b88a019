"""`coz train`: teach a backbone."""

from __future__ import annotations

import typer

from chain_of_zoom.cli import train_data

train_app = typer.Typer(help="Train the super-resolution backbone, and prepare its data.", no_args_is_help=True)
train_app.command("degrade")(train_data.degrade)
train_app.command("captions")(train_data.captions)
