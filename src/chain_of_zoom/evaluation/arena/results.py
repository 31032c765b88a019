"""The numbers of the arena, and the table that they make."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import mean

import msgspec

from chain_of_zoom.errors import BadInputError
from chain_of_zoom.evaluation.markdown import format_number
from chain_of_zoom.pages.table import format_markdown_table, format_plain_table
from chain_of_zoom.parsing import parse_json

JSON = "arena.json"
BETTER = {"letters": "↑", "there": "↑", "moved": "↓", "slope": "↓", "power": "↓", "right": "↑", "detail": "↑"}
"""Which way each measure is better."""


class ArenaScore(msgspec.Struct, frozen=True, kw_only=True):
    """One number about one state."""

    method: str
    """The way to zoom."""
    scene: str
    """Name of the scene."""
    seed: int
    """Its seed."""
    depth: int
    """Magnification of the state."""
    measure: str
    """What the number says."""
    value: float
    """The number."""


class MethodFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What enlarged."""

    name: str
    """The method as it was written."""
    weights_sha256: str | None
    """SHA-256 of the weights of its backbone."""
    seconds: float
    """Seconds that all its zooms took."""


class ArenaResults(msgspec.Struct, frozen=True, kw_only=True):
    """All numbers of a run of the arena, which seed, side and depth give again."""

    command: str
    """The command as typed."""
    side: int
    """Pixels of every state along a side."""
    seeds: int
    """Pictures of each scene; of text four times as many."""
    first_seed: int
    """The first seed."""
    depths: tuple[int, ...]
    """The magnifications that were compared."""
    scenes: dict[str, str]
    """The scenes, and what each shows."""
    measures: dict[str, str]
    """The measures, and what each says."""
    methods: tuple[MethodFacts, ...]
    """The ways to zoom."""
    software: dict[str, str]
    """Versions of the packages that can change a pixel."""
    scores: tuple[ArenaScore, ...]
    """Every number."""

    def average(self, scene: str, measure: str, method: str, depth: int) -> float | None:
        """Return the mean over the seeds, None without any number."""
        values = [
            score.value
            for score in self.scores
            if (score.scene, score.measure, score.method, score.depth) == (scene, measure, method, depth)
        ]
        return mean(values) if values else None

    def list_rows(self) -> list[list[str]]:
        """List the rows of the one table: headings, then scene, measure and method with a number for every depth.

        The best of each scene, measure and depth has a star, as have all that equal it as written.
        """
        rows = [["scene", "measure", "method", *(f"{depth}x" for depth in self.depths)]]
        names = [method.name for method in self.methods]
        for scene in self.scenes:
            for measure in self.measures:
                columns = [[self.average(scene, measure, name, depth) for name in names] for depth in self.depths]
                if any(value is not None for column in columns for value in column):
                    cells = zip(*(_mark_best(column, BETTER[measure]) for column in columns), strict=True)
                    label = f"{measure} {BETTER[measure]}"
                    rows += [[scene, label, name, *texts] for name, texts in zip(names, cells, strict=True)]
        return rows

    def format_plain(self) -> str:
        """Write the table as aligned text."""
        return "\n".join(format_plain_table(self.list_rows(), left_columns=3))

    def format_markdown(self) -> str:
        """Write the table as Markdown."""
        return format_markdown_table(self.list_rows())


def read_arena(folder: Path) -> ArenaResults:
    """Return what `coz eval arena` wrote to a folder. Raises BadInputError."""
    try:
        return parse_json((folder / JSON).read_bytes(), ArenaResults)
    except (OSError, msgspec.DecodeError) as error:
        raise BadInputError(
            f"{folder / JSON} cannot be read ({error}); accepted: the folder that coz eval arena wrote; run it first"
        ) from error


def _mark_best(values: Sequence[float | None], arrow: str) -> list[str]:
    numbers = [value for value in values if value is not None]
    best = format_number(max(numbers) if arrow == "↑" else min(numbers)) if numbers else ""
    texts = ["" if value is None else format_number(value) for value in values]
    return [f"{text}*" if text and text == best and len(numbers) > 1 else text for text in texts]
