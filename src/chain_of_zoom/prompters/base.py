"""The contract between the chain and every prompter, and the one place where chat messages are written."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from chain_of_zoom.imaging.images import RGB8, enlarge

SINGLE_SCALE = "What is in this image? Give me a set of words."
MULTI_SCALE = (
    "The second image is a zoom-in of the first image. Based on this knowledge, what is in the second image? "
    "Give me a set of words."
)


@dataclass(frozen=True)
class PromptContext:
    """What a prompter may look at for one state of one picture.

    states: the states so far, oldest first, uint8 H x W x 3; the last is the one being zoomed into.
    window: the part of it (or of the photo) that the backbone is about to enlarge, its own pixels.
    factor: of that enlargement. magnification: of the state to come.
    """

    states: Sequence[RGB8]
    window: RGB8
    factor: int
    magnification: float

    @cached_property
    def zoomed(self) -> RGB8:
        """The window enlarged by bicubic: the picture the prompt is about."""
        return enlarge(self.window, self.factor)


class Prompter(ABC):
    """Writes the text that guides the next step; called once per step with all pictures of a batch."""

    name: str

    @abstractmethod
    def __call__(self, contexts: Sequence[PromptContext]) -> list[str]:
        """One text per context, as extracted, in order."""


def chat(context: PromptContext, *, multi_scale: bool = True) -> list[dict[str, Any]]:
    """Messages for a vision-language model: the question in the system role, only pictures in the user turn.

    Multi-scale shows the previous state, whole, and then the zoomed window (paper, section 3.2: AR-2);
    single-scale only the latter. Pictures are uint8 arrays under the key "image".
    """
    pictures = [context.states[-1], context.zoomed] if multi_scale else [context.zoomed]
    question = MULTI_SCALE if multi_scale else SINGLE_SCALE
    return [
        {"role": "system", "content": [{"type": "text", "text": question}]},
        {"role": "user", "content": [{"type": "image", "image": picture} for picture in pictures]},
    ]
