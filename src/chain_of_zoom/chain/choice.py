"""Decisions of a user about one step: which of several alternatives to take, and which words to send."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from chain_of_zoom.errors import UsageError
from chain_of_zoom.imaging.orientation import TURNS, Turn

EDITED = "edited"  # the prompter of a text that the user wrote into the record
MAX_CANDIDATES = 16

# Steps use consecutive seeds; this far apart no candidate shares its noise with another step.
_STRIDE = 1000


class Variant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One alternative of an enlargement."""

    candidate: int
    """Its number; 1 is the enlargement as it is made when nobody asks for alternatives."""
    seed: int
    """Seed for the backbone."""
    turn: Turn = "none"
    """How the window is turned or mirrored for the backbone; its result is turned back."""

    @classmethod
    def of(cls, candidate: int, seed: int, *, seeded: bool) -> Variant:
        """Return alternative number `candidate` of the step with this seed; seeded: whether the backbone has seeds."""
        check_candidate(candidate, seeded=seeded)
        if seeded:
            return cls(candidate=candidate, seed=seed + _STRIDE * (candidate - 1))
        return cls(candidate=candidate, seed=seed, turn=TURNS[candidate - 1])

    def __str__(self) -> str:
        plain = f"seed {self.seed}" if self.candidate > 1 else "plain"
        return f"candidate {self.candidate}: {plain if self.turn == 'none' else self.turn}"


class Choice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A decision about one state."""

    step: int
    """Number of the state."""
    variant: Variant | None = None
    """Alternative to take."""
    prompt: str | None = None
    """Prompt as sent, instead of the prompter's."""


@dataclass(frozen=True, kw_only=True)
class Revision:
    """Asks to go through a run once more. Raises UsageError for values that do not go together."""

    resume_from: int | None = None
    """First state that is made anew; with `candidates` alone it is the first enlargement."""
    candidates: int | None = None
    """Number of alternatives of that state, with which the run stops for the user to choose."""
    candidate: int | None = None
    """Number of the alternative to take."""

    def __post_init__(self) -> None:
        if self.resume_from is not None and self.resume_from < 0:
            raise UsageError(
                f"--resume-from {self.resume_from}; accepted: the number of a state, as in its file's name"
            )
        if self.candidates is not None and not 2 <= self.candidates <= MAX_CANDIDATES:
            raise UsageError(
                f"--candidates {self.candidates}; accepted: 2 to {MAX_CANDIDATES}; for example --candidates 4"
            )
        if self.candidate is not None and self.resume_from is None:
            raise UsageError(
                "--candidate needs the state; accepted: --resume-from STEP; see the line under the candidates"
            )
        if self.candidate is not None and self.candidates is not None:
            raise UsageError(
                "--candidates makes alternatives and --candidate takes one; accepted: either; leave one out"
            )

    @property
    def is_none(self) -> bool:
        """Whether there is nothing to go through again."""
        return self == Revision()


def check_candidate(number: int, *, seeded: bool) -> None:
    """Raise UsageError when there is no such alternative: a backbone without seeds has one for each way to turn."""
    count = MAX_CANDIDATES if seeded else len(TURNS)
    if not 1 <= number <= count:
        reason = " (this backbone uses no seed: the alternatives are the ways to turn and mirror a window)"
        raise UsageError(
            f"candidate {number}; accepted: 1 to {count}{'' if seeded else reason}; for example --candidate 2"
        )
