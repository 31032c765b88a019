"""Checks what a user asks for, in the user's units, and translates it into an aim and steps."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Annotated, Any, Literal, ParamSpec, TypedDict, TypeVar, Unpack

import msgspec

from chain_of_zoom.chain.place import Place
from chain_of_zoom.chain.restraint import Restraint
from chain_of_zoom.chain.schedule import MAX_MAGNIFICATION, Aim, Origin, Step, plan_chain, plan_direct, plan_published
from chain_of_zoom.errors import UsageError, suggest
from chain_of_zoom.imaging.colour.transfer import COLOR_FIXES, ColorFix
from chain_of_zoom.imaging.geometry import Box, Point, Size, fit_scale, whole_picture
from chain_of_zoom.imaging.images import RGB8, crop_padded, resize, size_of
from chain_of_zoom.parsing import is_text, parse_number, parse_whole, plain
from chain_of_zoom.settings import ADVANCED, MAIN, PAPER, Flag, check_settings
from chain_of_zoom.wording import python_words

Mode = Literal["chain", "direct"]
Protocol = Literal["default", "paper"]
Until = Literal["zoom", "supported"]

DEFAULT_ZOOM = 16.0
MAX_SIDE = 8192
PAPER_SIDE = 512
P = ParamSpec("P")
Result = TypeVar("Result")

_SPOT = "accepted: two fractions from 0 to 1, or pixels with px; for example --at 0.62,0.4 or --at 310px,200px"
_BOX = "accepted: x0,y0,x1,y1 inside the picture, in pixels or fractions; for example --box 310,200,460,300"


def parse_size(text: str) -> tuple[int, int]:
    """Read `768x512` as (768, 512). Raises UsageError."""
    width, _, height = text.lower().partition("x")
    size = parse_whole(width), parse_whole(height)
    if size[0] is None or size[1] is None:
        raise UsageError(f"--size {text!r}; accepted: WIDTHxHEIGHT in pixels; for example --size 768x512")
    return size[0], size[1]


def parse_zoom(text: str) -> float:
    """Read `64`, `7.5` or `64x` as a number of at least 1. Raises UsageError."""
    try:
        value = float(parse_number(text.strip().lower().removesuffix("x")))
    except ValueError:
        value = math.nan
    return _check_zoom(value, text)


def _check_zoom(value: float, text: str) -> float:
    if not 1 <= value <= MAX_MAGNIFICATION:  # also refuses NaN
        raise UsageError(f"--zoom {text}; accepted: a number from 1 to {MAX_MAGNIFICATION}; for example --zoom 64")
    return value


class ZoomRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Asks for one zoom; it stands in the record as `settings`.

    The command line and its lists read its fields here: a field with a Flag is an option of `coz zoom`, and its line of
    documentation is the option's help. ZoomSettings below has the types of the keywords of Python's functions.
    Raises UsageError when a value makes no sense.
    """

    at: Annotated[str | None, Flag(metavar="X,Y", panel=MAIN, is_column=True, is_repeatable=True)] = None
    """The spot: fractions (0.62,0.4) or pixels (310px,200px); else the centre. Again for further spots."""
    zoom: Annotated[float | None, Flag(metavar="N", panel=MAIN, parse=parse_zoom, is_column=True)] = None
    """Total magnification, linear, from 1; 16 by default."""
    until: Annotated[Until, Flag(metavar="zoom|supported", panel=MAIN, is_column=True)] = "zoom"
    """supported: stop where the photo's detail at the spot and tests of the backbone support no more."""
    box: Annotated[str | None, Flag(metavar="X0,Y0,X1,Y1", panel=MAIN, is_column=True)] = None
    """The final window, in pixels or fractions, instead of --at and --zoom."""
    find: Annotated[str, Flag(metavar="TEXT", panel=MAIN, is_column=True)] = ""
    """What to zoom into, in words: a model finds it (--prompter vlm or remote); without --zoom it fills the picture."""
    size: Annotated[tuple[int, int] | None, Flag(metavar="WxH", panel=MAIN, parse=parse_size, is_column=True)] = None
    """Pixels of every state; 512x512 by default, the box's shape with --box."""
    mode: Annotated[Mode, Flag(metavar="chain|direct", panel=ADVANCED)] = "chain"
    """direct: one resample and one pass, the baseline."""
    protocol: Annotated[Protocol, Flag(metavar="default|paper", panel=PAPER)] = "default"
    """paper: exactly the published loop (512 px, centre, powers of 4)."""
    prompt: Annotated[str, Flag(metavar="TEXT", panel=MAIN, is_column=True)] = ""
    """Your own words, for backbones that read prompts."""
    color_fix: Annotated[ColorFix, Flag(metavar="none|adain|wavelet", panel=ADVANCED)] = "none"
    """Give every enlarged state the colours it was made from; none by default."""
    detail: Annotated[float, Flag(metavar="0..1", panel=ADVANCED, is_column=True)] = 1.0
    """Share of what the backbone adds to plain enlargement; 1 by default, all of it."""
    faithful: Annotated[bool, Flag(metavar="", panel=ADVANCED)] = False
    """Make every enlarged state give its parent again when it is reduced."""
    trust: Annotated[bool, Flag(metavar="", panel=ADVANCED)] = False
    """Write a trust map of every generated state, NN_trust.png, and show it on the sheet."""
    seed: Annotated[int, Flag(metavar="N", panel=ADVANCED, is_column=True)] = 0
    """Seed of everything random; 0 by default."""

    def __post_init__(self) -> None:
        if self.color_fix not in COLOR_FIXES:
            raise UsageError(
                f"colour fix {self.color_fix!r}; accepted: {', '.join(COLOR_FIXES)}; type: --color-fix wavelet"
            )
        if self.mode not in ("chain", "direct"):
            raise UsageError(f"mode {self.mode!r}; accepted: chain, direct; for example --mode chain")
        if self.protocol not in ("default", "paper"):
            raise UsageError(f"protocol {self.protocol!r}; accepted: default, paper; for example --protocol paper")
        if self.until not in ("zoom", "supported"):
            raise UsageError(f"until {self.until!r}; accepted: zoom, supported; for example --until supported")
        check_prompt(self.prompt)
        if self.find:
            check_prompt(self.find)
            if self.at is not None or self.box is not None:
                raise UsageError("--find says the spot in words; accepted: it, or --at, or --box; leave out the others")
        if self.faithful and self.color_fix != "none":
            raise UsageError("--faithful keeps the colours, and --color-fix changes them; leave --color-fix out")
        if not self.restraint.is_none and self.protocol == "paper":
            raise UsageError(
                "--detail and --faithful do not go with --protocol paper, the published loop; leave them out"
            )
        if not 0 <= self.seed < 2**63:
            raise UsageError(f"seed {self.seed}; accepted: whole numbers from 0; for example --seed 7")
        if self.box is not None and (self.at is not None or self.zoom is not None):
            raise UsageError("--box already gives the spot and the magnification; use --box alone, or --at with --zoom")
        if self.at is not None:
            _numbers("--at", self.at, 2, _SPOT)
        if self.box is not None:
            _numbers("--box", self.box, 4, _BOX)
        if self.zoom is not None:
            _check_zoom(self.zoom, f"{self.zoom:g}")
        if self.size and not all(1 <= side <= MAX_SIDE for side in self.size):
            raise UsageError(
                f"size {Size(*self.size)}; accepted: 1x1 to {MAX_SIDE}x{MAX_SIDE}; for example --size 768x512"
            )
        if self.protocol == "paper":
            self._check_paper()

    @property
    def usual_prompter(self) -> str | None:
        """The prompter where none is named, None for the usual one: no words are made up where evidence decides."""
        return "null" if self.until == "supported" else None

    @property
    def restraint(self) -> Restraint:
        """How far states may go. Raises UsageError."""
        return Restraint(detail=self.detail, faithful=self.faithful)

    def _check_paper(self) -> None:
        until = None if self.until == "zoom" else self.until
        places = (("--at", self.at), ("--box", self.box), ("--find", self.find))
        for name, value in (*places, ("--until", until), ("--size", self.size)):
            if value:
                raise UsageError(
                    f"{name} does not go with --protocol paper, which is the centre at 512x512; leave it out"
                )
        zoom = DEFAULT_ZOOM if self.zoom is None else self.zoom
        if zoom not in (1, 4, 16, 64, 256):
            raise UsageError(f"--zoom {zoom:g} with --protocol paper; accepted: 1, 4, 16, 64, 256; use --zoom 256")

    def output(self) -> Size:
        """Return the pixel size of every state: as asked, else 512x512 (a box brings its own shape)."""
        return Size(*self.size) if self.size else Size(PAPER_SIDE, PAPER_SIDE)

    def aim(self, picture: Size, place: Place | None = None) -> Aim:
        """Return the same request in pixels of a picture. Raises UsageError when it lies outside.

        place: what the words of `find` mean; the final window where there is no magnification, else its middle.
        """
        if self.find and place is None:
            raise UsageError("--find is not looked for here; accepted: --at X,Y; leave it out")
        frame = place.frame(picture) if place else None
        if self.box is not None:
            frame = parse_box(self.box, picture)
        if frame and self.zoom is None:
            return self._box_aim(picture, frame)
        zoom = self.zoom or (DEFAULT_ZOOM if self.until == "zoom" else MAX_MAGNIFICATION)
        spot = parse_spot(self.at, picture) if self.at is not None else (frame or whole_picture(picture)).centre
        return Aim(picture=picture, output=self.output(), spot=spot, magnification=Fraction(repr(zoom)))

    def _box_aim(self, picture: Size, box: Box) -> Aim:
        """Aim at the box or, where the output has another shape, at the smallest window of that shape around it."""
        output = self.output() if self.size else _shape_of(box)
        scale = max(box.width / output.width, box.height / output.height)
        fit = fit_scale(picture, output)
        if not self.size:  # the shape is the box's, but for rounding to whole pixels
            scale = min(scale, fit)
        if scale > fit:
            raise UsageError(
                f"no window of shape {output} around that box fits in the picture of {picture} px; "
                "accepted: a smaller box; or give --size the shape of the box"
            )
        return Aim(picture=picture, output=output, spot=box.centre, magnification=fit / scale)


