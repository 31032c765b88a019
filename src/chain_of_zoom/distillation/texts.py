"""Embeddings of captions: made once each, after which the text encoders can go."""

from __future__ import annotations

import gc
from collections import OrderedDict
from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import Tensor

KEPT = 256
"""Captions whose embeddings are kept at a time: 5 MB each in half precision, of SD3-medium."""


class CaptionEmbeddings:
    """The embeddings of a text pipeline, kept on the CPU.

    captions: all that can be asked for. Up to KEPT of them are embedded at once and the encoders are given up; of more,
    the encoders stay, and the last KEPT are remembered. freed: which of the two.
    """

    def __init__(self, pipeline: Any, captions: Collection[str], *, tokens: int, device: torch.device) -> None:
        self.pipeline, self.tokens, self.device = pipeline, tokens, device
        self.kept: OrderedDict[str, tuple[Tensor, Tensor]] = OrderedDict()
        for encoder in self._encoders():
            encoder.eval().requires_grad_(False).to(device)
        self.freed = len(captions) <= KEPT
        if self.freed:
            for caption in sorted(captions):
                self._embed(caption)
            pipeline.text_encoder = pipeline.text_encoder_2 = pipeline.text_encoder_3 = None
            gc.collect()
            if device.type == "cuda":
                torch.cuda.empty_cache()

    def __call__(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Sequence (B x tokens x width) and pooled (B x width) embeddings, on the device."""
        found = [self._embed(caption) for caption in captions]
        sequence, pooled = (torch.cat(parts).to(self.device) for parts in zip(*found, strict=True))
        return sequence, pooled

    def _encoders(self) -> list[Any]:
        pipeline = self.pipeline
        encoders = (pipeline.text_encoder, pipeline.text_encoder_2, pipeline.text_encoder_3)
        return [encoder for encoder in encoders if encoder is not None]

    @torch.no_grad()
    def _embed(self, caption: str) -> tuple[Tensor, Tensor]:
        if caption in self.kept:
            self.kept.move_to_end(caption)
            return self.kept[caption]
        sequence, _, pooled, _ = self.pipeline.encode_prompt(
            prompt=caption,
            prompt_2=caption,
            prompt_3=caption,
            device=self.device,
            do_classifier_free_guidance=False,
            max_sequence_length=self.tokens,
        )
        self.kept[caption] = sequence.cpu(), pooled.cpu()
        if len(self.kept) > KEPT:
            self.kept.popitem(last=False)
        return self.kept[caption]
