"""Embeds captions, each once, so that the text encoders can be freed afterwards."""

from __future__ import annotations

import gc
from collections import OrderedDict
from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import Tensor

MAX_EMBEDDED = 256
"""Embeddings in memory at a time; one of SD3 medium takes 5 MB in half precision."""


class CaptionEmbeddings:
    """Embeds captions with the encoders of a text pipeline and remembers the results on the CPU.

    captions: all that will be asked for. Up to MAX_EMBEDDED of them are embedded at once, after which the encoders are
    freed (attribute `freed`). Of more, the encoders stay, and the MAX_EMBEDDED used last are remembered.
    """

    def __init__(self, pipeline: Any, captions: Collection[str], *, tokens: int, device: torch.device) -> None:
        self.pipeline, self.tokens, self.device = pipeline, tokens, device
        self.embeddings: OrderedDict[str, tuple[Tensor, Tensor]] = OrderedDict()
        for encoder in self._encoders():
            encoder.eval().requires_grad_(False).to(device)
        self.freed = len(captions) <= MAX_EMBEDDED
        if self.freed:
            for caption in sorted(captions):
                self._embed(caption)
            pipeline.text_encoder = pipeline.text_encoder_2 = pipeline.text_encoder_3 = None
            gc.collect()
            if device.type == "cuda":
                torch.cuda.empty_cache()

    def __call__(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return sequence (B x tokens x width) and pooled (B x width) embeddings, on the device."""
        embeddings = [self._embed(caption) for caption in captions]
        sequence, pooled = (torch.cat(parts).to(self.device) for parts in zip(*embeddings, strict=True))
        return sequence, pooled

    def _encoders(self) -> list[Any]:
        pipeline = self.pipeline
        encoders = (pipeline.text_encoder, pipeline.text_encoder_2, pipeline.text_encoder_3)
        return [encoder for encoder in encoders if encoder is not None]

    @torch.no_grad()
    def _embed(self, caption: str) -> tuple[Tensor, Tensor]:
        if caption in self.embeddings:
            self.embeddings.move_to_end(caption)
            return self.embeddings[caption]
        sequence, _, pooled, _ = self.pipeline.encode_prompt(
            prompt=caption,
            prompt_2=caption,
            prompt_3=caption,
            device=self.device,
            do_classifier_free_guidance=False,
            max_sequence_length=self.tokens,
        )
        self.embeddings[caption] = sequence.cpu(), pooled.cpu()
        if len(self.embeddings) > MAX_EMBEDDED:
            self.embeddings.popitem(last=False)
        return self.embeddings[caption]