ZoomSettings = TypedDict(  # noqa: UP013 (ZoomRequest documents its fields)
    "ZoomSettings",
    {
        "magnification": float | None,
        "box": tuple[float, float, float, float] | str | None,
        "find": str,
        "size": tuple[int, int] | None,
        "until": Until,
        "mode": Mode,
        "protocol": Protocol,
        "prompt": str,
        "color_fix": ColorFix,
        "detail": float,
        "faithful": bool,
        "trust": bool,
        "seed": int,
    },
    total=False,
)
"""The keywords of `zoom` and its relatives, besides `at`: ZoomRequest's fields as Python has them."""
FIELDS = {"magnification": "zoom"}
"""Fields of ZoomRequest whose keyword has another name."""


@python_words()
def make_request(*, at: tuple[float, float] | str | None = None, **settings: Unpack[ZoomSettings]) -> ZoomRequest:
    """Check settings as Python has them. Raises UsageError, and TypeError for a keyword that is none."""
    values: dict[str, Any] = {"at": at, **settings}
    for name in values:
        if name != "at" and name not in ZoomSettings.__annotations__:
            suggestion = suggest(name, ZoomSettings.__annotations__, "see help(chain_of_zoom.zoom)")
            raise TypeError(f"zoom() got an unexpected keyword argument {name!r}; {suggestion}")
    values = {FIELDS.get(name, name): value for name, value in values.items()}
    values |= {name: format_spot(plain(values[name])) for name in ("at", "box") if name in values}
    return check_settings(values, ZoomRequest, "settings of zoom", "see help(chain_of_zoom.zoom)")


