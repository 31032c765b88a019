"""Lines on stdout and, on a terminal, a bar with the time left on stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sized
from typing import Self

from chain_of_zoom.cli.terminal import echo, visible
from chain_of_zoom.imaging.images import RGB8
from chain_of_zoom.runs.progress import Progress


class Display:
    """Shows a run: `say` prints a line, `expect` and `advance` move the bar, whose unit is the enlargement.

    show: False prints nothing. Without a terminal there are lines and no bar.
    """

    def __init__(self, description: str, *, show: bool) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as Bar

        console = Console(stderr=True)
        self.show = show
        self.bar = show and console.is_terminal
        self.progress = Bar(
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
        self.last = Progress(stage=description, finished=0, total=0)

    def __enter__(self) -> Self:
        self.progress.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.progress.stop()

    def describe(self, text: str) -> None:
        """Say left of the bar what is being done now."""
        self.progress.update(self.task, description=visible(text))

    def expect(self, total: int, *, done: int = 0) -> None:
        """Set the number of enlargements of the whole, and how many of them are there."""
        self.progress.update(self.task, total=total, completed=done)

    def show_progress(self, progress: Progress) -> None:
        """Move the bar to the progress that a piece of work tells; another stage gets a clock of its own."""
        text = progress.stage
        if progress.seconds_left is not None:
            text += f", about {format_duration(progress.seconds_left)} left"
        if progress.total != self.last.total or progress.finished < self.last.finished:
            self.restart(text, progress.total)
        self.last = progress
        self.describe(text)
        self.expect(progress.total, done=progress.finished)

    def advance(self, enlargements: int = 1) -> None:
        """Count enlargements."""
        self.progress.update(self.task, advance=enlargements)

    def restart(self, text: str, total: int) -> None:
        """Begin another kind of work, with a clock of its own."""
        self.progress.reset(self.task, total=total, description=visible(text))

    def track(self, frames: Iterable[RGB8]) -> Iterator[RGB8]:
        """Hand on the frames of an animation, and count them on their way."""
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


def format_duration(seconds: float) -> str:
    """Write seconds in words: "5 s", "5 min", "2 h 30 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
