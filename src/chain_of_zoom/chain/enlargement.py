"""Take one enlargement from the plan to a state: cut its window, hold its words, fit the result to the output."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from chain_of_zoom.backbones.base import WindowPlace
from chain_of_zoom.chain.choice import EDITED, Choice
from chain_of_zoom.chain.restraint import Restraint
from chain_of_zoom.chain.schedule import Step
from chain_of_zoom.chain.state import ScaleState
from chain_of_zoom.chain.window import STRETCHED, WindowFit, fit_window, is_stretch
from chain_of_zoom.imaging.colour.grey import COLOUR_REMOVED, is_grey, to_luma
from chain_of_zoom.imaging.geometry import Box, Size, whole_picture
from chain_of_zoom.imaging.images import RGB8, RGBF, Filter, crop_or_reduce, resize, size_of, to_float
from chain_of_zoom.imaging.orientation import turn_back, turn_pixels
from chain_of_zoom.imaging.projection import measure_agreement, project
from chain_of_zoom.prompters.base import PromptContext
from chain_of_zoom.prompters.cleaning import clean
from chain_of_zoom.truth.resolution import DetailMeter

FAITHFUL = 60
"""Decibels from which a faithful state gives its parent again: rounding to 8 bits alone leaves 59 to 72."""
ACROSS = "some of its pixels lie across black and white ones of that"


@dataclass(frozen=True, kw_only=True)
class ZoomJob:
    """One picture to zoom into, with the steps that were planned for it."""

    picture: RGB8
    """Pixels of the photo, uint8, H x W x 3."""
    steps: Sequence[Step]
    """All steps of the zoom, from the whole frame to the final window."""
    output: Size
    """Size of every state."""
    seed: int = 0
    """Seed of the first state; every later one adds 1, so that steps of a chain do not repeat the same noise."""
    text: str = ""
    """The user's own words, which follow those of the prompter."""
    finished_states: Sequence[ScaleState] = ()
    """States that an earlier run made; the zoom goes on after them."""
    choices: Mapping[int, Choice] = field(default_factory=dict)
    """What the user decided about single steps, by their number."""
    grey: bool = False
    """Whether the photo has no colour, so that no state gets one."""
    trust: bool = False
    """Whether states keep the map of their trust."""
    meter: DetailMeter | None = None
    """Measures the real detail of the photo; without it the photo counts as sharp."""
    restraint: Restraint = field(default_factory=Restraint)
    """How far states may go from plain enlargement and from their parents."""

    def measure_detail(self, step: Step) -> float | None:
        """Measure the finest real detail in the window of a step, in pixels of the photo."""
        return self.meter.measure(step.window) if self.meter else None


