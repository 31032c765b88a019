"""A run as an animation: a smooth zoom through all its states, labelled in every frame and in the file."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from chain_of_zoom.chain.schedule import Origin
from chain_of_zoom.chain.sheet import BEYOND, COLOURS
from chain_of_zoom.chain.state import ScaleState, magnification_name
from chain_of_zoom.errors import UsageError
from chain_of_zoom.imaging.colour.profiles import to_srgb
from chain_of_zoom.imaging.encode import COMPOSITE, label
from chain_of_zoom.imaging.geometry import Size
from chain_of_zoom.imaging.images import RGB8, size_of, to_8_bits
from chain_of_zoom.imaging.sheet import Colour
from chain_of_zoom.movie.camera import eased
from chain_of_zoom.movie.frames import Frames
from chain_of_zoom.movie.strip import draw_strip, strip_height
from chain_of_zoom.parsing import is_text, printable

Track = Callable[[Iterable[RGB8]], Iterator[RGB8]]
FORMATS = (".webp", ".mp4")
TICK = 40  # milliseconds of a frame
HOLD = (800, 1600)  # milliseconds for which the first and the last frame stand
MAX_SIDE = {".webp": 768, ".mp4": 2048}
MAX_SECONDS = 600.0
QUICK = 50.0  # megapixels of frames: 8 s of a slow, busy core as measured


class Animation:
    """The frames of an animation, made as they are asked for, and how long each is shown.

    states: at least two, from the widest. seconds: of the movement; by default 1 and 1.4 for every 4x. side: the
    longest side of a frame, without the strip below. Raises UsageError.
    """

    def __init__(
        self, states: Sequence[ScaleState], seconds: float | None = None, side: int = MAX_SIDE[".webp"]
    ) -> None:
        if len(states) < 2 or states[-1].magnification <= states[0].magnification:
            raise UsageError(
                "nothing to animate: one state alone; accepted: a zoom of two or more; use a larger --zoom"
            )
        if seconds is not None and not 0.1 <= seconds <= MAX_SECONDS:
            raise UsageError(f"{seconds:g} seconds; accepted: 0.1 to {MAX_SECONDS:g}; for example --seconds 6")
        self.states = states
        full = size_of(states[0].image)
        scale = min(1.0, side / max(full))
        self.frames = Frames(states, Size(max(1, round(full.width * scale)), max(1, round(full.height * scale))))
        seconds = seconds or 1 + 1.4 * math.log(states[-1].magnification / states[0].magnification, 4)
        self.depths = eased(max(2, round(seconds * 1000 / TICK)))
        self.durations = [HOLD[0], *[TICK] * (len(self.depths) - 2), HOLD[1]]
        self._scale = [self._colour(x / max(1, self.size.width - 1)) for x in range(self.size.width)]

    @property
    def size(self) -> Size:
        """Of the picture in every frame, without the strip."""
        return self.frames.size

    @property
    def megapixels(self) -> float:
        """The work, which is in proportion to the pixels of all frames."""
        width, height = self.size
        return len(self.depths) * width * (height + strip_height(width)) / 1e6

    def __len__(self) -> int:
        return len(self.depths)

    def __iter__(self) -> Iterator[RGB8]:
        for depth in self.depths:
            yield np.concatenate([self.frames.at(depth), self._strip(depth)])

    def _strip(self, depth: float) -> RGB8:
        magnification = self.frames.magnification(depth)
        number = f"{magnification:.1f}x" if magnification < 9.95 else f"{magnification:.0f}x"
        what = self._least_certain(depth)
        texts = [f"{number}  {what.origin.value}"]
        if what.beyond_evidence:
            texts.insert(0, f"{texts[0]}, beyond evidence")
        return draw_strip(self._scale, depth, self._colour(depth), texts)

    def _least_certain(self, depth: float) -> ScaleState:
        """The state that a frame is labelled by: one invented pixel in sight and the frame is not called measured."""
        order = list(Origin)
        seen = [self.states[index] for index, _ in self.frames.shown(depth)]
        return max(seen, key=lambda state: (order.index(state.origin), state.beyond_evidence))

    def _colour(self, depth: float) -> Colour:
        what = self._least_certain(depth)
        return BEYOND if what.beyond_evidence else COLOURS[what.origin]


def is_quick(states: Sequence[ScaleState]) -> bool:
    """Whether an animation of these states is made unasked."""
    return len(states) > 1 and Animation(states).megapixels <= QUICK


def check_format(path: Path) -> str:
    """The suffix of an animation's file. Raises UsageError."""
    if not is_text(path.name):  # a record could not list it
        raise UsageError(f"-o {printable(path.name)!r} is not UTF-8, or has a NUL; accepted: any other name; change it")
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise UsageError(f"animation {path.name}; accepted: a name ending in {' or '.join(FORMATS)}; use zoom.webp")
    return suffix


def encode(
    animation: Animation, frames: Iterator[RGB8], suffix: str, about: str, profile: bytes | None = None
) -> bytes:
    """The file of an animation, in sRGB.

    frames: those of `animation`, possibly counted on their way. about: photo and model. profile: that they are in.
    """
    first, last = (magnification_name(animation.states[i].magnification) for i in (0, -1))
    generated = any(state.origin is Origin.GENERATED for state in animation.states)
    text = f"Zoom from {first} to {last} {about}".rstrip()
    if generated:
        text += "; frames marked generated were made by a model, not photographed"
    _, xmp = label(text, COMPOSITE if generated else None)
    if profile:
        frames = (to_8_bits(to_srgb(frame, profile)[0]) for frame in frames)
    if suffix == ".mp4":
        from chain_of_zoom.movie.video import encode_mp4

        return encode_mp4(_ahead(frames), animation.durations, TICK, xmp)
    from chain_of_zoom.movie.webp import encode_webp

    return encode_webp(_ahead(frames), animation.durations, xmp)


def _ahead(frames: Iterator[RGB8]) -> Iterator[RGB8]:
    """The same frames, each made while the one before is encoded."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, frames, None)
        while (frame := coming.result()) is not None:
            coming = pool.submit(next, frames, None)
            yield frame
