"""The words of a tile: decided by a person, or written by a prompter that looks at what the tile is made from."""

from __future__ import annotations

import msgspec

from chain_of_zoom.backbones.base import Backbone
from chain_of_zoom.chain.enlargement import prompt_from
from chain_of_zoom.imaging.geometry import Size
from chain_of_zoom.imaging.images import RGB8, resize, size_of
from chain_of_zoom.prompters.base import NO_WORDS, PromptContext, Prompter

BY_USER = "user"
"""Who wrote words that a person decided on."""


class TileWords(msgspec.Struct, frozen=True, kw_only=True):
    """The words of a tile."""

    text: str = ""
    """The prompt as the backbone gets it."""
    by: str = ""
    """Who wrote it: the name of a prompter, "user", or nothing where nobody was asked."""
    note: str = ""
    """What did not go the plain way."""


def ask_words(prompter: Prompter, parent: RGB8, window: RGB8, factor: int, magnification: float) -> TileWords:
    """Let a prompter look at the parent and at the window of a tile, enlarged, as `coz zoom` does, and write.

    parent, window: uint8, H x W x 3. magnification: pixels of the tile for each of the photo. Raises its errors.
    """
    size = size_of(window)
    zoomed = resize(window, Size(size.width * factor, size.height * factor), "bicubic")
    (raw,) = prompter([PromptContext([parent], zoomed, magnification)])
    extracted, prompt = prompt_from(raw, "", as_published=False)
    notes = [*prompter.fallbacks(), *([NO_WORDS] if prompter.looks and not extracted else [])]
    return TileWords(text=prompt, by=prompter.name, note="; ".join(notes))


def is_asked(prompter: Prompter, backbone: Backbone) -> bool:
    """Whether a prompter is asked: one that writes anything, for a backbone that reads it."""
    return backbone.info.text_aware and prompter.name != "null"
