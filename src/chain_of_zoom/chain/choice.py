"""What a user decides about one step: which of several alternatives to take, and which words to send."""

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
    """One alternative of an enlargement.

    candidate: its number; 1 is the enlargement as it is made when nobody asks for alternatives. seed: as given to the
    backbone. turn: how the window was turned or mirrored before the backbone saw it (and its result after, back).
    """

    candidate: int
    seed: int
    turn: Turn = "none"

    @classmethod
    def of(cls, candidate: int, seed: int, *, seeded: bool) -> Variant:
        """Alternative number `candidate` of the step with this seed; seeded: whether the backbone follows seeds."""
        check_candidate(candidate, seeded=seeded)
        if seeded:
            return cls(candidate=candidate, seed=seed + _STRIDE * (candidate - 1))
        return cls(candidate=candidate, seed=seed, turn=TURNS[candidate - 1])

    def __str__(self) -> str:
        how = self.turn if self.turn != "none" else f"seed {self.seed}" if self.candidate > 1 else "plain"
        return f"candidate {self.candidate}: {how}"


class Choice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was decided about the state numbered `step`: its variant, its prompt as sent, or both."""

    step: int
    variant: Variant | None = None
    prompt: str | None = None


@dataclass(frozen=True, kw_only=True)
class Revision:
    """A run is gone through once more from state `resume_from` on.

    candidates: stop there with so many alternatives to choose from (at the first enlargement without resume_from).
    candidate: take this one. Raises UsageError when they do not go together.
    """

    resume_from: int | None = None
    candidates: int | None = None
    candidate: int | None = None

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
        """True when there is nothing to go through again."""
        return self == Revision()


def check_candidate(number: int, *, seeded: bool) -> None:
    """Raises UsageError when there is no such alternative: a backbone without seeds has one for each way to turn."""
    most = MAX_CANDIDATES if seeded else len(TURNS)
    if not 1 <= number <= most:
        why = (
            "" if seeded else " (this backbone uses no seed: the alternatives are the ways to turn and mirror a window)"
        )
        raise UsageError(f"candidate {number}; accepted: 1 to {most}{why}; for example --candidate 2")
