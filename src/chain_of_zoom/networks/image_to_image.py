"""Models of diffusers that make a picture anew after a text: FLUX.2 [klein], Z-Image and their kin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from chain_of_zoom.errors import MissingError
from chain_of_zoom.imaging.images import RGB8, RGBF
from chain_of_zoom.runtime.int8 import to_int8
from chain_of_zoom.runtime.residence import Residence
from chain_of_zoom.weights.checkpoints import read_pipeline

TOKENS = 512
"""Tokens of a text that these pipelines read, those of the chat around it included."""
Embedding = Tensor | list[Tensor]
"""What a pipeline makes of one text."""


class ImageToImage:
    """Holds a pipeline of diffusers in two halves, which need not be on the device at the same time: texts, pictures.

    chat: arguments of the tokenizer's chat template, as the pipeline has them.
    """

    def __init__(self, pipeline: Any, residence: Residence, chat: Mapping[str, bool]) -> None:
        self.residence, self.chat = residence, chat
        self.device = torch.device(residence.device("image"))
        for module in (pipeline.text_encoder, pipeline.transformer, pipeline.vae):
            module.eval().requires_grad_(False)
        if residence.int8("text encoder"):
            to_int8(pipeline.text_encoder)
        residence.add("texts", pipeline.text_encoder)
        residence.add("image", pipeline.transformer, pipeline.vae)
        pipeline.set_progress_bar_config(disable=True)
        self.texts = type(pipeline)(**{**pipeline.components, "transformer": None, "vae": None})
        pipeline.text_encoder = None
        self.pictures = pipeline
        self._embeddings: dict[str, Embedding] = {}

    @classmethod
    def load(
        cls, kind: str, transformer: str, base: str, residence: Residence, dtype: torch.dtype, chat: Mapping[str, bool]
    ) -> ImageToImage:
        """Read a diffusers folder or hub name as a pipeline of class `kind` with a transformer of that class.

        Raises MissingError, also for a model of another kind.
        """
        pipeline = read_pipeline(kind, base, f"model for {kind}", dtype, vae=dtype)
        name = type(pipeline.transformer).__name__
        if name != transformer:
            raise MissingError(
                f"base model {base} holds a {name}; accepted: one with a {transformer}; type: coz models"
            )
        return cls(pipeline, residence, chat)

    @torch.inference_mode()
    def encode_texts(self, texts: Sequence[str], options: Mapping[str, Any]) -> dict[str, Embedding]:
        """Return the embedding of every text. Those of the last call are remembered. options: of `encode_prompt`."""
        embeddings = {text: self._embeddings[text] for text in texts if text in self._embeddings}
        missing = [text for text in dict.fromkeys(texts) if text not in embeddings]
        if missing:
            with self.residence.using("texts"):
                for text in missing:
                    embedding = self.texts.encode_prompt([text], device=self.device, **options)[0]
                    embeddings[text] = _move(embedding, torch.device("cpu"))
        self._embeddings = embeddings
        return embeddings

    def __call__(self, picture: RGB8, embedding: Embedding, seed: int, **options: Any) -> RGBF:
        """Make a picture anew (uint8, sides a multiple of 16, at most a megapixel): float32 in [0, 1]; NaN stays.

        All noise is drawn on the CPU from the seed, so that devices agree. options: of the pipeline.
        """
        with self.residence.using("image"):
            height, width = picture.shape[:2]
            planes = self.pictures(
                image=[Image.fromarray(picture)],
                prompt_embeds=_move(embedding, self.device),
                height=height,
                width=width,
                generator=torch.Generator().manual_seed(seed),
                output_type="pt",
                **options,
            ).images[0]
        pixels: RGBF = np.ascontiguousarray(planes.permute(1, 2, 0).float().cpu().numpy())
        return pixels

    def count_cut_tokens(self, text: str) -> int:
        """Count the tokens of a text that the model does not read."""
        message = {"role": "user", "content": text}
        tokenizer = self.texts.tokenizer
        chat = tokenizer.apply_chat_template([message], tokenize=False, add_generation_prompt=True, **self.chat)
        return max(0, len(tokenizer(chat).input_ids) - TOKENS)


def _move(embedding: Embedding, device: torch.device) -> Embedding:
    return embedding.to(device) if isinstance(embedding, Tensor) else [part.to(device) for part in embedding]
