"""The zoom loop: choose a window, ask the prompter, ask the backbone, quantise; again (paper, section 3.1).

Pictures advance together, scale by scale, so that prompters and backbones always get batches.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from chain_of_zoom.backbones.base import Backbone
from chain_of_zoom.chain.schedule import Step
from chain_of_zoom.chain.state import ScaleState
from chain_of_zoom.errors import BackboneError, ChainOfZoomError
from chain_of_zoom.imaging.geometry import Size, ceil_size, whole_picture
from chain_of_zoom.imaging.images import RGB8, RGBF, area_reduce, resize, size_of, to_uint8
from chain_of_zoom.prompters.base import PromptContext, Prompter


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

    quantise: how float results become 8 bits, "round", or "truncate" as published.
    """

    def __init__(
        self, backbone: Backbone, prompter: Prompter, quantise: Literal["round", "truncate"] = "round"
    ) -> None:
        self.backbone = backbone
        self.prompter = prompter
        self.quantise = quantise

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
        info = self.backbone.info
        steps = [job.steps[len(done)] for job, done in zip(jobs, states, strict=True)]
        parents = [
            job.picture if step.from_source else done[-1].image
            for job, step, done in zip(jobs, steps, states, strict=True)
        ]
        windows = [
            _window(parent, step, job.output, info.factor)
            for parent, step, job in zip(parents, steps, jobs, strict=True)
        ]
        extracted = self.prompter(
            [
                PromptContext([s.image for s in done], window, info.factor, float(step.magnification))
                for done, window, step in zip(states, windows, steps, strict=True)
            ]
        )
        prompts = [with_user_text(raw, job.text) for raw, job in zip(extracted, jobs, strict=True)]
        fallbacks = [list(step.fallbacks) for step in steps]
        if info.resample:
            images = [
                resize(parent, job.output, info.resample, step.region)
                for parent, step, job in zip(parents, steps, jobs, strict=True)
            ]
        else:
            seeds = [job.seed + len(done) for job, done in zip(jobs, states, strict=True)]
            results = self._ask(windows, prompts, seeds, fallbacks)
            images = [
                to_uint8(_fitted(result, step, job.output, info.factor), self.quantise)
                for result, step, job in zip(results, steps, jobs, strict=True)
            ]
        seconds = (time.perf_counter() - started) / len(jobs)
        return [
            ScaleState(
                image=image,
                magnification=float(step.magnification),
                source_scale=float(step.source_scale),
                origin=step.origin,
                window=step.window.floats(),
                prompter=self.prompter.name,
                prompt=prompt,
                prompt_raw=raw,
                prompt_used=info.text_aware and bool(prompt),
                beyond_evidence=info.evidence_limit is not None and step.source_scale > info.evidence_limit,
                seconds=seconds,
                fallbacks=tuple(notes),
            )
            for image, step, prompt, raw, notes in zip(images, steps, prompts, extracted, fallbacks, strict=True)
        ]

    def _ask(self, windows: list[RGB8], prompts: list[str], seeds: list[int], fallbacks: list[list[str]]) -> list[RGBF]:
        try:
            return self.backbone(windows, prompts, seeds, on_fallback=lambda index, what: fallbacks[index].append(what))
        except ChainOfZoomError:
            raise
        except Exception as error:
            what = str(error) or type(error).__name__
            raise BackboneError(f"{self.backbone.info.name} failed ({what}); try another --backbone") from error


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


def _is_direct(step: Step, output: Size, factor: int) -> bool:
    """True when one pass is not enough to fill the output, so that the window is resampled first."""
    return output.width > step.region.width * factor


def _window(parent: RGB8, step: Step, output: Size, factor: int) -> RGB8:
    """What the backbone is given: whole pixels of the parent; for a direct zoom, those enlarged by bicubic."""
    if _is_direct(step, output, factor):
        size = ceil_size(Fraction(output.width, factor), Fraction(output.height, factor))
        return resize(parent, size, "bicubic", step.region)
    x0, y0, x1, y1 = step.cut.whole()
    return parent[y0:y1, x0:x1]


def _fitted(result: RGBF, step: Step, output: Size, factor: int) -> RGBF:
    """The part of an enlarged window that fills the output: cut where pixels coincide, else reduced by area."""
    if _is_direct(step, output, factor):
        box = whole_picture(size_of(result))
    else:
        box = step.region.shifted(-step.cut.x0, -step.cut.y0).scaled(factor, factor)
    if box.is_whole and box.width == output.width and box.height == output.height:
        x0, y0, x1, y1 = box.whole()
        return result[y0:y1, x0:x1]
    return area_reduce(result, box, output)
