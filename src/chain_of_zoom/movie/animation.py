"""A run as an animation: a smooth zoom through all its states, labelled in every frame and in the file."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from chain_of_zoom.chain.schedule import Origin
from chain_of_zoom.chain.sheet import BEYOND, COLOURS
from chain_of_zoom.chain.state import ScaleState, magnification_name
from chain_of_zoom.errors import UsageError
from chain_of_zoom.imaging.colour.profiles import to_srgb
from chain_of_zoom.imaging.encode import COMPOSITE, label
from chain_of_zoom.imaging.fonts import find_font
from chain_of_zoom.imaging.geometry import Size
from chain_of_zoom.imaging.images import RGB8, size_of, to_8_bits
from chain_of_zoom.imaging.sheet import BACKGROUND, TEXT, Colour
from chain_of_zoom.movie.camera import ease_depths
from chain_of_zoom.movie.encoding import encode_mp4, encode_webp
from chain_of_zoom.movie.frames import Frames
from chain_of_zoom.parsing import is_text, printable

Track = Callable[[Iterable[RGB8]], Iterator[RGB8]]
FORMATS = (".webp", ".mp4")
TICK = 40  # milliseconds of a frame
HOLD = (800, 1600)  # milliseconds for which the first and the last frame stand
MAX_SIDE = {".webp": 768, ".mp4": 2048}
MAX_SECONDS = 600.0
QUICK = 50.0  # megapixels of frames: 8 s of a slow, busy core as measured
NARROW = 128  # pixels of width from which words can be read


class Animation:
    """The frames of an animation, made as they are asked for, and how long each is shown."""

    def __init__(
        self, states: Sequence[ScaleState], seconds: float | None = None, side: int = MAX_SIDE[".webp"]
    ) -> None:
        """Plan the frames; none is made. Raises UsageError.

        states: at least two, from the widest. seconds: of the movement; by default 1 and 1.4 for every 4x. side: the
        longest side of a frame, without the strip below.
        """
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
        self.depths = ease_depths(max(2, round(seconds * 1000 / TICK)))
        self.durations = [HOLD[0], *[TICK] * (len(self.depths) - 2), HOLD[1]]
        self._scale = [self._colour(x / max(1, self.size.width - 1)) for x in range(self.size.width)]

    @property
    def size(self) -> Size:
        """Size of the picture in every frame, without the strip."""
        return self.frames.size

    @property
    def megapixels(self) -> float:
        """Pixels of all frames, to which the work is in proportion."""
        width, height = self.size
        return len(self.depths) * width * (height + strip_height(width)) / 1e6

    def __len__(self) -> int:
        return len(self.depths)

    def __iter__(self) -> Iterator[RGB8]:
        for depth in self.depths:
            yield np.concatenate([self.frames.draw(depth), self._strip(depth)])

    def _strip(self, depth: float) -> RGB8:
        magnification = self.frames.magnification(depth)
        number = f"{magnification:.1f}x" if magnification < 9.95 else f"{magnification:.0f}x"
        state = self._find_least_certain(depth)
        texts = [f"{number}  {state.origin.value}"]
        if state.beyond_evidence:
            texts.insert(0, f"{texts[0]}, beyond evidence")
        if state.trust is not None:
            texts.insert(0, f"{texts[0]}; red: more likely wrong")
        return draw_strip(self._scale, depth, self._colour(depth), texts)

    def _find_least_certain(self, depth: float) -> ScaleState:
        """Return the state that labels a frame: with one invented pixel in sight, the frame is not called measured."""
        order = list(Origin)
        visible = [self.states[index] for index, _ in self.frames.weigh(depth)]
        return max(visible, key=lambda state: (order.index(state.origin), state.beyond_evidence))

    def _colour(self, depth: float) -> Colour:
        state = self._find_least_certain(depth)
        return BEYOND if state.beyond_evidence else COLOURS[state.origin]


def is_quick(states: Sequence[ScaleState]) -> bool:
    """Return whether an animation of these states takes so little time that it is made unasked."""
    return len(states) > 1 and Animation(states).megapixels <= QUICK


def check_format(path: Path) -> str:
    """Return the suffix of an animation's file. Raises UsageError."""
    if not is_text(path.name):  # a record could not list it
        raise UsageError(f"-o {printable(path.name)!r} is not UTF-8, or has a NUL; accepted: any other name; change it")
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise UsageError(f"animation {path.name}; accepted: a name ending in {' or '.join(FORMATS)}; use zoom.webp")
    return suffix


def encode(
    animation: Animation, frames: Iterator[RGB8], suffix: str, about: str, profile: bytes | None = None
) -> bytes:
    """Encode the file of an animation, in sRGB.

    frames: those of `animation`, possibly counted on their way. about: photo and model. profile: of their colours.
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
        return encode_mp4(_ahead(frames), animation.durations, TICK, xmp)
    return encode_webp(_ahead(frames), animation.durations, xmp)


def _ahead(frames: Iterator[RGB8]) -> Iterator[RGB8]:
    """Yield the same frames, each made while the one before is encoded."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, frames, None)
        while (frame := coming.result()) is not None:
            coming = pool.submit(next, frames, None)
            yield frame


def strip_height(width: int) -> int:
    """Return the height in pixels, which is even; of the bar alone where the frame is too narrow for words."""
    return 2 * round(0.9 * _letters(width) + 5) if width >= NARROW else 8


def draw_strip(scale: Sequence[Colour], position: float, colour: Colour, texts: Sequence[str]) -> RGB8:
    """Draw the strip below a frame: a bar that shows how far in it is, and the words for what it shows.

    scale: a colour for every pixel of the width; they are bright up to `position`, from 0 to 1. texts: of which the
    longest that fits is written, in `colour`.
    """
    width = len(scale)
    strip = Image.new("RGB", (width, strip_height(width)), BACKGROUND)
    bar = max(4, round(_letters(width) * 0.3))
    reached = round(position * width)
    shades = np.array(scale, np.uint8)
    shades[reached:] //= 3
    strip.paste(Image.fromarray(np.repeat(shades[None], bar, axis=0)))
    draw = ImageDraw.Draw(strip)
    draw.rectangle((max(0, reached - 2), 0, max(0, reached - 2) + 2, bar + 1), TEXT)
    if width >= NARROW:
        letters = find_font(_letters(width))
        text = next((text for text in texts if letters.getlength(text) <= width - 12), texts[-1])
        draw.text((6, (bar + strip.height) / 2), text, colour, letters, anchor="lm")
    return np.asarray(strip).copy()


def _letters(width: int) -> int:
    """Return the font size in pixels."""
    return min(max(width // 26, 11), 28)