def spell_settings(function: Callable[P, Result]) -> Callable[P, Result]:
    """Give a function with `**settings: Unpack[ZoomSettings]` a signature that lists them, for help() and the pages."""
    parameters: list[inspect.Parameter] = []
    keyword = inspect.Parameter.KEYWORD_ONLY
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD:
            parameters.append(parameter)
        if parameter.name == "at":
            for name, annotation in ZoomSettings.__annotations__.items():
                default = getattr(ZoomRequest(), FIELDS.get(name, name))
                parameters.append(inspect.Parameter(name, keyword, default=default, annotation=annotation))
    signature = inspect.signature(function).replace(parameters=parameters)
    function.__signature__ = signature  # type: ignore[attr-defined]
    return function


def check_prompt(text: str) -> None:
    """Raise UsageError for a text that no record can hold."""
    if not is_text(text):
        raise UsageError("--prompt is not UTF-8, or has a NUL; accepted: a text in UTF-8; check its characters")


def format_spot(values: Sequence[float] | str | None) -> str | None:
    """Write the numbers of a spot or box as text. Raises UsageError."""
    if values is None or isinstance(values, str):
        return values
    if not isinstance(values, Sequence) or not all(isinstance(value, int | float | str) for value in values):
        raise UsageError(f"at or box is {values!r}; accepted: numbers in a tuple, or text; for example at=(0.62, 0.4)")
    return ",".join(str(value) for value in values)


