"""Write what a logbook counted, and what a session has to do, in the text format of Prometheus."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import accumulate

from chain_of_zoom.explorer.logbook import BUCKETS, Logbook
from chain_of_zoom.explorer.session import ExplorerSession
from chain_of_zoom.resources import resident_memory

MEDIA_TYPE = "text/plain; version=0.0.4"


def format_metrics(session: ExplorerSession) -> str:
    """Return the text: what it counts since the start, and how things are now."""
    logbook, store = session.logbook, session.store
    gauges = {
        "coz_tiles_waiting": ("Tiles still to be made for all pages.", session.count_waiting()),
        "coz_pages": ("Pages that are open.", session.count_viewers()),
        "coz_cache_tiles": ("Tiles on disk.", len(store)),
        "coz_cache_bytes": ("Bytes of the tiles on disk.", store.total),
        "coz_cache_budget_bytes": ("Bytes that tiles may take on disk.", store.budget),
        "process_resident_memory_bytes": ("Memory of the server.", resident_memory()),
    }
    lines = [*_list_times(logbook)]
    lines += _list_counts("coz_tiles_failed_total", "Tiles that could not be made.", "backbone", logbook.failures)
    lines += _list_counts("coz_answers_total", "Answers of the server.", "status", logbook.answers)
    for name, (meaning, value) in gauges.items():
        if value is not None:
            lines += [f"# HELP {name} {meaning}", f"# TYPE {name} gauge", f"{name} {value}"]
    return "\n".join([*lines, ""])


def _list_times(logbook: Logbook) -> Iterator[str]:
    name = "coz_tile_seconds"
    yield f"# HELP {name} Seconds that a tile took."
    yield f"# TYPE {name} histogram"
    for backbone, times in sorted(logbook.times.items()):
        label = f'backbone="{_escape(backbone)}"'
        totals = list(accumulate(times.counts))
        for bound, total in zip((*map(str, BUCKETS), "+Inf"), totals, strict=True):
            yield f'{name}_bucket{{{label},le="{bound}"}} {total}'
        yield f"{name}_sum{{{label}}} {times.total:.6f}"
        yield f"{name}_count{{{label}}} {totals[-1]}"


def _list_counts(name: str, meaning: str, label: str, counts: Mapping[int, int] | Mapping[str, int]) -> Iterator[str]:
    yield f"# HELP {name} {meaning}"
    yield f"# TYPE {name} counter"
    for key, count in sorted((str(key), count) for key, count in counts.items()):
        yield f'{name}{{{label}="{_escape(key)}"}} {count}'


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
