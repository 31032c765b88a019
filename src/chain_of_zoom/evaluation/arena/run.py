"""Zoom into the 1x views of all scenes with every method, and compare each state with the exact picture."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from chain_of_zoom.api import ChainOfZoom
from chain_of_zoom.chain.record import software
from chain_of_zoom.chain.request import ZoomRequest
from chain_of_zoom.chain.state import ScaleState
from chain_of_zoom.errors import MetricError, MissingError, UsageError, suggest
from chain_of_zoom.evaluation.arena.fields import Fractal, RandomField
from chain_of_zoom.evaluation.arena.letters import LargeText, SmallText, TinyText
from chain_of_zoom.evaluation.arena.lines import Lines
from chain_of_zoom.evaluation.arena.results import ArenaResults, ArenaScore, MethodFacts
from chain_of_zoom.evaluation.arena.scene import WHOLE, Scene
from chain_of_zoom.evaluation.arena.shapes import Checkers, VectorArt
from chain_of_zoom.evaluation.methods import RIGHT, WRONG, Method, Options, build_chains
from chain_of_zoom.evaluation.metrics.gradients import Detail
from chain_of_zoom.imaging.geometry import Size, Window
from chain_of_zoom.imaging.images import RGB8, Picture
from chain_of_zoom.imaging.sheet import Panel, draw_sheet
from chain_of_zoom.runs.progress import OnProgress, Progress, ignore_progress

SCENES: dict[str, type[Scene]] = {
    kind.name: kind for kind in (LargeText, SmallText, TinyText, Lines, Checkers, RandomField, Fractal, VectorArt)
}
DEPTHS = (4, 16, 64, 256, 1024)
SIDE = 256
DETAIL = "detail"
EXACT, ZOOMED = (90, 200, 120), (255, 84, 84)
"""Colours of frames on a sheet."""
Examples = dict[tuple[str, str], list[ScaleState]]
"""States by the names of scene and method."""


@dataclass(frozen=True, kw_only=True)
class Arena:
    """What to compare. Raises UsageError, and MissingError without the extra [eval]."""

    methods: Sequence[Method]
    """The ways to zoom."""
    scenes: Sequence[str] = tuple(SCENES)
    """Names of the scenes."""
    depth: int = DEPTHS[-1]
    """The deepest magnification, a power of 4."""
    side: int = SIDE
    """Pixels of the 1x view and of every state along a side."""
    seeds: int = 2
    """Pictures of each scene; of text four times as many, since a window of one holds few letters."""
    first_seed: int = 0
    """Seed of the first of them."""
    options: Mapping[str, Options] = field(default_factory=dict)
    """Loader details by the name of the method."""
    command: str = ""
    """The command as typed, for the results."""

    def __post_init__(self) -> None:
        for name in self.scenes:
            if name not in SCENES:
                raise UsageError(
                    f"scene {name!r}; accepted: {', '.join(SCENES)}; {suggest(name, SCENES, 'check the name')}"
                )
        if self.depth not in DEPTHS:
            raise UsageError(f"--zoom {self.depth}; accepted: {', '.join(map(str, DEPTHS))}; for example --zoom 64")
        if self.side not in (64, 128, 256, 512):
            raise UsageError(f"--side {self.side}; accepted: 64, 128, 256, 512; for example --side {SIDE}")
        if reason := Detail().missing() or _find_lack():
            raise MissingError(f"the arena {reason}")

    @property
    def depths(self) -> tuple[int, ...]:
        """The magnifications that are compared."""
        return tuple(depth for depth in DEPTHS if depth <= self.depth)


def _find_lack() -> str | None:
    from importlib.util import find_spec

    return None if find_spec("scipy") else "lacks scipy; type: pip install 'chain-of-zoom[eval]'"


class _Exhibit:
    """One picture of a scene, with its exact windows."""

    def __init__(self, kind: type[Scene], side: int, seed: int) -> None:
        self.scene = kind(side, seed)
        self.size = Size(side, side)
        self.photograph = cache(lambda window: self.scene.photograph(window, self.size))

    def to_view(self, state: ScaleState) -> Window:
        """Return the window of a state as shares of the 1x view."""
        x0, y0, x1, y1 = (edge / self.size.width for edge in state.window)
        return x0, y0, x1, y1

    def zoom(self, chain: ChainOfZoom, method: Method, depths: Sequence[int], text: str) -> list[ScaleState]:
        """Zoom into the 1x view with a method, and return the states of those depths."""
        request = ZoomRequest(
            zoom=float(max(depths)),
            size=(*self.size,),
            mode=method.mode,
            detail=method.detail,
            faithful=method.faithful,
            seed=self.scene.seed,
            prompt=text,
        )
        photo = Picture.of_pixels(self.photograph(WHOLE), self.scene.name)
        states = chain.plan(photo, request).states()
        return [state for state in states if round(state.magnification) in depths]

    def score(self, state: ScaleState) -> dict[str, float]:
        """Compare a state with the exact picture."""
        window = self.to_view(state)
        truth: RGB8 = self.photograph(window)
        values = self.scene.judge(state.image, truth, window)
        try:
            values[DETAIL] = Detail()(state.image, truth)
        except MetricError:  # a flat picture has no detail, right or wrong
            values[DETAIL] = 0.0 if np.ptp(truth) else None
        return {name: value for name, value in values.items() if value is not None}


def run_arena(arena: Arena, on_progress: OnProgress = ignore_progress) -> tuple[ArenaResults, Examples]:
    """Run all zooms; return all numbers, and the states of one picture of each scene. Raises those of `coz zoom`."""
    chains = build_chains(arena.methods, arena.options)
    exhibits = list_exhibits(arena)
    scores: list[ArenaScore] = []
    facts: list[MethodFacts] = []
    examples: Examples = {}
    for number, method in enumerate(arena.methods):
        chain = chains.pop(method.name)  # popped: the last method of a model lets it go
        chain.load()
        started = time.perf_counter()
        for index, exhibit in enumerate(exhibits):
            on_progress(Progress(method.name, number * len(exhibits) + index, len(arena.methods) * len(exhibits)))
            depths = [depth for depth in arena.depths if depth <= exhibit.scene.deepest]
            states = exhibit.zoom(chain, method, depths, choose_words(exhibit.scene, method))
            examples.setdefault((exhibit.scene.name, method.name), states)
            for state in states:
                scores += [
                    ArenaScore(
                        method=method.name,
                        scene=exhibit.scene.name,
                        seed=exhibit.scene.seed,
                        depth=round(state.magnification),
                        measure=measure,
                        value=value,
                    )
                    for measure, value in exhibit.score(state).items()
                ]
        weights, seconds = chain.backbone_record.weights_sha256, round(time.perf_counter() - started, 1)
        facts.append(MethodFacts(name=method.name, weights_sha256=weights, seconds=seconds))
    kinds = [SCENES[name] for name in arena.scenes]
    measures = {name: about for kind in kinds for name, about in kind.measures.items()}
    results = ArenaResults(
        command=arena.command,
        side=arena.side,
        seeds=arena.seeds,
        first_seed=arena.first_seed,
        depths=arena.depths,
        scenes={kind.name: kind.about for kind in kinds},
        measures=measures | {DETAIL: "correlation of the gradients with the exact ones"},
        methods=tuple(facts),
        software=software(),
        scores=tuple(scores),
    )
    return results, examples


def list_exhibits(arena: Arena) -> list[_Exhibit]:
    """List all pictures of all scenes."""
    return [
        _Exhibit(SCENES[name], arena.side, arena.first_seed + number)
        for name in arena.scenes
        for number in range(arena.seeds * SCENES[name].takes)
    ]


def choose_words(scene: Scene, method: Method) -> str:
    """Return the text for a method: the right words for the scene, those of the next scene, or none."""
    kinds = list(SCENES.values())
    if method.writer == WRONG:
        words = list(dict.fromkeys(kind.words for kind in kinds))
        return words[(words.index(scene.words) + 1) % len(words)]
    return scene.words if method.writer == RIGHT else ""


def draw_arena_sheet(arena: Arena, examples: Examples, name: str) -> RGB8:
    """Draw one picture of a scene: the truth above, and a row for what every method makes of it."""
    exhibit = _Exhibit(SCENES[name], arena.side, arena.first_seed)
    depths = (1, *(depth for depth in arena.depths if depth <= exhibit.scene.deepest))
    panels = [
        Panel(image=exhibit.photograph(_centre(depth)), title=f"{depth}x", lines=("exact",), colour=EXACT)
        for depth in depths
    ]
    for method in arena.methods:
        images = [exhibit.photograph(WHOLE), *(state.image for state in examples[name, method.name])]
        panels += [
            Panel(image=image, title=f"{depth}x", lines=(method.name,), colour=ZOOMED)
            for depth, image in zip(depths, images, strict=True)
        ]
    return draw_sheet(f"{name}: {exhibit.scene.about}", panels, (), columns=len(depths))


def _centre(depth: int) -> Window:
    """Return the window about the middle of the 1x view."""
    start, stop = 0.5 - 0.5 / depth, 0.5 + 0.5 / depth
    return start, start, stop, stop
