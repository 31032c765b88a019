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
    """Holds everything that fixes the network's shapes; in brackets: the published file's."""

    width: int
    """Channels of the transformer's first stage (192)."""
    depths: tuple[int, ...]
    """Blocks of each stage (2, 2, 18, 2)."""
    heads: tuple[int, ...]
    """Attention heads of each stage (6, 12, 24, 48)."""
    window: int
    """Side of an attention window, in patches (12)."""
    patch: int
    """Side of a patch, in pixels (4)."""
    tags: int
    """Number of tags (4585)."""
    label_width: int
    """Channels of a tag's embedding, and of the image tokens (512)."""
    hidden: int
    """Channels of the decoder (768)."""
    feed_forward: int
    """Channels inside its feed-forward layers (3072)."""
    layers: int
    """Its layers (2)."""
    decoder_heads: int
    """Its attention heads (4)."""

    @property
    def image(self) -> int:
        """Return the side of the input in pixels, at which Swin's last stage is a single window (published: 384)."""
        return self.patch * self.window << (len(self.depths) - 1)


class TagLayer(nn.Module):
    """A decoder layer: tags attend to the picture, not to one another, then pass a feed-forward; norms come last."""

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
        """Map tags [B, T, hidden] and image tokens [B, N, label width] to [B, T, hidden]."""
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (self.query(tags), self.key(tokens), self.value(tokens))
        )
        attended = functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        tags = self.norm1(tags + self.out(attended))
        result: Tensor = self.norm2(tags + self.down(functional.gelu(self.up(tags))))
        return result


class Ram(nn.Module):
    """Maps pictures to one logit per tag."""

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
        """Map float pictures [B, 3, image, image], as `normalise_pictures` returns, to logits [B, tags]."""
        tokens = self.swin(pixel_values=pictures).last_hidden_state
        tokens = self.image_proj(torch.cat([tokens.mean(dim=1, keepdim=True), tokens], dim=1))
        tags = functional.relu(self.wordvec_proj(self.label_embed)).expand(len(pictures), -1, -1)
        for layer in self.decoder:
            tags = layer(tags, tokens)
        logits: Tensor = self.fc(tags).squeeze(-1)
        return logits


def normalise_pictures(pictures: Sequence[RGB8], side: int) -> Tensor:
    """Turn uint8 H x W x 3 pictures of any sizes into float32 [B, 3, side, side], by ImageNet's mean and deviation.

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
