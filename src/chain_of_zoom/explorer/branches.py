"""Keep what a person decided about single tiles: every set of decisions is a branch, which is never lost."""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from chain_of_zoom.errors import UsageError
from chain_of_zoom.explorer.grid import TilePlace
from chain_of_zoom.files import make_inner_folder, write_atomic

MAX_WORDS = 2_000
"""Characters of a prompt."""
MAX_DECISIONS = 200
"""Decisions of one branch."""
MAX_BRANCHES = 1_000
"""Branches of one photo."""
BRANCHES_LISTED = 50
_FOLDER, _NAME = "branches", re.compile(r"[0-9a-f]{32}")


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What a person decided about one tile."""

    place: TilePlace
    """Where it lies."""
    words: Annotated[str, Meta(max_length=MAX_WORDS)] | None = None
    """The text for the backbone; None leaves it to whoever writes the words of the tree."""
    candidate: int | None = None
    """Number of the alternative, as for `coz zoom`; None for that of the tree."""


Decisions = tuple[Decision, ...]
"""At most one for each place, the latest last."""


def add_decision(decisions: Decisions, decision: Decision) -> Decisions:
    """Return the decisions with another, which takes the place of an earlier one about the same tile.

    One that decides nothing takes the earlier one back. Raises UsageError where they would be too many.
    """
    remaining = tuple(earlier for earlier in decisions if earlier.place != decision.place)
    if decision.words is None and decision.candidate is None:
        return remaining
    if len(remaining) >= MAX_DECISIONS:
        raise UsageError(f"{len(decisions) + 1} decisions; accepted: up to {MAX_DECISIONS}; go back to an older branch")
    return (*remaining, decision)


def name_branch(decisions: Decisions) -> str:
    """Name a set of decisions, whatever their order: 32 hexadecimal digits, nothing for none."""
    if not decisions:
        return ""
    ordered = sorted(decisions, key=lambda decision: decision.place)
    return hashlib.blake2b(msgspec.json.encode(ordered), digest_size=16).hexdigest()


class BranchShelf:
    """The branches of all photos in the folder of their tiles, each a small file that is whole or absent."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, photo_id: str, decisions: Decisions) -> str:
        """Keep a branch and return its name. Raises OutputError, and UsageError where there are too many."""
        name = name_branch(decisions)
        if name and self._read(photo_id, name) is None:
            home = make_inner_folder(self.folder, photo_id, _FOLDER)
            if sum(1 for _ in home.iterdir()) >= MAX_BRANCHES:
                raise UsageError(f"{MAX_BRANCHES} branches of this photo; accepted: no more; coz explore --clear")
            write_atomic(home / f"{name}.json", msgspec.json.encode(decisions))
        return name

    def read(self, photo_id: str, name: str) -> Decisions:
        """Return the decisions of a branch; none for the empty name. Raises UsageError where it is not kept."""
        decisions = self._read(photo_id, name) if name else ()
        if decisions is None:
            raise UsageError("the branch of that link is not kept here; accepted: one of this photo; open it without")
        return decisions

    def list(self, photo_id: str) -> list[tuple[str, Decisions]]:
        """List the newest branches of a photo, at most BRANCHES_LISTED, the newest first."""
        files = []
        for path in (self.folder / photo_id / _FOLDER).glob("*.json"):
            with suppress(OSError):
                files.append((path.stat().st_mtime_ns, path.stem))
        branches = [(name, self._read(photo_id, name)) for _, name in sorted(files, reverse=True)[:BRANCHES_LISTED]]
        return [(name, decisions) for name, decisions in branches if decisions]

    def _read(self, photo_id: str, name: str) -> Decisions | None:
        if not _NAME.fullmatch(name):
            return None
        try:
            decisions = msgspec.json.decode(
                (self.folder / photo_id / _FOLDER / f"{name}.json").read_bytes(), type=Decisions
            )
        except (OSError, msgspec.DecodeError):
            return None
        return decisions if name_branch(decisions) == name else None
