"""One enlargement on its way from the plan to a state: its window, its words, and what a backbone's result becomes."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

from chain_of_zoom.chain.choice import EDITED, Choice
from chain_of_zoom.chain.schedule import Step
from chain_of_zoom.chain.state import ScaleState
from chain_of_zoom.imaging.dihedral import turned, turned_back
from chain_of_zoom.imaging.geometry import Size, ceil_size, whole_picture
from chain_of_zoom.imaging.grey import COLOUR_REMOVED, is_grey, luma
from chain_of_zoom.imaging.images import RGB8, RGBF, area_reduce, resize, size_of
from chain_of_zoom.prompters.base import PromptContext
from chain_of_zoom.prompters.cleaning import clean


@dataclass(frozen=True, kw_only=True)
class ZoomJob:
    """One picture to zoom into: its pixels (uint8, H x W x 3), its planned steps, and what is already done.

    choices: what the user decided about single steps, by their number. grey: whether the picture has no colour, so that
    no state gets one.
    """

    picture: RGB8
    steps: Sequence[Step]
    output: Size
    seed: int = 0
    text: str = ""
    done: Sequence[ScaleState] = ()
    choices: Mapping[int, Choice] = field(default_factory=dict)
    grey: bool = False


class Enlargement:
    """The next step of a job that a backbone has to make. raw, prompter, prompt: its words, once they are known."""

    def __init__(self, job: ZoomJob, done: Sequence[ScaleState]) -> None:
        self.job = job
        self.done = done
        self.step = job.steps[len(done)]
        self.parent = job.picture if self.step.from_source else done[-1].image
        self.zoomed = resize(self.parent, job.output, "bicubic", self.step.region)
        choice = job.choices.get(len(done), Choice(step=len(done)))
        self.variant = choice.variant
        self.seed = self.variant.seed if self.variant else job.seed + len(done)
        self._turn = self.variant.turn if self.variant else "none"
        self.raw: str | None = None
        self.prompter = ""
        self.prompt = ""
        self.is_edited = choice.prompt is not None
        if choice.prompt is not None:
            self.prompter, self.prompt = EDITED, choice.prompt
        self.fallbacks = list(self.step.fallbacks)

    @property
    def context(self) -> PromptContext:
        """What a prompter may look at."""
        return PromptContext([state.image for state in self.done], self.zoomed, float(self.step.magnification))

    def take_words(self, other: Enlargement) -> None:
        """The words of another enlargement of the same window."""
        self.raw, self.prompter, self.prompt = other.raw, other.prompter, other.prompt
        self.fallbacks = list(other.fallbacks)

    def is_direct(self, factor: int) -> bool:
        """True when one pass is not enough to fill the output, so that the window is resampled first."""
        return _is_direct(self.step, self.job.output, factor)

    def window(self, factor: int) -> RGB8:
        """What the backbone is given: whole pixels of the parent; for a direct zoom, those enlarged by bicubic."""
        if self.is_direct(factor):
            size = window_size(self.step, self.job.output, factor)
            return turned(resize(self.parent, size, "bicubic", self.step.region), self._turn)
        x0, y0, x1, y1 = self.step.cut.whole()
        return turned(self.parent[y0:y1, x0:x1], self._turn)

    @property
    def zoomed_window(self) -> RGB8:
        """The window enlarged by bicubic, for backbones that refine it."""
        return turned(self.zoomed, self._turn)

    def fitted(self, result: RGBF, factor: int) -> RGBF:
        """The part of an enlarged window that fills the output, without the colour that a grey picture was given."""
        image = self._cut(result, factor)
        if not self.job.grey or is_grey(image):
            return image
        self.fallbacks.append(COLOUR_REMOVED)
        return luma(image)

    def _cut(self, result: RGBF, factor: int) -> RGBF:
        """That part: cut where pixels coincide, else reduced by area."""
        step, output = self.step, self.job.output
        result = turned_back(result, self._turn)
        if self.is_direct(factor):
            box = whole_picture(size_of(result))
        else:
            box = step.region.shifted(-step.cut.x0, -step.cut.y0).scaled(factor, factor)
        if box.is_whole and box.width == output.width and box.height == output.height:
            x0, y0, x1, y1 = box.whole()
            return result[y0:y1, x0:x1]
        return area_reduce(result, box, output)


def window_size(step: Step, output: Size, factor: int) -> Size:
    """The size of the window that a backbone is given for a step: whole pixels of the parent, or those of the output
    over the factor for a direct zoom."""
    if _is_direct(step, output, factor):
        return ceil_size(Fraction(output.width, factor), Fraction(output.height, factor))
    x0, y0, x1, y1 = step.cut.whole()
    return Size(x1 - x0, y1 - y0)


def _is_direct(step: Step, output: Size, factor: int) -> bool:
    return output.width > step.region.width * factor


def prompt_from(raw: str, text: str, *, as_published: bool) -> tuple[str, str]:
    """Extracted text, cleaned unless it is sent `as_published`, and the prompt: that, followed by the user's own."""
    extracted = raw if as_published else clean(raw)
    return extracted, with_user_text(extracted, text)


def with_user_text(extracted: str, text: str) -> str:
    """Extracted text followed by the user's, as published: "<extracted>, <text>,"; either alone is sent bare."""
    return f"{extracted}, {text}," if extracted and text else extracted or text


def resampled(job: ZoomJob, step: Step) -> ScaleState:
    """A state that needs no backbone: the source's own pixels, reduced, or enlarged when a small photo lacks them."""
    started = time.perf_counter()
    how: Literal["lanczos", "bicubic"] = "lanczos" if step.source_scale <= 1 else "bicubic"
    image = resize(job.picture, job.output, how, step.region)
    return ScaleState(
        image=image,
        magnification=float(step.magnification),
        source_scale=float(step.source_scale),
        origin=step.origin,
        window=step.window.floats(),
        seconds=time.perf_counter() - started,
        fallbacks=step.fallbacks,
    )
