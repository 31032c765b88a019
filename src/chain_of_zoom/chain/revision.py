"""What is kept of an earlier run when its folder is opened again, and what the user decided meanwhile."""

from __future__ import annotations

from dataclasses import dataclass

from chain_of_zoom.chain.choice import Choice, Variant
from chain_of_zoom.chain.enlargement import prompt_from
from chain_of_zoom.chain.record import CandidateSet, Record, StateRecord
from chain_of_zoom.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Branch:
    """From where a run is gone through again.

    step: the first state that is made anew. variant: the alternative to take there; None for the one taken before.
    stop: alternatives of it will be made, and nothing else.
    """

    step: int
    variant: Variant | None = None
    stop: bool = False


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What an earlier run still says.

    states: how many of its states may be kept. adopt: the candidate that is taken as the next.
    """

    states: int
    choices: tuple[Choice, ...]
    candidates: tuple[CandidateSet, ...]
    adopt: StateRecord | None = None


def keep(earlier: Record, branch: Branch | None) -> Kept:
    """What is kept. Raises UsageError for states that are not there, and for edited texts that would stay unused."""
    edited = edited_prompts(earlier)
    if edited and (branch is None or min(edited) < branch.step):
        raise UsageError(
            f"the prompt of state {min(edited)} was changed in the record after the state was made; accepted: "
            f"making it anew, or the text as it was; type: --resume-from {min(edited)}"
        )
    count = len(earlier.states)
    if branch is None or (branch.stop and not edited):
        candidates = tuple(each for each in earlier.candidates if branch is None or each.step != branch.step)
        return Kept(states=count, choices=earlier.choices, candidates=candidates)
    if branch.step > count and not branch.stop:
        raise UsageError(
            f"--resume-from {branch.step}: the run has no state before that one yet; accepted: 0 to {count}; "
            "leave it out to go on"
        )
    still = branch.step not in edited and not branch.stop
    candidates = tuple(c for c in earlier.candidates if c.step < branch.step or (c.step == branch.step and still))
    adopt = None
    if branch.variant:
        offered = [entry for each in candidates if each.step == branch.step for entry in each.states]
        adopt = next((entry for entry in offered if entry.variant == branch.variant), None)
    return Kept(states=branch.step, choices=_choices(earlier, branch, edited), candidates=candidates, adopt=adopt)


def _choices(earlier: Record, branch: Branch, edited: dict[int, str | None]) -> tuple[Choice, ...]:
    """Texts stay until they are edited again; alternatives of later states go: their pictures are no more."""
    before = {choice.step: choice for choice in earlier.choices}
    choices = []
    for step in sorted({*before, *edited, branch.step}):
        old = before.get(step, Choice(step=step))
        if step < branch.step:
            choices.append(old)
            continue
        variant = (branch.variant or old.variant) if step == branch.step else None
        prompt = edited.get(step, old.prompt)
        if variant or prompt is not None:
            choices.append(Choice(step=step, variant=variant, prompt=prompt))
    return tuple(choices)


def edited_prompts(record: Record) -> dict[int, str | None]:
    """Texts that are not those the states were made with, by state: what to send, or None to ask the prompter anew.

    Raises UsageError for a text at a state that no backbone made.
    """
    texts = {choice.step: choice.prompt for choice in record.choices}
    edited = {}
    for step, entry in enumerate(record.states):
        if entry.prompter is None:
            if entry.prompt:
                raise UsageError(
                    f"the record has a prompt for state {step}, which is {entry.origin.value}; accepted: prompts for "
                    "generated states; make it null again"
                )
        elif entry.prompt != (_sent(record, entry) if (text := texts.get(step)) is None else text):
            edited[step] = entry.prompt
    return edited


def _sent(record: Record, entry: StateRecord) -> str:
    """The text that follows from what the prompter wrote."""
    as_published = record.settings.protocol == "paper"
    return prompt_from(entry.prompt_raw or "", record.settings.prompt, as_published=as_published)[1]
