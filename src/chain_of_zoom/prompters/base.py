"""The contract between the chain and every prompter, and the one place where chat messages are written."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chain_of_zoom.imaging.images import RGB8
from chain_of_zoom.runtime.plan import Need
from chain_of_zoom.runtime.residence import Residence

SINGLE_SCALE = "What is in this image? Give me a set of words."
MULTI_SCALE = (
    "The second image is a zoom-in of the first image. Based on this knowledge, what is in the second image? "
    "Give me a set of words."
)


# Turns of {"role", "content"}; content: a list of {"type": "text", "text"} and {"type": "image", "image": uint8 array}
Messages = list[dict[str, Any]]


@dataclass(frozen=True)
class PromptContext:
    """Holds what a prompter may look at for one state of one picture."""

    states: Sequence[RGB8]
    """The states so far, oldest first, uint8 H x W x 3; the last is the one being zoomed into."""
    zoomed: RGB8
    """The window about to be enlarged, at the size of a state by bicubic: the prompt is about it."""
    magnification: float
    """Magnification of the state to come."""


LETTERS = "letters"
"""The word of a prompter that sees letters."""
LETTERS_WARNING = "letters: text looks right when it is enlarged, and is wrong most often"
NO_WORDS = "the prompter found no words"
"""What a state says where a prompter that looked wrote nothing."""


class Prompter(ABC):
    """Writes the text that guides the next step; called once per step with all pictures of a batch."""

    name: str
    """Name by which it is chosen."""
    looks: bool = True
    """Whether it looks at the pictures, so that an empty text is worth a note."""
    package: str | None = None
    """Name and version of the package that brings it as a plugin."""

    def load(self) -> None:  # noqa: B027 - prompters without weights have nothing to read
        """Read weights before the first call, where there are any. Raises MissingError."""

    def weights_sha256(self) -> dict[str, str]:
        """Return the SHA-256 of every weight file by its role; empty where there is none."""
        return {}

    def needs(self) -> Need | None:
        """Return the sizes of its networks for the policy of `runtime.plan`; None without a choice, and once loaded."""
        return None

    def place(self, residence: Residence) -> None:  # noqa: B027 - most have no choice
        """Take the place for its networks; called before the weights are read, if at all."""

    def fallbacks(self) -> list[str]:
        """Return notes on what did not go the plain way in the last call."""
        return []

    def list_confidences(self) -> list[dict[str, float]]:
        """Return how sure it is, 0 to 1, of every word of each text of the last call; nothing where it cannot say."""
        return []

    @abstractmethod
    def __call__(self, contexts: Sequence[PromptContext]) -> list[str]:
        """Return one text per context, as extracted, in order."""


def chat(context: PromptContext, *, multi_scale: bool = True) -> Messages:
    """Write the messages for a vision-language model: the question in the system role, only pictures in the user turn.

    Multi-scale shows the previous state, whole, and then the zoomed window (paper, section 3.2: AR-2);
    single-scale only the latter. Pictures are uint8 arrays under the key "image".
    """
    pictures = [context.states[-1], context.zoomed] if multi_scale else [context.zoomed]
    question = MULTI_SCALE if multi_scale else SINGLE_SCALE
    return [
        {"role": "system", "content": [{"type": "text", "text": question}]},
        {"role": "user", "content": [{"type": "image", "image": picture} for picture in pictures]},
    ]
