"""The zoom loop: choose a window, ask the prompter, ask the backbone, quantise; again (paper, section 3.1).

Pictures advance together, scale by scale, so that prompters and backbones always get batches.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Literal

from chain_of_zoom.backbones.base import Backbone, RefiningBackbone
from chain_of_zoom.chain.choice import Choice, Variant
from chain_of_zoom.chain.enlargement import Enlargement, ZoomJob, prompt_from, resampled
from chain_of_zoom.chain.state import ScaleState
from chain_of_zoom.errors import BackboneError, ChainOfZoomError
from chain_of_zoom.imaging.color import ColorFix, fix_colors
from chain_of_zoom.imaging.images import RGB8, RGBF, resize, to_uint8
from chain_of_zoom.prompters.base import Prompter


class Engine:
    """Runs zooms with one backbone and one prompter.

    quantise: how float results become 8 bits, "round", or "truncate" as published. color_fix: applied to every
    enlarged state. raw_prompts: send extracted texts as they are, as published, instead of cleaned.
    Several threads may run one engine: they take turns at the prompter and at the backbone.
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
        self._asking, self._enlarging = threading.Lock(), threading.Lock()

    def run(self, jobs: Sequence[ZoomJob]) -> Iterator[tuple[int, ScaleState]]:
        """Yields (index of the job, state) as states come; those of `done` are not made again nor yielded."""
        states = [list(job.done) for job in jobs]
        for depth in range(max((len(job.steps) for job in jobs), default=0)):
            due = [i for i, job in enumerate(jobs) if len(states[i]) == depth < len(job.steps)]
            enlarging = [i for i in due if jobs[i].steps[depth].enlarge]
            for i in due:
                if not jobs[i].steps[depth].enlarge:
                    states[i].append(resampled(jobs[i], jobs[i].steps[depth]))
                    yield i, states[i][-1]
            if enlarging:
                made = self._enlarged([jobs[i] for i in enlarging], [states[i] for i in enlarging])
                for i, state in zip(enlarging, made, strict=True):
                    states[i].append(state)
                    yield i, state

    def candidates(self, job: ZoomJob, variants: Sequence[Variant]) -> Iterator[ScaleState]:
        """Alternatives of the state after those `done`, which is an enlargement: the same words, each its variant."""
        step = len(job.done)
        chosen = [
            Choice(step=step, variant=v, prompt=job.choices[step].prompt if step in job.choices else None)
            for v in variants
        ]
        todo = [Enlargement(replace(job, choices={step: choice}), job.done) for choice in chosen]
        self._prompt(todo[:1])
        for each in todo[1:]:
            each.take_words(todo[0])
        for each in todo:
            started = time.perf_counter()
            yield self._state(each, self._images([each])[0], time.perf_counter() - started)

    def _enlarged(self, jobs: list[ZoomJob], states: list[list[ScaleState]]) -> list[ScaleState]:
        """The next state of every job, all of them enlargements."""
        started = time.perf_counter()
        todo = [Enlargement(job, done) for job, done in zip(jobs, states, strict=True)]
        self._prompt(todo)
        images = self._images(todo)
        seconds = (time.perf_counter() - started) / len(jobs)
        return [self._state(each, image, seconds) for each, image in zip(todo, images, strict=True)]

    def _prompt(self, todo: list[Enlargement]) -> None:
        """Ask the prompter about all enlargements for which the user wrote no text of their own."""
        asking = [each for each in todo if not each.is_edited]
        if not asking:
            return
        with self._asking:
            texts = self.prompter([each.context for each in asking])
            unusual = self.prompter.fallbacks()
        for each, raw in zip(asking, texts, strict=True):
            each.fallbacks += unusual
            extracted, each.prompt = prompt_from(raw, each.job.text, as_published=self.raw_prompts)
            each.raw, each.prompter = raw, self.prompter.name
            if self.prompter.looks and not extracted:
                each.fallbacks.append("the prompter found no words")

    def _images(self, todo: list[Enlargement]) -> list[RGB8]:
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

    def _ask(self, todo: list[Enlargement]) -> list[RGBF]:
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
                with self._enlarging:
                    if refine and isinstance(self.backbone, RefiningBackbone):
                        windows = [each.zoomed_window for each in some]
                        made = self.backbone.refine(windows, prompts, seeds, on_fallback=partial(_note, some))
                    else:
                        windows = [each.window(self.backbone.info.factor) for each in some]
                        made = self.backbone(windows, prompts, seeds, on_fallback=partial(_note, some))
            except ChainOfZoomError:
                raise
            except Exception as error:
                what = str(error) or type(error).__name__
                raise BackboneError(f"{self.backbone.info.name} failed ({what}); try another --backbone") from error
            results.update(zip(indices, made, strict=True))
        return [results[i] for i in range(len(todo))]

    def _state(self, each: Enlargement, image: RGB8, seconds: float) -> ScaleState:
        info, step = self.backbone.info, each.step
        return ScaleState(
            image=image,
            input=each.zoomed,
            magnification=float(step.magnification),
            source_scale=float(step.source_scale),
            origin=step.origin,
            window=step.window.floats(),
            prompter=each.prompter,
            prompt=each.prompt,
            prompt_raw=each.raw,
            prompt_used=info.text_aware and bool(each.prompt),
            beyond_evidence=info.evidence_limit is not None and step.source_scale > info.evidence_limit,
            variant=each.variant,
            seconds=seconds,
            fallbacks=tuple(each.fallbacks),
        )


def _note(some: list[Enlargement], index: int, what: str) -> None:
    some[index].fallbacks.append(what)