def plan(
    request: ZoomRequest,
    pixels: RGB8,
    factor: int,
    *,
    resampled: bool,
    place: Place | None = None,
    find_limit: Callable[[Aim], Fraction] | None = None,
) -> tuple[RGB8, Size, list[Step]]:
    """Return the picture to cut from, the output size and the steps."""
    picture = size_of(pixels)
    if request.protocol == "paper":
        return _plan_paper(request, pixels, resampled=resampled)
    aim = request.aim(picture, place)
    if find_limit and request.until == "supported":
        aim = replace(aim, magnification=min(aim.magnification, find_limit(aim)))
    origin = Origin.INTERPOLATED if resampled else Origin.GENERATED
    steps = plan_direct(aim, origin) if request.mode == "direct" else plan_chain(aim, factor, origin)
    return pixels, aim.output, steps


def _plan_paper(request: ZoomRequest, pixels: RGB8, *, resampled: bool) -> tuple[RGB8, Size, list[Step]]:
    """Make x0: short side to 512 by Lanczos, sizes truncated, centre 512x512 (as published).

    Sizes are truncated in floats as published: for about one short side in ten that gives 511, and a black line.
    """
    width, height = size_of(pixels)
    scale = PAPER_SIDE / min(width, height)
    size = Size(int(width * scale), int(height * scale))
    left_edge, top = (size.width - PAPER_SIDE) // 2, (size.height - PAPER_SIDE) // 2
    x0 = crop_padded(resize(pixels, size, "lanczos"), left_edge, top, Size(PAPER_SIDE, PAPER_SIDE))
    square = Box(Fraction(left_edge), Fraction(top), Fraction(left_edge + PAPER_SIDE), Fraction(top + PAPER_SIDE))
    placement = square.scaled(Fraction(width, size.width), Fraction(height, size.height))
    count = round(math.log(DEFAULT_ZOOM if request.zoom is None else request.zoom, 4))
    steps = plan_published(
        count, PAPER_SIDE, placement, from_x0=resampled or request.mode == "direct", resampled=resampled
    )
    return x0, Size(PAPER_SIDE, PAPER_SIDE), steps


def _shape_of(box: Box) -> Size:
    """Return the size with the box's shape and a long side of 512."""
    scale = PAPER_SIDE / max(box.width, box.height)
    return Size(max(1, round(box.width * scale)), max(1, round(box.height * scale)))


def parse_spot(text: str, picture: Size) -> Point:
    """Turn `0.62,0.4` (fractions) or `310px,200px` into pixels. Raises UsageError."""
    x, y = _numbers("--at", text, 2, _SPOT)
    spot = Point(_pixels(*x, picture.width), _pixels(*y, picture.height))
    if not (0 <= spot.x <= picture.width and 0 <= spot.y <= picture.height):
        raise UsageError(f"--at {text} is outside the picture of {picture} px; {_SPOT}")
    return spot


def parse_box(text: str, picture: Size) -> Box:
    """Turn `x0,y0,x1,y1` into pixels: fractions when all are bare and in [0, 1], else pixels. Raises UsageError."""
    values = _numbers("--box", text, 4, _BOX)
    if any(value > 1 for value, _ in values):
        values = [(value, True) for value, _ in values]
    sides = (picture.width, picture.height) * 2
    box = Box(*(_pixels(*value, side) for value, side in zip(values, sides, strict=True)))
    if not (0 <= box.x0 < box.x1 <= picture.width and 0 <= box.y0 < box.y1 <= picture.height):
        raise UsageError(f"--box {text} is empty or outside the picture of {picture} px; {_BOX}")
    return box


def _numbers(option: str, text: str, count: int, example: str) -> list[tuple[Fraction, bool]]:
    """Read a comma-separated list of numbers, each with whether it has the suffix px."""
    parts = [part.strip() for part in text.split(",")]
    try:
        values = [(parse_number(part.removesuffix("px")), part.endswith("px")) for part in parts]
    except ValueError:
        values = []
    if len(values) != count:
        raise UsageError(f"{option} {text!r} is not {count} numbers; {example}")
    return values


def _pixels(value: Fraction, is_pixels: bool, side: int) -> Fraction:
    return value if is_pixels else value * side
