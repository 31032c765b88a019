"""Ask a vision-language model which states contradict what is known of their place, and which method's do so less.

After the judge of OracleZoom (Roy Dipta, Saha, Saha and Sarwar, 2026, arXiv 2609.06490), which flags states that
contradict earlier zooms, aligned to the same region, and prefers one of two methods. Its questions, its orders and its
code are not published; these are of this project. What is known is the truth where there is one, else what the state
was made from.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import msgspec

from chain_of_zoom.evaluation.consistency import Window
from chain_of_zoom.evaluation.finished import FinishedZoom
from chain_of_zoom.evaluation.metrics.base import MetricInfo
from chain_of_zoom.evaluation.results import MetricValue, StateDuel, ZoomFailure
from chain_of_zoom.imaging.geometry import Box
from chain_of_zoom.imaging.images import RGB8, decode_png, resize, size_of
from chain_of_zoom.prompters.base import Messages
from chain_of_zoom.prompters.critic import Critic
from chain_of_zoom.prompters.duel import Verdict, Verdicts, parse_verdict, tally_verdicts
from chain_of_zoom.runs.progress import OnProgress, Progress, ignore_progress

INVENTION, PREFERENCE = "judge.invention", "judge.preference"
"""Whether a state contradicts what is known, 0 or 1; and whether it does so less than the first method's: 0, 0.5, 1."""

ANSWERS = "judge.sqlite"

TRUTH, EARLIER = "a photograph of that place", "what was known of that place before, in fewer pixels and so blurred"
INVENTION_QUESTION = (
    "Both images show the same place. Image 1 is {known}. Image 2 is an enlargement whose fine detail a computer made "
    "up. Does image 2 contradict image 1: is there an object, a letter, a shape, an edge or a pattern that image 1 "
    "rules out, or is one of them changed, moved or gone? Blur is no contradiction, and neither is detail that is too "
    "fine for image 1 to show. Answer with one word: yes or no."
)
PREFERENCE_QUESTION = (
    "All images show the same place. Images 2 and 4 are enlargements A and B, whose fine detail a computer made up. "
    "Image 1, beside A, is {known}; so is image 3, beside B. Which enlargement contradicts the image beside it less: "
    "of which are fewer objects, letters, shapes, edges or patterns ruled out by that image, changed, moved or gone? "
    "Answer with a single letter: A, B, or T for a tie."
)


@dataclass(frozen=True, kw_only=True)
class JudgedState:
    """One state, and the picture that shows what is known of its place."""

    place: dict[str, Any]
    """The fields of a StateEntry."""
    file: Path
    """The file of the state."""
    window: Window
    """What the state shows, in pixels of the photo."""
    known_file: Path
    """The file of what is known."""
    known_window: Window
    """What that shows."""
    known: str
    """What that is, in words for the judge."""

    @classmethod
    def of(cls, zoom: FinishedZoom, depth: int) -> JudgedState:
        """Return the state of a zoom at a depth that a backbone made."""
        state = zoom.list_enlarged()[depth]
        known_file, known_window = (zoom.case.truth, state.window) if zoom.case.truth else zoom.find_parent(state)
        return cls(
            place=zoom.place(depth),
            file=zoom.run.folder / state.file,
            window=state.window,
            known_file=known_file,
            known_window=known_window,
            known=TRUTH if zoom.case.truth else EARLIER,
        )

    @property
    def spot(self) -> tuple[str, int, int]:
        """The picture, the number of the spot and the depth."""
        return self.place["picture"], self.place["spot"], self.place["depth"]

    @cached_property
    def digest(self) -> str:
        """A hash of both files and windows."""
        hashes = [hashlib.sha256(file.read_bytes()).hexdigest() for file in (self.known_file, self.file)]
        return f"{hashes} {self.known_window} {self.window}"

    def read_pictures(self) -> tuple[RGB8, RGB8]:
        """Return what is known and the state, uint8, both of the state's window and size; the former by bicubic."""
        known, state = decode_png(self.known_file.read_bytes()), decode_png(self.file.read_bytes())
        left, top, right, bottom = map(Fraction, self.known_window)
        size = size_of(known)
        box = Box(*map(Fraction, self.window)).shifted(-left, -top)
        box = box.scaled(size.width / (right - left), size.height / (bottom - top))
        ends = (size.width, size.height) * 2  # floats of a record may lie beyond them by a little
        box = Box(*(min(max(edge, Fraction(0)), Fraction(end)) for edge, end in zip(box, ends, strict=True)))
        return resize(known, size_of(state), "bicubic", box), state


@dataclass(frozen=True, kw_only=True)
class JudgeScores:
    """What the judge says of all zooms."""

    values: list[MetricValue] = field(default_factory=list)
    """INVENTION of every state, and PREFERENCE of those of all methods but the first."""
    failures: list[ZoomFailure] = field(default_factory=list)
    """Answers to the first question that are neither yes nor no."""
    duels: list[StateDuel] = field(default_factory=list)
    """Every method against the first one, at every depth; they count the unusable answers themselves."""


