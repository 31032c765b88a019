"""Contact sheets: a panel and a caption for every state of a run, or for the candidates of one state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from chain_of_zoom.backbones.base import BackboneInfo
from chain_of_zoom.chain.evidence import round_magnification
from chain_of_zoom.chain.schedule import SMALL_PHOTO, Origin
from chain_of_zoom.chain.state import ScaleState, magnification_name
from chain_of_zoom.chain.window import STRETCHED
from chain_of_zoom.imaging.geometry import Window
from chain_of_zoom.imaging.images import RGB8
from chain_of_zoom.imaging.sheet import BACKGROUND, Colour, Panel, draw_sheet
from chain_of_zoom.prompters.base import LETTERS_WARNING

COLOURS: dict[Origin, Colour] = {
    Origin.MEASURED: (90, 200, 120),
    Origin.INTERPOLATED: (236, 190, 80),
    Origin.GENERATED: (244, 114, 182),
}
BEYOND: Colour = (255, 84, 84)
FOUND: Colour = (96, 176, 255)

_LEGEND = {
    Origin.MEASURED: "measured: the photo's own pixels, reduced where they are too many. Nothing is invented.",
    Origin.INTERPOLATED: "interpolated: the photo's own pixels, enlarged smoothly. No detail is added.",
    Origin.GENERATED: "generated: a model made these pixels. By tests partly right; no evidence of what was there.",
}
ABOUT_RIGHT = (
    "expected about right: the share of its blocks within 10 levels of what was there, by tests on other photos; "
    "even areas are easily right."
)


def run_sheet(
    name: str,
    states: Sequence[ScaleState],
    info: BackboneInfo,
    sighting: tuple[str, Window] | None = None,
    supported: float | None = None,
) -> RGB8:
    """Draw the sheet of a run, uint8 RGB.

    name: of the photo. sighting: words, and the box in it that they mean. supported: the magnification that evidence
    supports.
    """
    panels = [_panel(state, following, info) for state, following in zip(states, [*states[1:], None], strict=True)]
    if supported is not None:
        panels[0] = replace(panels[0], lines=[*panels[0].lines, f"supported to about {round_magnification(supported)}"])
    if sighting:
        words, box = sighting
        lines = [*panels[0].lines, f"found, framed blue: {words}"]
        panels[0] = replace(panels[0], lines=lines, found_window=_relative(box, states[0].window), found_colour=FOUND)
    heading = f"{name}: zoom to {magnification_name(states[-1].magnification)} (linear), backbone {info.name}"
    return draw_sheet(heading, panels, _legend(states, info))


def candidates_sheet(name: str, step: int, states: Sequence[ScaleState], info: BackboneInfo) -> RGB8:
    """Draw alternatives of one state, numbered as the user names them, uint8 RGB."""
    panels = [replace(_panel(state, None, info), title=str(state.variant)) for state in states]
    heading = f"{name}: candidates of state {step}, {magnification_name(states[0].magnification)}, with {info.name}"
    return draw_sheet(heading, panels, _legend(states, info))


def _legend(states: Sequence[ScaleState], info: BackboneInfo) -> list[tuple[Colour, str]]:
    shown = {state.origin for state in states if not state.beyond_evidence}
    legend = [(COLOURS[origin], _LEGEND[origin]) for origin in Origin if origin in shown]
    if any(state.beyond_evidence for state in states):
        maker = info.acting_as(uses_words=any(state.prompt_used for state in states))
        legend.append((BEYOND, beyond_evidence(maker)))
    if any(state.trusted is not None for state in states):
        legend.append((BACKGROUND, ABOUT_RIGHT))
    return legend


def beyond_evidence(info: BackboneInfo) -> str:
    """Return the sentence that says how far the evidence goes."""
    if not info.evidence_limit or info.evidence_limit <= 1:
        return f"beyond evidence: tests on real pixels do not support the detail of {info.name} (docs/evidence.md)."
    return (
        f"beyond evidence: on real pixels the detail of {info.name} is partly right at {info.evidence_limit:g}x the "
        "resolution of a sharp photo (docs/evidence.md); beyond, it is invention."
    )


def _panel(state: ScaleState, following: ScaleState | None, info: BackboneInfo) -> Panel:
    scale = state.source_scale
    if state.origin is Origin.MEASURED:
        detail = "real pixels, 1:1" if scale == 1 else f"{1 / scale:.3g} photo pixels per pixel"
    else:
        detail = f"{scale:.4g}x the photo's own resolution"
    lines = [detail]
    if state.origin is Origin.MEASURED and state.finest is not None:
        lines.append(f"real detail down to {state.finest:.2g} px")
    if state.beyond_evidence:
        lines.append("beyond evidence")
    if state.trusted is not None:
        lines.append(
            f"expected about right: {state.trusted:.0%}" + (", the rest in red" if state.trust is not None else "")
        )
    if state.prompt:
        lines.append(f"prompt: {state.prompt}" + ("" if state.prompt_used else f" ({_say_unused(info)})"))
    # Other notes, on tiles, memory and devices, stand in the record.
    lines += [note for note in (SMALL_PHOTO, STRETCHED, LETTERS_WARNING) if note in state.fallbacks]
    return Panel(
        image=state.marked_image,
        title=f"{magnification_name(state.magnification)}  {state.origin.value}",
        lines=lines,
        colour=BEYOND if state.beyond_evidence else COLOURS[state.origin],
        next_window=_relative(following.window, state.window) if following else None,
    )


def _say_unused(info: BackboneInfo) -> str:
    return "it changed nothing" if info.text_aware else f"ignored by {info.name}"


def _relative(
    inner: tuple[float, float, float, float], outer: tuple[float, float, float, float]
) -> tuple[float, float, float, float]:
    """Return a window as fractions of the one around it."""
    x0, y0, x1, y1 = outer
    width, height = x1 - x0, y1 - y0
    return (inner[0] - x0) / width, (inner[1] - y0) / height, (inner[2] - x0) / width, (inner[3] - y0) / height
