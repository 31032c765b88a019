"""Show scores of prompters as a table for the terminal and as a page with pictures and texts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from chain_of_zoom.alignment.pairs.read import Pair
from chain_of_zoom.alignment.scoring.score import SCORES, PrompterScore, Scores
from chain_of_zoom.errors import OccupiedError
from chain_of_zoom.files import make_folder, make_inner_folder, write_atomic
from chain_of_zoom.imaging.encode import encode_png, make_thumbnail
from chain_of_zoom.imaging.images import load
from chain_of_zoom.json_bytes import format_json
from chain_of_zoom.pages.render import render
from chain_of_zoom.pages.table import format_plain_table
from chain_of_zoom.prompters.duel import describe_duel

PAGE = "index.html"
PICTURES = "pictures"
MAX_PAIRS = 100
COLUMNS = ("words", "vocabulary", "distinct-1", "distinct-2", "empty", "seconds")


def list_columns(scores: Scores) -> list[str]:
    """Return the titles of a prompter's numbers: its rewards, then statistics."""
    return [*scores.prompters[0].rewards, *COLUMNS]


def format_cells(scored: PrompterScore) -> list[str]:
    """Return the numbers of one prompter as texts, a dash where there is none."""
    rewards = [_format_number(value, 3) for value in scored.rewards.values()]
    words = [f"{scored.words:.1f}", str(scored.vocabulary)]
    distinct = [_format_number(value, 2) for value in (scored.distinct_1, scored.distinct_2)]
    return [*rewards, *words, *distinct, f"{scored.empty:.0%}", f"{scored.seconds:.3f}"]


def format_duels(scores: Scores) -> list[str]:
    """Return every duel in one sentence."""
    return [describe_duel(outcome.duel) for outcome in scores.outcomes]


def format_scores(scores: Scores) -> str:
    """Return the table, the duels and what is missing, for a terminal."""
    rows = [["prompter", *list_columns(scores)], *([scored.name, *format_cells(scored)] for scored in scores.prompters)]
    summary = f"{len(scores.pairs)} held-out pairs of {scores.photos} photos; critic: {scores.critic or 'none'}"
    lines = [summary, "", *format_plain_table(rows)]
    lines += ["", *format_duels(scores)] if scores.outcomes else []
    lines += [f"unrated: {scored.unrated} texts of {scored.name}" for scored in scores.prompters if scored.unrated]
    lines += [f"not measured: {gap}" for gap in scores.gaps]
    return "\n".join(lines)


def check_folder(folder: Path) -> None:
    """Check a folder before hours of work.

    Raises OccupiedError where a page of something else lies, OutputError without rights.
    """
    make_folder(folder)
    if (folder / PAGE).exists() and not (folder / SCORES).exists():
        raise OccupiedError(f"{folder / PAGE} is the page of something else; name another folder with -o")


def write_page(scores: Scores, pairs: Sequence[Pair], folder: Path) -> Path:
    """Write scores.json and index.html with small pictures of up to 100 pairs. Raises OutputError."""
    make_inner_folder(folder, PICTURES)
    views = []
    for index, pair in enumerate(pairs[:MAX_PAIRS]):
        files = {kind: f"{PICTURES}/{index:04d}_{kind}.webp" for kind in ("parent", "zoomed")}
        for kind, file in files.items():
            write_atomic(folder / file, make_thumbnail(_read_png(getattr(pair, kind))))
        outcomes = [(outcome.duel, outcome.verdicts[index]) for outcome in scores.outcomes]
        views.append(
            {
                "name": pair.name,
                "files": files,
                "texts": [(scored.name, scored.texts[index]) for scored in scores.prompters],
                "ahead": [_format_verdict(duel.a, duel.b, verdict) for duel, verdict in outcomes],
            }
        )
    write_atomic(folder / SCORES, format_json(scores))
    html = render(
        "prompts.html",
        scores=scores,
        columns=list_columns(scores),
        rows=[(scored.name, format_cells(scored)) for scored in scores.prompters],
        duels=format_duels(scores),
        shown=views,
        unrated=sum(scored.unrated for scored in scores.prompters),
    )
    write_atomic(folder / PAGE, html.encode())
    return folder / PAGE


def _read_png(file: Path) -> bytes:
    """Return a picture as a PNG, with the label that it has if it is one."""
    data = file.read_bytes()
    return data if data.startswith(b"\x89PNG") else encode_png(load(file).pixels, fast=True)


def _format_verdict(a: str, b: str, verdict: str | None) -> str:
    if verdict is None:
        return f"{a} or {b}: no answer"
    if verdict == "tie":
        return f"{a} and {b}: a tie"
    return f"{a} before {b}" if verdict == "first" else f"{b} before {a}"


def _format_number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
