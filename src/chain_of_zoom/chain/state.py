"""A scale-state: one picture of the chain and how it came about."""

from __future__ import annotations

from dataclasses import dataclass

from chain_of_zoom.chain.choice import Variant
from chain_of_zoom.chain.schedule import Origin
from chain_of_zoom.imaging.images import RGB8
from chain_of_zoom.truth.trust import Blocks, overlay_trust


@dataclass(frozen=True, kw_only=True)
class ScaleState:
    """One state of a zoom (the paper's x_i)."""

    image: RGB8
    """Pixels, uint8, H x W x 3, sRGB."""
    input: RGB8 | None = None
    """Bicubic enlargement that it was made from; None for states that were reduced, or read back from a folder."""
    magnification: float
    """Linear magnification, relative to the 1x frame."""
    source_scale: float
    """Output pixels per source pixel."""
    origin: Origin
    """Where its pixels come from."""
    window: tuple[float, float, float, float]
    """Window (x0, y0, x1, y1) in pixels of the oriented source picture; exact, so not always whole."""
    prompter: str | None = None
    """Name of the prompter; "edited" for a text that the user wrote into the record; None without a backbone."""
    prompt: str | None = None
    """Text as sent; None without a backbone."""
    prompt_raw: str | None = None
    """Text as extracted; None for the user's own."""
    prompt_confidences: dict[str, float] | None = None
    """How sure the prompter is of every word, 0 to 1; None where it cannot say."""
    prompt_used: bool = False
    """Whether the prompt changed the result."""
    variant: Variant | None = None
    """Alternative that the user chose."""
    finest: float | None = None
    """Finest real detail of the photo in the window, in its pixels; None where nothing stands out of the noise."""
    trusted: float | None = None
    """Share of its area that is expected to differ little from what was there; None where that is not known."""
    trust: Blocks | None = None
    """How likely that is in every block of 16x16 px, 0 to 1, rows x columns, if it was asked for."""
    beyond_evidence: bool = False
    """Whether it is generated, and deeper than the photo's detail there and the backbone's evidence limit support."""
    seconds: float = 0.0
    """Seconds for prompt and super-resolution together."""
    fallbacks: tuple[str, ...] = ()
    """Notes about what did not go the plain way."""

    @property
    def marked_image(self) -> RGB8:
        """Its pixels; red where they are more likely wrong than right, if the map of that was asked for."""
        return self.image if self.trust is None else overlay_trust(self.trust, self.image)


def magnification_name(magnification: float) -> str:
    """Write a magnification as `64x` or `7.81x`, for file names and captions."""
    return f"{magnification:.2f}".rstrip("0").rstrip(".") + "x"
