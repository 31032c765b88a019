"""Remember how long steps of the paper's presets took on this machine, for `coz doctor --estimate` to say.

One JSON file in the user's cache folder: presets, names of cards, precisions, times and dates; no path, photo or user.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import msgspec

from chain_of_zoom.api import ChainOfZoom
from chain_of_zoom.chain.record import StateRecord
from chain_of_zoom.chain.schedule import Origin
from chain_of_zoom.errors import OutputError
from chain_of_zoom.files import write_atomic
from chain_of_zoom.resources import available_cores
from chain_of_zoom.runtime.plan import Placement, describe_placement
from chain_of_zoom.weights.hub import cache_folder


class StepTime(msgspec.Struct, frozen=True, kw_only=True):
    """Says how long a step took when a preset last ran in one way."""

    preset: str
    """Name of the preset."""
    devices: tuple[str, ...]
    """Names of the cards, or of the CPU, as `name_devices` gives them."""
    placement: dict[str, str]
    """Where the networks lay and in which precision, as records say it."""
    pictures: int
    """Pictures that advanced together."""
    size: tuple[int, int]
    """Width and height of a state in pixels."""
    seconds: float
    """Seconds of a picture's step, prompt included: the median."""
    steps: int
    """Steps that were counted."""
    date: str
    """Day of the run in UTC, as 2026-11-29."""

    def __str__(self) -> str:
        width, height = self.size
        return (
            f"{self.seconds:.2g} s a picture and step on {self.date} ({' + '.join(self.devices)}; "
            f"{describe_placement(self.placement, {})}; {self.pictures} together, {width}x{height} px, "
            f"median of {self.steps})"
        )


class StepClock:
    """Collects the seconds of generated states. The first of each zoom counts as reading and warming up."""

    def __init__(self) -> None:
        self._begun: set[str] = set()
        self._seconds: dict[tuple[int, int], list[float]] = {}

    def add(self, zoom: str, entry: StateRecord) -> None:
        """Take a state that was made now, in the order of its zoom."""
        if entry.origin == Origin.GENERATED:
            if zoom in self._begun:
                x0, y0, x1, y1 = entry.window
                size = round((x1 - x0) * entry.source_scale), round((y1 - y0) * entry.source_scale)
                self._seconds.setdefault(size, []).append(entry.seconds)
            self._begun.add(zoom)

    def remember(self, preset: str | None, chain: ChainOfZoom, zooms: int = 1) -> None:
        """Write the times of a run of a preset whose networks were placed; of any other nothing is kept."""
        if preset is None or chain.residence is None or not self._seconds:
            return
        torch = sys.modules["torch"]  # which placed them
        cards = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
        placement = chain.residence.placement
        new = {
            _way(time): time
            for size, seconds in self._seconds.items()
            for time in [
                StepTime(
                    preset=preset,
                    devices=name_devices(placement, cards),
                    placement=chain.placement,
                    pictures=min(placement.together, zooms),
                    size=size,
                    seconds=round(median(seconds), 4),
                    steps=len(seconds),
                    date=datetime.now(UTC).date().isoformat(),
                )
            ]
        }
        times = [*new.values(), *(other for other in read_times()[0] if _way(other) not in new)]
        with suppress(OSError, OutputError):  # the run was made all the same
            _file().parent.mkdir(parents=True, exist_ok=True)
            write_atomic(_file(), msgspec.json.encode(times))


def read_times() -> tuple[list[StepTime], str | None]:
    """Read what is remembered, the last run first; and what is wrong with the file, if anything is."""
    try:
        return msgspec.json.decode(_file().read_bytes(), type=list[StepTime]), None
    except FileNotFoundError:
        return [], None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return [], f"{_file().name} in the cache folder cannot be read, and the next run writes it anew"


def name_devices(placement: Placement, cards: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the devices of a placement: the cards', by their numbers, and how many cores a CPU gives."""
    return tuple(_name(device, cards) for device in sorted({part.device for part in placement.parts}))


def _name(device: str, cards: Sequence[str]) -> str:
    kind, _, number = device.partition(":")
    if kind == "cuda":
        return cards[int(number or 0)]
    return f"CPU, {available_cores()} cores" if kind == "cpu" else device


def _way(time: StepTime) -> tuple[object, ...]:
    return time.preset, time.devices, *time.placement.items(), time.pictures, time.size


def _file() -> Path:
    return cache_folder() / "step-times.json"
