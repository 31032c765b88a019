"""RAM, the tagger that writes the published "dape" prompts: a Swin transformer, and a decoder that asks it per tag.

Zhang et al., "Recognize Anything", arXiv 2306.03514; the decoder follows Query2Label (arXiv 2107.10834).
Only the network: its weights are read by ram_weights.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import SwinConfig, SwinModel

from chain_of_zoom.imaging.images import RGB8

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class RamSizes:
    """Everything that fixes the network's shapes.

    The published file, in this order: 192, (2, 2, 18, 2), (6, 12, 24, 48), 12, 4, 4585, 512, 768, 3072, 2, 4.
    """

    width: int
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    window: int
    patch: int
    tags: int
    label_width: int
    hidden: int
    feed_forward: int
    layers: int
    decoder_heads: int

    @property
    def image(self) -> int:
        """Side of the input in pixels: the one at which Swin's last stage is a single window (published: 384)."""
        return self.patch * self.window << (len(self.depths) - 1)


class TagLayer(nn.Module):
    """One decoder layer: tags look at the picture, then think. No self-attention between tags; norms come last."""

    def __init__(self, sizes: RamSizes) -> None:
        super().__init__()
        hidden, inner = sizes.hidden, sizes.feed_forward
        self.heads = sizes.decoder_heads
        self.query = nn.Linear(hidden, hidden)
        self.key = nn.Linear(sizes.label_width, hidden)
        self.value = nn.Linear(sizes.label_width, hidden)
        self.out = nn.Linear(hidden, hidden)
        self.norm1 = nn.LayerNorm(hidden, eps=1e-12)
        self.up = nn.Linear(hidden, inner)
        self.down = nn.Linear(inner, hidden)
        self.norm2 = nn.LayerNorm(hidden, eps=1e-12)

    def forward(self, tags: Tensor, tokens: Tensor) -> Tensor:
        """Tags [B, T, hidden] and image tokens [B, N, label width] to [B, T, hidden]."""
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (self.query(tags), self.key(tokens), self.value(tokens))
        )
        seen = functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        tags = self.norm1(tags + self.out(seen))
        thought: Tensor = self.norm2(tags + self.down(functional.gelu(self.up(tags))))
        return thought


class Ram(nn.Module):
    """Pictures to one logit per tag."""

    def __init__(self, sizes: RamSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.swin = SwinModel(
            SwinConfig(
                image_size=sizes.image,
                patch_size=sizes.patch,
                embed_dim=sizes.width,
                depths=list(sizes.depths),
                num_heads=list(sizes.heads),
                window_size=sizes.window,
            ),
            add_pooling_layer=False,
        )
        self.image_proj = nn.Linear(sizes.width * 2 ** (len(sizes.depths) - 1), sizes.label_width)
        self.label_embed = nn.Parameter(torch.zeros(sizes.tags, sizes.label_width))
        self.wordvec_proj = nn.Linear(sizes.label_width, sizes.hidden)
        self.decoder = nn.ModuleList(TagLayer(sizes) for _ in range(sizes.layers))
        self.fc = nn.Linear(sizes.hidden, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        """Float pictures [B, 3, image, image] as made by `normalised`, to logits [B, tags]."""
        tokens = self.swin(pixel_values=pictures).last_hidden_state
        tokens = self.image_proj(torch.cat([tokens.mean(dim=1, keepdim=True), tokens], dim=1))
        tags = functional.relu(self.wordvec_proj(self.label_embed)).expand(len(pictures), -1, -1)
        for layer in self.decoder:
            tags = layer(tags, tokens)
        logits: Tensor = self.fc(tags).squeeze(-1)
        return logits


def normalise_pictures(pictures: Sequence[RGB8], side: int) -> Tensor:
    """uint8 H x W x 3 pictures of any sizes as float32 [B, 3, side, side], by ImageNet's mean and deviation.

    Scaled to [0, 1] first and then resized as floats (bilinear, antialiased), as the published code does; Pillow
    would round to 8 bits in between.
    """
    planes = [
        functional.interpolate(
            torch.tensor(picture).permute(2, 0, 1)[None].float() / 255,
            size=(side, side),
            mode="bilinear",
            align_corners=False,
            antialias=True,
        )
        for picture in pictures
    ]
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    return (torch.cat(planes) - mean) / std
