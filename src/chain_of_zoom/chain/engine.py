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

import msgspec

from chain_of_zoom.backbones.base import Backbone, RefiningBackbone
from chain_of_zoom.chain.choice import Choice, Variant
from chain_of_zoom.chain.enlargement import Enlargement, ZoomJob, prompt_from, resample_state
from chain_of_zoom.chain.state import ScaleState
from chain_of_zoom.errors import BackboneError, ChainOfZoomError
from chain_of_zoom.imaging.colour.transfer import ColorFix, fix_colors
from chain_of_zoom.imaging.images import RGB8, RGBF, to_float, to_uint8
from chain_of_zoom.prompters.base import LETTERS, LETTERS_WARNING, NO_WORDS, Prompter
from chain_of_zoom.truth.resolution import count_blur
from chain_of_zoom.truth.trust import map_trust


class Engine:
    """Run zooms with one backbone and one prompter.

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
        """Yield (index of the job, state) as states come; finished ones are neither made again nor yielded."""
        states = [list(job.finished_states) for job in jobs]
        for depth in range(max((len(job.steps) for job in jobs), default=0)):
            due = [i for i, job in enumerate(jobs) if len(states[i]) == depth < len(job.steps)]
            enlarging = [i for i in due if jobs[i].steps[depth].enlarge]
            for i in due:
                if not jobs[i].steps[depth].enlarge:
                    states[i].append(resample_state(jobs[i], jobs[i].steps[depth]))
                    yield i, states[i][-1]
            if enlarging:
                new_states = self._enlarge([jobs[i] for i in enlarging], [states[i] for i in enlarging])
                for i, state in zip(enlarging, new_states, strict=True):
                    states[i].append(state)
                    yield i, state

    def candidates(self, job: ZoomJob, variants: Sequence[Variant]) -> Iterator[ScaleState]:
        """Yield alternatives of the state after the finished ones, an enlargement: same words, each in its variant."""
        step = len(job.finished_states)
        choice = job.choices.get(step, Choice(step=step))
        jobs = [replace(job, choices={step: msgspec.structs.replace(choice, variant=v)}) for v in variants]
        enlargements = [Enlargement(variant_job, job.finished_states) for variant_job in jobs]
        self._prompt(enlargements[:1])
        for enlargement in enlargements[1:]:
            enlargement.copy_words(enlargements[0])
        for enlargement in enlargements:
            started = time.perf_counter()
            yield self._state(enlargement, self._images([enlargement])[0], time.perf_counter() - started)

    def _enlarge(self, jobs: list[ZoomJob], states: list[list[ScaleState]]) -> list[ScaleState]:
        """Make the next state of every job, all of them enlargements."""
        started = time.perf_counter()
        enlargements = [Enlargement(job, earlier) for job, earlier in zip(jobs, states, strict=True)]
        self._prompt(enlargements)
        images = self._images(enlargements)
        seconds = (time.perf_counter() - started) / len(jobs)
        return [
            self._state(enlargement, image, seconds) for enlargement, image in zip(enlargements, images, strict=True)
        ]

    def _prompt(self, enlargements: list[Enlargement]) -> None:
        """Ask the prompter about all enlargements for which the user wrote no text of their own."""
        unedited = [e for e in enlargements if not (e.is_edited or e.is_stretched)]
        if not unedited:
            return
        with self._asking:
            texts = self.prompter([enlargement.context for enlargement in unedited])
            unusual = self.prompter.fallbacks()
            confidences: Sequence[dict[str, float] | None] = self.prompter.list_confidences() or [None] * len(texts)
        for enlargement, raw, of_words in zip(unedited, texts, confidences, strict=True):
            enlargement.fallbacks += unusual
            extracted, enlargement.prompt = prompt_from(raw, enlargement.job.text, as_published=self.raw_prompts)
            enlargement.raw, enlargement.confidences, enlargement.prompter = raw, of_words, self.prompter.name
            if of_words and LETTERS in of_words and not self.backbone.info.resample:
                enlargement.fallbacks.append(LETTERS_WARNING)
            if self.prompter.looks and not extracted:
                enlargement.fallbacks.append(NO_WORDS)

    def _images(self, enlargements: list[Enlargement]) -> list[RGB8]:
        info = self.backbone.info
        networked = [enlargement for enlargement in enlargements if not (info.resample or enlargement.resampler)]
        results = iter(self._ask(networked))
        images: list[RGB8] = []
        for enlargement in enlargements:
            if resampler := enlargement.resampler or info.resample:
                image = enlargement.resample(resampler)
                if not enlargement.job.restraint.is_none:  # else in 8 bits, as published
                    image = to_uint8(enlargement.restrain(to_float(image)))
            else:
                fitted = enlargement.fit_to_output(next(results), info.factor)
                image = to_uint8(enlargement.restrain(fitted), self.quantise)
            images.append(image)
        if self.color_fix == "none":
            return images
        return [
            to_uint8(fix_colors(image, enlargement.zoomed, self.color_fix), self.quantise)
            for enlargement, image in zip(enlargements, images, strict=True)
        ]

    def _ask(self, enlargements: list[Enlargement]) -> list[RGBF]:
        """Call the backbone once for all windows, and once for pictures that only a refining backbone can take."""
        results: dict[int, RGBF] = {}
        refining = isinstance(self.backbone, RefiningBackbone)
        for refine in (False, True):
            indices = [
                i for i, e in enumerate(enlargements) if (refining and e.is_direct(self.backbone.info.factor)) == refine
            ]
            if not indices:
                continue
            batch = [enlargements[i] for i in indices]
            prompts, seeds = [enlargement.prompt for enlargement in batch], [enlargement.seed for enlargement in batch]
            try:
                with self._enlarging:
                    if refine and isinstance(self.backbone, RefiningBackbone):
                        windows = [enlargement.zoomed_window for enlargement in batch]
                        outputs = self.backbone.refine(windows, prompts, seeds, on_fallback=partial(_note, batch))
                    else:
                        windows = [enlargement.window(self.backbone.info.factor) for enlargement in batch]
                        places = [enlargement.place(self.backbone.info.factor) for enlargement in batch]
                        outputs = self.backbone(
                            windows, prompts, seeds, places=places, on_fallback=partial(_note, batch)
                        )
            except ChainOfZoomError:
                raise
            except Exception as error:
                reason = str(error) or type(error).__name__
                raise BackboneError(f"{self.backbone.info.name} failed ({reason}); try another --backbone") from error
            results.update(zip(indices, outputs, strict=True))
        return [results[i] for i in range(len(enlargements))]

    def _state(self, enlargement: Enlargement, image: RGB8, seconds: float) -> ScaleState:
        info, step, job = self.backbone.info, enlargement.step, enlargement.job
        finest = job.measure_detail(step)
        blur = count_blur(finest) if job.meter else 1.0
        may_use_prompt = bool(enlargement.prompt) and info.text_aware and not enlargement.resampler
        prompt_used = may_use_prompt and self.backbone.uses(
            enlargement.prompt, enlargement.place(info.factor), enlargement.window(info.factor)
        )
        trust = None
        has_used_words = prompt_used or any(state.prompt_used for state in enlargement.earlier_states)
        maker = info.acting_as(uses_words=has_used_words)
        # Only what was compared with the truth: the chain, with the network's own pixels.
        is_compared = job.restraint.is_none and self.color_fix == "none" and not has_used_words
        if is_compared and not (enlargement.is_direct(info.factor) or enlargement.is_stretched):
            trust = map_trust(image, enlargement.zoomed, maker.name, float(step.depth) * blur)
        return ScaleState(
            image=image,
            input=enlargement.zoomed,
            magnification=float(step.magnification),
            source_scale=float(step.source_scale),
            origin=step.origin,
            window=step.window.floats(),
            prompter=enlargement.prompter,
            prompt=enlargement.prompt,
            prompt_raw=enlargement.raw,
            prompt_confidences=enlargement.confidences,
            prompt_used=prompt_used,
            finest=finest,
            trusted=trust.share if trust else None,
            trust=trust.trust if trust and job.trust else None,
            beyond_evidence=not enlargement.is_plain and maker.is_beyond_evidence(step.depth * blur),
            variant=enlargement.variant,
            seconds=seconds,
            fallbacks=tuple(enlargement.fallbacks),
        )


def _note(batch: list[Enlargement], index: int, detour: str) -> None:
    batch[index].fallbacks.append(detour)
