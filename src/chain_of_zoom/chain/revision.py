"""Decide what of an earlier run still counts when its folder is opened again and the user has changed something."""

from __future__ import annotations

from dataclasses import dataclass

from chain_of_zoom.chain.choice import Choice, Variant
from chain_of_zoom.chain.enlargement import prompt_from
from chain_of_zoom.chain.record import CandidateSet, Record, StateRecord
from chain_of_zoom.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Branch:
    """Says from where a run is gone through again."""

    step: int
    """First state that is made anew."""
    variant: Variant | None = None
    """Alternative to take there; None for the one taken before."""
    stop: bool = False
    """Whether alternatives of that state are made, and nothing else."""


@dataclass(frozen=True, kw_only=True)
class Carryover:
    """Says what of an earlier run still counts."""

    states: int
    """Number of its states that may stay."""
    choices: tuple[Choice, ...]
    """Decisions about single states."""
    candidates: tuple[CandidateSet, ...]
    """Alternatives that stay on offer."""
    adopted: StateRecord | None = None
    """Candidate that becomes the next state."""


def carry_over(earlier: Record, branch: Branch | None) -> Carryover:
    """Return what of an earlier run still counts when its folder is opened again.

    Raises UsageError for states that are not there, and for edited texts that would stay unused.
    """
    edited = edited_prompts(earlier)
    if edited and (branch is None or min(edited) < branch.step):
        raise UsageError(
            f"the prompt of state {min(edited)} was changed in the record after the state was made; accepted: "
            f"making it anew, or the text as it was; type: --resume-from {min(edited)}"
        )
    count = len(earlier.states)
    if branch is None or (branch.stop and not edited):
        candidates = tuple(offer for offer in earlier.candidates if branch is None or offer.step != branch.step)
        return Carryover(states=count, choices=earlier.choices, candidates=candidates)
    if branch.step > count and not branch.stop:
        raise UsageError(
            f"--resume-from {branch.step}: the run has no state before that one yet; accepted: 0 to {count}; "
            "leave it out to go on"
        )
    last = branch.step if branch.step not in edited and not branch.stop else branch.step - 1
    candidates = tuple(offer for offer in earlier.candidates if offer.step <= last)
    offered = [entry for offer in candidates if offer.step == branch.step for entry in offer.states]
    adopted = next((entry for entry in offered if branch.variant and entry.variant == branch.variant), None)
    choices = _keep_choices(earlier, branch, edited)
    return Carryover(states=branch.step, choices=choices, candidates=candidates, adopted=adopted)


def _keep_choices(earlier: Record, branch: Branch, edited: dict[int, str | None]) -> tuple[Choice, ...]:
    """Return the decisions that stay: texts until they are edited again, alternatives up to the branch."""
    old_choices = {choice.step: choice for choice in earlier.choices}
    choices = []
    for step in sorted({*old_choices, *edited, branch.step}):
        old = old_choices.get(step, Choice(step=step))
        if step < branch.step:
            choices.append(old)
            continue
        variant = (branch.variant or old.variant) if step == branch.step else None
        prompt = edited.get(step, old.prompt)
        if variant or prompt is not None:
            choices.append(Choice(step=step, variant=variant, prompt=prompt))
    return tuple(choices)


def edited_prompts(record: Record) -> dict[int, str | None]:
    """Return the texts that are not those the states were made with, by state; None asks the prompter anew.

    Raises UsageError for a text at a state that no backbone made.
    """
    choices = {choice.step: choice.prompt for choice in record.choices}
    as_published = record.settings.protocol == "paper"
    edited = {}
    for step, entry in enumerate(record.states):
        if entry.prompter is None:
            if entry.prompt:
                raise UsageError(
                    f"the record has a prompt for state {step}, which is {entry.origin.value}; accepted: prompts for "
                    "generated states; make it null again"
                )
            continue
        prompt = choices.get(step)
        if prompt is None:
            _, prompt = prompt_from(entry.prompt_raw or "", record.settings.prompt, as_published=as_published)
        if entry.prompt != prompt:
            edited[step] = entry.prompt
    return edited