def describe_invention(critic: Critic, *, has_truth: bool) -> MetricInfo:
    """Return what a reader must know of INVENTION."""
    question = INVENTION_QUESTION.format(known=TRUTH if has_truth else EARLIER)
    return MetricInfo(
        name=INVENTION,
        direction="lower",
        range=(0, 1),
        reference=True,
        source="this project, docs/evaluation-metrics.md, after OracleZoom (arXiv 2609.06490)",
        licence=f"that of {critic.name}",
        note=f"share of states of which {critic.name} says yes to \"{question}\"; Wilson's interval; a model's opinion",
    )


def judge_zooms(
    zooms: Sequence[FinishedZoom], base: str, critic: Critic, on_progress: OnProgress = ignore_progress
) -> JudgeScores:
    """Ask about every state that a backbone made, and twice about it and that of the method `base`, either one first.

    What the critic's cache has is not asked again. Raises MissingError and DownError; the answers so far stay there.
    """
    states = [JudgedState.of(zoom, depth) for zoom in zooms for depth in zoom.list_enlarged()]
    base_states = {state.spot: state for state in states if state.place["method"] == base}
    rivals = [state for state in states if state.spot in base_states and state.place["method"] != base]
    questions: dict[str, Callable[[], Messages]] = {}

    def plan(template: str, *shown: JudgedState) -> str:
        question = template.format(known=shown[0].known)
        text = "\n".join([critic.identity, question, *(state.digest for state in shown)])
        key = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
        questions[key] = partial(build_judge_chat, question, shown)
        return key

    inventions = [plan(INVENTION_QUESTION, state) for state in states]
    orders = [
        (plan(PREFERENCE_QUESTION, state, opponent), plan(PREFERENCE_QUESTION, opponent, state))
        for state, opponent in ((state, base_states[state.spot]) for state in rivals)
    ]
    answers = critic.answer(questions, _ProgressReport(len(questions), on_progress).add)
    scores = JudgeScores()
    for state, key in zip(states, inventions, strict=True):
        if (is_invented := parse_yes_or_no(answers[key])) is None:
            error = f"the judge {critic.name} says neither yes nor no: {answers[key][:80]!r}"
            scores.failures.append(ZoomFailure(**state.place, metric=INVENTION, error=error))
        else:
            scores.values.append(MetricValue(**state.place, metric=INVENTION, value=float(is_invented)))
    pairs = [(parse_verdict(answers[first]), parse_verdict(answers[second])) for first, second in orders]
    _add_duels(scores, base, rivals, pairs)
    return scores


def _add_duels(scores: JudgeScores, base: str, rivals: Sequence[JudgedState], pairs: Sequence[Verdicts]) -> None:
    """Add the duels of every method and depth, and who is ahead on every spot; pairs: the verdicts on every rival."""
    groups: dict[tuple[str, int], list[tuple[JudgedState, Verdicts]]] = defaultdict(list)
    for state, verdicts in zip(rivals, pairs, strict=True):
        groups[state.place["method"], state.place["depth"]].append((state, verdicts))
    for (method, depth), entries in groups.items():
        pictures = [state.place["picture"] for state, _ in entries]
        duel, winners = tally_verdicts(method, base, pictures, [verdicts for _, verdicts in entries])
        scores.duels.append(StateDuel(**msgspec.structs.asdict(duel), depth=depth))
        scores.values.extend(
            MetricValue(**state.place, metric=PREFERENCE, value=_SHARES[winner])
            for (state, _), winner in zip(entries, winners, strict=True)
            if winner is not None
        )


def build_judge_chat(question: str, states: Sequence[JudgedState]) -> Messages:
    """Return a question as one turn: for every state what is known and the state itself, then the words."""
    pictures = [{"type": "image", "image": picture} for state in states for picture in state.read_pictures()]
    return [{"role": "user", "content": [*pictures, {"type": "text", "text": question}]}]


def parse_yes_or_no(answer: str) -> bool | None:
    """Return whether an answer is yes; None for anything that does not begin with either word, or says both.

    Before the word may be spaces, quotes, stars and "Answer:"; after it a mark, and an explanation behind that.
    """
    words = [match.lower() for match in re.findall(rf"(?i){_WORD}", answer)]
    is_first = re.match(rf"(?i)\W{{0,9}}(?:answer\s?:)?\W{{0,9}}{_WORD}", answer)
    return words[0] == "yes" if is_first and len(set(words)) == 1 else None


_WORD = r"\b(yes|no)\b(?=\W{0,9}$|\W{0,3}[.,;:!\n])"
_SHARES: dict[Verdict, float] = {"first": 1.0, "tie": 0.5, "second": 0.0}


class _ProgressReport:
    def __init__(self, total: int, on_progress: OnProgress) -> None:
        self.count, self.total, self.on_progress = 0, total, on_progress

    def add(self, count: int) -> None:
        self.count += count
        self.on_progress(Progress("judge", self.count, self.total))