class Enlargement:
    """The next step of a job that a backbone has to make; the prompter's words are filled in once they are known."""

    def __init__(self, job: ZoomJob, earlier_states: Sequence[ScaleState]) -> None:
        self.job = job
        self.earlier_states = earlier_states
        number = len(earlier_states)
        self.step = job.steps[number]
        self.parent = job.picture if self.step.from_source else earlier_states[-1].image
        self.zoomed = resize(self.parent, job.output, "bicubic", self.step.region)
        choice = job.choices.get(number, Choice(step=number))
        self.variant = choice.variant
        self.seed = self.variant.seed if self.variant else job.seed + number
        self._turn = self.variant.turn if self.variant else "none"
        self.raw: str | None = None
        self.confidences: dict[str, float] | None = None
        self.prompter = ""
        self.prompt = ""
        self.is_edited = choice.prompt is not None
        if choice.prompt is not None:
            self.prompter, self.prompt = EDITED, choice.prompt
        # Alternatives, but for the first, and words of the user's own are for a backbone.
        is_plain_variant = self.variant is None or self.variant.candidate == 1
        self.is_stretched = is_plain_variant and not self.is_edited and is_stretch(self.step, job.output)
        self.fallbacks = [*self.step.fallbacks, *([STRETCHED] if self.is_stretched else [])]

    @property
    def context(self) -> PromptContext:
        """Everything a prompter may look at."""
        return PromptContext(
            [state.image for state in self.earlier_states], self.zoomed, float(self.step.magnification)
        )

    def copy_words(self, source: Enlargement) -> None:
        """Take over the words of another enlargement of the same window."""
        self.raw, self.prompter, self.prompt = source.raw, source.prompter, source.prompt
        self.confidences = source.confidences
        self.fallbacks = list(source.fallbacks)

    def is_direct(self, factor: int) -> bool:
        """Return whether one pass is not enough to fill the output, so that the window is enlarged first."""
        return fit_window(self.step, self.job.output, factor).fit is WindowFit.ENLARGED

    def window(self, factor: int) -> RGB8:
        """Cut the backbone's input: whole pixels of the parent, or the region resampled."""
        size, fit = fit_window(self.step, self.job.output, factor)
        if fit is WindowFit.WHOLE:
            return turn_pixels(self._cut_parent(), self._turn)
        resampler: Filter = "bicubic" if fit is WindowFit.ENLARGED else "lanczos"
        return turn_pixels(resize(self.parent, size, resampler, self.step.region), self._turn)

    def _cut_parent(self) -> RGB8:
        """Cut the whole pixels of the parent that the step shows."""
        x0, y0, x1, y1 = self.step.cut.whole()
        return self.parent[y0:y1, x0:x1]

    def place(self, factor: int) -> WindowPlace:
        """Return where the backbone's input lies in the photo, in its own pixels or those of what it is cut from."""
        step = self.step
        size, fit = fit_window(step, self.job.output, factor)
        if fit is WindowFit.REDUCED:
            scale = size.width / step.window.width
            left, top = step.window.x0 * scale, step.window.y0 * scale
            return WindowPlace(round(left), round(top), float(scale / step.known_scale))
        scale = step.region.width / step.window.width
        left = step.window.x0 * scale - (step.region.x0 - step.cut.x0)
        top = step.window.y0 * scale - (step.region.y0 - step.cut.y0)
        return WindowPlace(round(left), round(top), float(scale / step.known_scale))

    @property
    def zoomed_window(self) -> RGB8:
        """The window at the size of the output, enlarged by bicubic, for backbones that refine it."""
        return turn_pixels(self.zoomed, self._turn)

    @property
    def is_plain(self) -> bool:
        """Whether the state is the bicubic enlargement, so that no backbone is needed."""
        return self.job.restraint.detail == 0

    @property
    def resampler(self) -> Filter | None:
        """The filter that makes the state without a network; None where a backbone has to."""
        if self.is_stretched:
            return "lanczos"
        return "bicubic" if self.is_plain else None

    def resample(self, resampler: Filter) -> RGB8:
        """Make the state without a network."""
        return resize(self.parent, self.job.output, resampler, self.step.region)

    def restrain(self, image: RGBF) -> RGBF:
        """Hold a state back, float32 at the size of the output, as the job says."""
        restraint = self.job.restraint
        if restraint.is_none:
            return image
        parent = to_float(self._cut_parent())
        result = restraint.apply(image, to_float(self.zoomed), parent, self._region_in_cut)
        if restraint.faithful:
            agreement = measure_agreement(result, parent, self._region_in_cut)
            if agreement < FAITHFUL:
                self.fallbacks.append(f"gives its parent again to {agreement:.0f} dB, not {FAITHFUL}: {ACROSS}")
        return result

    @property
    def _region_in_cut(self) -> Box:
        return self.step.region.shifted(-self.step.cut.x0, -self.step.cut.y0)

    def fit_to_output(self, result: RGBF, factor: int) -> RGBF:
        """Return the part of an enlarged window that fills the output, without the colour a grey picture was given.

        result: float32, H x W x 3, about [0, 1]: the window enlarged by `factor`. A window that was reduced first gives
        its detail back to the result. A colour that is removed is noted.
        """
        result = turn_back(result, self._turn)
        fit = fit_window(self.step, self.job.output, factor).fit
        box = self._region_in_cut.scaled(factor, factor) if fit is WindowFit.WHOLE else whole_picture(size_of(result))
        image = crop_or_reduce(result, box, self.job.output)
        if fit is WindowFit.REDUCED and not self.job.restraint.faithful:  # else that projects it, last of all
            image = project(image, to_float(self._cut_parent()), self._region_in_cut)
        if not self.job.grey or is_grey(image):
            return image
        self.fallbacks.append(COLOUR_REMOVED)
        return to_luma(image)


def prompt_from(raw: str, text: str, *, as_published: bool) -> tuple[str, str]:
    """Return the extracted text, cleaned unless it is sent `as_published`, and the prompt with the user's own text."""
    extracted = raw if as_published else clean(raw)
    return extracted, with_user_text(extracted, text)


def with_user_text(extracted: str, text: str) -> str:
    """Join extracted text and the user's as published: "<extracted>, <text>,"; either alone is sent bare."""
    return f"{extracted}, {text}," if extracted and text else extracted or text


def resample_state(job: ZoomJob, step: Step) -> ScaleState:
    """Make a state that needs no backbone: the photo's pixels, reduced, or enlarged when a small photo lacks them."""
    started = time.perf_counter()
    image = resize(job.picture, job.output, "lanczos" if step.source_scale <= 1 else "bicubic", step.region)
    return ScaleState(
        image=image,
        magnification=float(step.magnification),
        source_scale=float(step.source_scale),
        origin=step.origin,
        window=step.window.floats(),
        finest=job.measure_detail(step),
        seconds=time.perf_counter() - started,
        fallbacks=step.fallbacks,
    )
