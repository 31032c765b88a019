"""`coz train`: teach a backbone."""

from __future__ import annotations

import typer

from chain_of_zoom.cli import train_data

train_app = typer.Typer()


@train_app.callback(invoke_without_command=True)
def train(context: typer.Context) -> None:
    """Prepare the data that a super-resolution backbone is trained on.

    \b
    Examples:
      coz train degrade photo.jpg
      coz train captions --data photos/ --prompter vlm
    """
    if not context.invoked_subcommand:
        typer.echo(context.get_help())


train_app.command("degrade")(train_data.degrade)
train_app.command("captions")(train_data.captions)
