"""Where words are in a picture: a vision-language model is asked for boxes, and each box is looked at again, closer.

Models count in coordinates of their own, and see things that are not there. So the picture is shown at a size that none
of them changes, answers are read strictly, and only what the model finds anew in a close-up counts as sure.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol, runtime_checkable

import msgspec

from chain_of_zoom.errors import BadInputError
from chain_of_zoom.imaging.geometry import Box, Point, Size
from chain_of_zoom.imaging.images import RGB8, resize, size_of
from chain_of_zoom.parsing import parse_json
from chain_of_zoom.prompters.base import Messages

SIDE = 1008  # px of the longer side: 36 patches of Qwen2.5-VL, whose boxes are in the pixels that it is shown
CLOSE_UP = 3  # times a box's longer side
AGREEMENT = 0.3  # least share of two boxes, intersection by union, to be the same thing
MOST_PLACES = 9
ANSWER_TOKENS = 400
TRIES = 2

QUESTION = (
    'Find "{words}" in this picture of {width} x {height} pixels. Answer with JSON and nothing else: '
    '{{"places": [{{"box": [x0, y0, x1, y1]}}]}}, a box in pixels around every place that fits, the best one first, '
    'and {{"places": []}} if there is none.'
)
COMPLAINT = "That was not usable: {problem}. Answer the question again, with such JSON and nothing else."


@runtime_checkable
class AnsweringModel(Protocol):
    """A prompter that answers questions about pictures: vlm and remote do."""

    name: str
    """Name of the prompter."""
    model: str
    """Name of the model."""
    max_new_tokens: int
    """Length of an answer."""

    def load(self) -> None:
        """Read the weights."""

    def ask(self, conversations: Sequence[Messages]) -> list[str]:
        """Return one answer per conversation."""


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """Holds one place that a model named."""

    box: Box
    """The place, in pixels of the picture."""
    is_confirmed: bool
    """Whether the model found it again in a close-up."""


class PlaceAnswer(msgspec.Struct):
    """Reads one box of an answer; `bbox_2d` is what the paper's own model was taught to write."""

    box: tuple[float, float, float, float] | None = None
    """Edges x0, y0, x1, y1 in pixels."""
    bbox_2d: tuple[float, float, float, float] | None = None
    """The same, by another name."""


class PlacesAnswer(msgspec.Struct):
    """Reads an answer."""

    places: list[PlaceAnswer]
    """Its boxes."""


def find_places(model: AnsweringModel, picture: RGB8, words: str) -> list[Sighting]:
    """Ask where `words` are in a picture (uint8, H x W x 3): the places it names, best first; empty for none.

    Raises BadInputError for answers that make no sense, and the errors of the model.
    """
    model.load()
    model = copy.copy(model)  # the same weights and server, but answers longer than a prompt
    model.max_new_tokens = ANSWER_TOKENS
    boxes = ask_places(model, picture, words)
    return [Sighting(box=box, is_confirmed=_is_seen_closer(model, picture, words, box)) for box in boxes[:MOST_PLACES]]


def ask_places(model: AnsweringModel, picture: RGB8, words: str) -> list[Box]:
    """Ask once, and once more where the answer is not usable. Returns boxes in pixels of the picture."""
    full = size_of(picture)
    scale = Fraction(SIDE, max(full))
    seen_size = Size(*(max(28, round(side * scale)) for side in full))
    question = QUESTION.format(words=words, width=seen_size.width, height=seen_size.height)
    content = [{"type": "text", "text": question}, {"type": "image", "image": resize(picture, seen_size, "bicubic")}]
    conversation: Messages = [{"role": "user", "content": content}]
    problem = ""
    for _ in range(TRIES):
        [answer] = model.ask([conversation])
        try:
            boxes = parse_places(answer, seen_size)
        except ValueError as error:
            problem = str(error)
            conversation = [
                *conversation,
                {"role": "assistant", "content": [{"type": "text", "text": answer[:2000]}]},
                {"role": "user", "content": [{"type": "text", "text": COMPLAINT.format(problem=problem)}]},
            ]
        else:
            ratio = Fraction(full.width, seen_size.width), Fraction(full.height, seen_size.height)
            return [box.scaled(*ratio) for box in boxes]
    raise BadInputError(
        f"{model.model} gave no usable place of {words!r}: {problem}; accepted: a model that answers with boxes, such "
        "as Qwen2.5-VL; take another --model, or type --at X,Y"
    )


def parse_places(answer: str, size: Size) -> list[Box]:
    """Read the boxes of an answer about a picture of `size`. Raises ValueError, in words for the model, for any other.

    Fences and words around the JSON are forgiven, and nothing else.
    """
    parsed: PlacesAnswer | list[PlaceAnswer] | None = None
    if match := re.search(r"\{.*\}|\[.*\]", answer, re.DOTALL):
        with suppress(msgspec.DecodeError):
            parsed = parse_json(match[0].encode(errors="replace"), PlacesAnswer | list[PlaceAnswer])  # type: ignore[arg-type]
    if parsed is None:
        raise ValueError('it is not JSON of the form {"places": [{"box": [x0, y0, x1, y1]}]}')
    boxes: list[Box] = []
    for place in parsed.places if isinstance(parsed, PlacesAnswer) else parsed:
        edges = place.box or place.bbox_2d
        if edges is None:
            raise ValueError("a place has no box")
        x0, y0, x1, y1 = edges
        # A pixel beyond the edge is rounding, and more is a box of some other picture; comparisons refuse NaN.
        if not (-1 <= x0 < x1 <= size.width + 1 and -1 <= y0 < y1 <= size.height + 1):
            raise ValueError(f"the box {list(edges)} is empty or outside the picture of {size} pixels")
        box = _clip(edges, size)
        if box.width < 1 or box.height < 1:
            raise ValueError(f"the box {list(edges)} is less than a pixel")
        if not any(share_area(box, earlier) > 0.9 for earlier in boxes):  # said twice
            boxes.append(box)
    return boxes


def _is_seen_closer(model: AnsweringModel, picture: RGB8, words: str, box: Box) -> bool:
    """Whether the model names the same box when it is shown the part around it alone."""
    around = surround(box, size_of(picture))
    x0, y0, x1, y1 = around.whole()
    try:
        boxes = ask_places(model, picture[y0:y1, x0:x1], words)
    except BadInputError:
        return False
    return any(share_area(place.shifted(x0, y0), box) >= AGREEMENT for place in boxes)


def surround(box: Box, size: Size) -> Box:
    """Return the part of a picture around a box, in whole pixels: square, but for the edges of the picture."""
    reach = Fraction(CLOSE_UP, 2) * max(box.width, box.height, Fraction(16))
    centre: Point = box.centre
    return _clip((centre.x - reach, centre.y - reach, centre.x + reach, centre.y + reach), size).hull()


def _clip(edges: Sequence[float | Fraction], size: Size) -> Box:
    limits = (size.width, size.height) * 2
    return Box(*(min(max(Fraction(edge), Fraction(0)), Fraction(m)) for edge, m in zip(edges, limits, strict=True)))


def share_area(first: Box, second: Box) -> float:
    """Return the intersection of two boxes by their union, 0 to 1."""
    width = min(first.x1, second.x1) - max(first.x0, second.x0)
    height = min(first.y1, second.y1) - max(first.y0, second.y0)
    common = max(width, Fraction(0)) * max(height, Fraction(0))
    return float(common / (first.width * first.height + second.width * second.height - common))
