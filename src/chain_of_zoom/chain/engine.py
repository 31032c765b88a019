"""The zoom loop: choose a window, ask the prompter, ask the backbone, quantise; again (paper, section 3.1).

Pictures advance together, scale by scale, so that prompters and backbones always get batches.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Literal

from chain_of_zoom.backbones.base import Backbone, RefiningBackbone
from chain_of_zoom.chain.schedule import Step
from chain_of_zoom.chain.state import ScaleState
from chain_of_zoom.errors import BackboneError, ChainOfZoomError
from chain_of_zoom.imaging.color import ColorFix, fix_colors
from chain_of_zoom.imaging.geometry import Size, ceil_size, whole_picture
from chain_of_zoom.imaging.images import RGB8, RGBF, area_reduce, resize, size_of, to_uint8
from chain_of_zoom.prompters.base import PromptContext, Prompter
from chain_of_zoom.prompters.cleaning import clean


@dataclass(frozen=True, kw_only=True)
class ZoomJob:
    """One picture to zoom into: its pixels (uint8, H x W x 3), its planned steps, and what is already done."""

    picture: RGB8
    steps: Sequence[Step]
    output: Size
    seed: int = 0
    text: str = ""
    done: Sequence[ScaleState] = ()


class Engine:
    """Runs zooms with one backbone and one prompter.

    quantise: how float results become 8 bits, "round", or "truncate" as published. color_fix: applied to every
    enlarged state. raw_prompts: send extracted texts as they are, as published, instead of cleaned.
    """

    def __init__(
        self,
        backbone: Backbone,
        prompter: Prompter,
        quantise: Literal["round", "truncate"] = "round",
        color_fix: ColorFix = "none",
        raw_prompts: bool = False,
    ) -> None:
        self.backbone = backbone
        self.prompter = prompter
        self.quantise: Literal["round", "truncate"] = quantise
        self.color_fix: ColorFix = color_fix
        self.raw_prompts = raw_prompts

    def run(self, jobs: Sequence[ZoomJob]) -> Iterator[tuple[int, ScaleState]]:
        """Yields (index of the job, state) as states come; those of `done` are not made again nor yielded."""
        states = [list(job.done) for job in jobs]
        for depth in range(max((len(job.steps) for job in jobs), default=0)):
            due = [i for i, job in enumerate(jobs) if len(states[i]) == depth < len(job.steps)]
            enlarging = [i for i in due if jobs[i].steps[depth].enlarge]
            for i in due:
                if not jobs[i].steps[depth].enlarge:
                    states[i].append(_resampled(jobs[i], jobs[i].steps[depth]))
                    yield i, states[i][-1]
            if enlarging:
                made = self._enlarged([jobs[i] for i in enlarging], [states[i] for i in enlarging])
                for i, state in zip(enlarging, made, strict=True):
                    states[i].append(state)
                    yield i, state

    def _enlarged(self, jobs: list[ZoomJob], states: list[list[ScaleState]]) -> list[ScaleState]:
        """The next state of every job, all of them enlargements."""
        started = time.perf_counter()
        todo = [_Enlargement(job, done) for job, done in zip(jobs, states, strict=True)]
        contexts = [
            PromptContext([s.image for s in done], each.zoomed, float(each.step.magnification))
            for done, each in zip(states, todo, strict=True)
        ]
        for each, raw in zip(todo, self.prompter(contexts), strict=True):
            each.raw = raw
            extracted = raw if self.raw_prompts else clean(raw)
            each.prompt = with_user_text(extracted, each.job.text)
            if self.prompter.looks and not extracted:
                each.fallbacks.append("the prompter found no words")
        images = self._images(todo)
        seconds = (time.perf_counter() - started) / len(jobs)
        return [self._state(each, image, seconds) for each, image in zip(todo, images, strict=True)]

    def _images(self, todo: list[_Enlargement]) -> list[RGB8]:
        info = self.backbone.info
        if info.resample:
            images = [resize(each.parent, each.job.output, info.resample, each.step.region) for each in todo]
        else:
            images = [
                to_uint8(each.fitted(result, info.factor), self.quantise)
                for each, result in zip(todo, self._ask(todo), strict=True)
            ]
        if self.color_fix == "none":
            return images
        return [
            to_uint8(fix_colors(image, each.zoomed, self.color_fix), self.quantise)
            for each, image in zip(todo, images, strict=True)
        ]

    def _ask(self, todo: list[_Enlargement]) -> list[RGBF]:
        """One call of the backbone for all windows, and one for pictures that only a refining backbone can take."""
        results: dict[int, RGBF] = {}
        refining = isinstance(self.backbone, RefiningBackbone)
        for refine in (False, True):
            indices = [i for i, e in enumerate(todo) if (refining and e.is_direct(self.backbone.info.factor)) == refine]
            if not indices:
                continue
            some = [todo[i] for i in indices]
            prompts, seeds = [each.prompt for each in some], [each.seed for each in some]
            try:
                if refine and isinstance(self.backbone, RefiningBackbone):
                    made = self.backbone.refine([each.zoomed for each in some], prompts, seeds)
                else:
                    made = self.backbone(
                        [each.window(self.backbone.info.factor) for each in some],
                        prompts,
                        seeds,
                        on_fallback=partial(_note, some),
                    )
            except ChainOfZoomError:
                raise
            except Exception as error:
                what = str(error) or type(error).__name__
                raise BackboneError(f"{self.backbone.info.name} failed ({what}); try another --backbone") from error
            results.update(zip(indices, made, strict=True))
        return [results[i] for i in range(len(todo))]

    def _state(self, each: _Enlargement, image: RGB8, seconds: float) -> ScaleState:
        info, step = self.backbone.info, each.step
        return ScaleState(
            image=image,
            input=each.zoomed,
            magnification=float(step.magnification),
            source_scale=float(step.source_scale),
            origin=step.origin,
            window=step.window.floats(),
            prompter=self.prompter.name,
            prompt=each.prompt,
            prompt_raw=each.raw,
            prompt_used=info.text_aware and bool(each.prompt),
            beyond_evidence=info.evidence_limit is not None and step.source_scale > info.evidence_limit,
            seconds=seconds,
            fallbacks=tuple(each.fallbacks),
        )


def _note(some: list[_Enlargement], index: int, what: str) -> None:
    some[index].fallbacks.append(what)


class _Enlargement:
    """One enlargement on its way from the plan to a state."""

    def __init__(self, job: ZoomJob, done: list[ScaleState]) -> None:
        self.job = job
        self.step = job.steps[len(done)]
        self.parent = job.picture if self.step.from_source else done[-1].image
        self.zoomed = resize(self.parent, job.output, "bicubic", self.step.region)
        self.seed = job.seed + len(done)
        self.raw = self.prompt = ""
        self.fallbacks = list(self.step.fallbacks)

    def is_direct(self, factor: int) -> bool:
        """True when one pass is not enough to fill the output, so that the window is resampled first."""
        return self.job.output.width > self.step.region.width * factor

    def window(self, factor: int) -> RGB8:
        """What the backbone is given: whole pixels of the parent; for a direct zoom, those enlarged by bicubic."""
        if self.is_direct(factor):
            size = ceil_size(Fraction(self.job.output.width, factor), Fraction(self.job.output.height, factor))
            return resize(self.parent, size, "bicubic", self.step.region)
        x0, y0, x1, y1 = self.step.cut.whole()
        return self.parent[y0:y1, x0:x1]

    def fitted(self, result: RGBF, factor: int) -> RGBF:
        """The part of an enlarged window that fills the output: cut where pixels coincide, else reduced by area."""
        step, output = self.step, self.job.output
        if self.is_direct(factor):
            box = whole_picture(size_of(result))
        else:
            box = step.region.shifted(-step.cut.x0, -step.cut.y0).scaled(factor, factor)
        if box.is_whole and box.width == output.width and box.height == output.height:
            x0, y0, x1, y1 = box.whole()
            return result[y0:y1, x0:x1]
        return area_reduce(result, box, output)


def with_user_text(extracted: str, text: str) -> str:
    """Extracted text followed by the user's, as published: "<extracted>, <text>,"; either alone is sent bare."""
    return f"{extracted}, {text}," if extracted and text else extracted or text


def _resampled(job: ZoomJob, step: Step) -> ScaleState:
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
