"""The prompter `words`: materials and objects in the parent and in the window, said only where they are sure."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from chain_of_zoom.errors import MissingError
from chain_of_zoom.prompters.base import LETTERS, PromptContext, Prompter
from chain_of_zoom.prompters.recognition.network import FOLDER, PARAM, WEIGHTS, FeatureNetwork
from chain_of_zoom.prompters.recognition.vocabulary import OBJECTS, class_numbers
from chain_of_zoom.weights.files import file_sha256

HEADS = FOLDER / "heads.npz"
LETTERS_HEAD = FOLDER / "letters.npz"
ROLES = {"network": PARAM, "weights": WEIGHTS, "heads": HEADS, "letters": LETTERS_HEAD}
MOST_WORDS = 5
NOTHING = "none"  # the head's answer for what is no material
OBJECT_THRESHOLD = 0.5  # docs/words.md

Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class RecognizedWord:
    """A word and how sure the prompter is of it."""

    text: str
    """The word, in English: "stone", "beetle"."""
    confidence: float
    """0 to 1; of words spoken with a confidence c, about the share c are right (docs/words.md)."""


class Recognizer(Prompter):
    """Names up to five materials and objects of the window, and says nothing when it is unsure.

    It looks at the state that is being zoomed into and at the window, as the paper's multi-scale prompts do, on the CPU
    with one thread; the answer depends on nothing else.
    """

    def __init__(self) -> None:
        self.name = "words"
        self._lock = threading.Lock()
        self._network: FeatureNetwork | None = None
        self._confidences: list[dict[str, float]] = []

    def load(self) -> None:
        """Read the weights, once. Raises MissingError, ShortageError."""
        with self._lock:
            if self._network is None:
                _ = self._heads
                self._network = FeatureNetwork()

    def weights_sha256(self) -> dict[str, str]:
        """Compute SHA-256 of the network's description, its weights and the heads."""
        return {role: file_sha256(path) for role, path in ROLES.items()}

    def __call__(self, contexts: Sequence[PromptContext]) -> list[str]:
        """Write the words of every window, joined by ", "; the empty text where nothing is sure."""
        answers = [self.recognize(context) for context in contexts]
        self._confidences = [{word.text: round(word.confidence, 3) for word in words} for words in answers]
        return [", ".join(words) for words in self._confidences]

    def list_confidences(self) -> list[dict[str, float]]:
        """Return the words of each text of the last call with their confidences."""
        return self._confidences

    def recognize(self, context: PromptContext) -> list[RecognizedWord]:
        """List the words of one window with their confidences, the surest first."""
        self.load()
        assert self._network
        window, parent = self._network(context.zoomed), self._network(context.states[-1])
        words = [*self._name_materials(window, parent), *self._name_objects(window, parent)]
        words += self._see_letters(window, parent)
        return sorted(words, key=lambda word: -word.confidence)[:MOST_WORDS]

    @cached_property
    def _heads(self) -> dict[str, Any]:
        heads: dict[str, Any] = {}
        for path in (HEADS, LETTERS_HEAD):
            try:
                with path.open("rb") as file, np.load(file) as archive:
                    heads |= {key: archive[key] for key in archive.files}
            except (OSError, ValueError, BadZipFile) as error:
                raise MissingError(
                    f"{path.name} cannot be read ({error}); type: pip install --force-reinstall chain-of-zoom"
                ) from error
        return heads

    def _name_materials(self, window: Floats, parent: Floats) -> list[RecognizedWord]:
        heads = self._heads
        features = np.concatenate((window, parent))
        shares = _softmax(features @ heads["material_weights"].astype(np.float32) + heads["material_bias"])
        return [
            RecognizedWord(text=str(name), confidence=float(share))
            for name, share, threshold in zip(heads["materials"], shares, heads["material_thresholds"], strict=True)
            if share >= threshold and name != NOTHING
        ]

    def _name_objects(self, window: Floats, parent: Floats) -> list[RecognizedWord]:
        """Sum the classes of each word, for the window and for the parent; both must find it likely."""
        near, wide = self._class_shares(window), self._class_shares(parent)
        words = []
        for text in OBJECTS:
            numbers = list(class_numbers(text))
            confidence = float(np.sqrt(near[numbers].sum() * wide[numbers].sum()))
            if confidence >= OBJECT_THRESHOLD:
                words.append(RecognizedWord(text=text, confidence=confidence))
        return words

    def _see_letters(self, window: Floats, parent: Floats) -> list[RecognizedWord]:
        """Say that there are letters in the window or around it."""
        weights = self._heads["letter_weights"].astype(np.float32)
        score = float(max(features @ weights[:-1] + weights[-1] for features in (window, parent)))
        if score <= self._heads["letter_threshold"]:
            return []
        return [RecognizedWord(text=LETTERS, confidence=min(0.5 + score / 2, 1.0))]

    def _class_shares(self, features: Floats) -> Floats:
        heads = self._heads
        logits = (heads["classes"].astype(np.float32) @ features) * heads["class_scales"] + heads["class_bias"]
        return _softmax(logits)


def _softmax(logits: Floats) -> Floats:
    powers = np.exp(logits - logits.max())
    shares: Floats = powers / powers.sum()
    return shares
