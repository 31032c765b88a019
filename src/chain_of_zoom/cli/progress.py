"""Lines on stdout and, on a terminal, a bar with the time left on stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sized
from typing import Self

from chain_of_zoom.cli.terminal import echo, visible
from chain_of_zoom.imaging.images import RGB8


class Display:
    """Shows a run: `say` prints a line, `expect` and `advance` move the bar, whose unit is the enlargement.

    show: False prints nothing. Without a terminal there are lines and no bar.
    """

    def __init__(self, description: str, *, show: bool) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        console = Console(stderr=True)
        self.show = show
        self.bar = show and console.is_terminal
        self.progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            speed_estimate_period=1800,  # one enlargement can take minutes
            disable=not self.bar,
            transient=True,
            redirect_stdout=False,  # lines meant for a file would go to the terminal
        )
        self.task = self.progress.add_task(visible(description), total=None)

    def __enter__(self) -> Self:
        self.progress.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.progress.stop()

    def describe(self, text: str) -> None:
        """What is being done now, left of the bar."""
        self.progress.update(self.task, description=visible(text))

    def expect(self, total: int, *, done: int = 0) -> None:
        """The number of enlargements of the whole, and how many of them are there."""
        self.progress.update(self.task, total=total, completed=done)

    def advance(self, enlargements: int = 1) -> None:
        """Enlargements were made."""
        self.progress.update(self.task, advance=enlargements)

    def restart(self, text: str, total: int) -> None:
        """Another kind of work begins, with a clock of its own."""
        self.progress.reset(self.task, total=total, description=visible(text))

    def track(self, frames: Iterable[RGB8]) -> Iterator[RGB8]:
        """The frames of an animation, counted on their way."""
        self.restart("animation", len(frames) if isinstance(frames, Sized) else 0)
        for frame in frames:
            yield frame
            self.advance()

    def say(self, line: str) -> None:
        """Print a line, above the bar if both share the terminal."""
        if self.bar and sys.stdout.isatty():
            self.progress.console.print(visible(line), markup=False, highlight=False, soft_wrap=True)
        elif self.show:
            echo(line)
