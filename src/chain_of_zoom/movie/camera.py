"""Where an animation looks at every moment: an exponential zoom from the 1x window to the last state's.

The spot stays in the middle wherever the border of the 1x window allows, as in the schedule, so that the view always
agrees with the windows of the states; where the border lets go, the corner of the path is rounded.
"""

from __future__ import annotations

import math

from chain_of_zoom.imaging.geometry import Window

ROUNDING = 0.6  # how far around the moment at which the border lets go the path bends, as a share of the view's width


class Camera:
    """The path of the view; depth 0 is the first window, depth 1 the last, equal parts of it equal magnification."""

    def __init__(self, first: Window, last: Window) -> None:
        """Plan the path from the window of the first state to that of the last, which lies inside it.

        Both are (x0, y0, x1, y1) in a common unit.
        """
        self._across = _Axis(first[0], first[2], last[0], last[2])
        self._down = _Axis(first[1], first[3], last[1], last[3])
        self.total = (first[2] - first[0]) / (last[2] - last[0])

    def view(self, depth: float) -> Window:
        """Return the window that fills the frame at a depth from 0 to 1."""
        x0, x1 = self._across.span(depth)
        y0, y1 = self._down.span(depth)
        return x0, y0, x1, y1


class _Axis:
    """One axis of the path: the start of the view as a function of its length."""

    def __init__(self, start: float, stop: float, last_start: float, last_stop: float) -> None:
        self.start, self.stop = start, stop
        self.lengths = stop - start, last_stop - last_start
        self.spot = (last_start + last_stop) / 2

    def span(self, depth: float) -> tuple[float, float]:
        first, last = self.lengths
        length = first * (last / first) ** depth
        # A hinge at either border: the view starts at the border, until half its length fits before the spot.
        low = self.start + self._hinge(length, 2 * (self.spot - self.start))
        high = self.stop - self._hinge(length, 2 * (self.stop - self.spot))
        start = low if self.spot - self.start <= self.stop - self.spot else high - length
        return start, start + length

    def _hinge(self, length: float, release: float) -> float:
        """Return max(0, (release - length) / 2), its corner rounded by a parabola, exact at both ends of the path."""
        first, last = self.lengths
        reach = min(first - release, release - last, ROUNDING * release)
        if reach <= 0 or abs(length - release) >= reach:
            return max(0.0, (release - length) / 2)
        return (release + reach - length) ** 2 / (8 * reach)


def ease_depths(count: int, ramp: float = 0.2) -> list[float]:
    """Return `count` depths from 0 to 1 at constant speed; smooth start and stop take `ramp` of the time each."""
    assert count >= 2, count
    return [_ease(i / (count - 1), ramp) for i in range(count)]


def _ease(time: float, ramp: float) -> float:
    """Integrate a speed that rises as a half cosine, holds, and falls in the same way."""
    if time > 0.5:
        return 1 - _ease(1 - time, ramp)
    top = 1 / (1 - ramp)
    if time >= ramp:
        return top * (time - ramp / 2)
    return top / 2 * (time - ramp / math.pi * math.sin(math.pi * time / ramp))
