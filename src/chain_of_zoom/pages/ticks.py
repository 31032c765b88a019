"""Round numbers for the axes of charts."""

from __future__ import annotations

import math
from collections.abc import Sequence


def nice_ticks(values: Sequence[float], count: int = 5) -> list[float]:
    """About `count` round numbers, at least two, from below the least value to above the greatest."""
    if not values:
        return [0.0, 1.0]
    low, high = min(values), max(values)
    greatest = max(abs(low), abs(high), 1e-9)
    span = high - low if high - low > 1e-6 * greatest else greatest  # finer steps are no numbers a reader tells apart
    raw = span / count
    exponent = math.floor(math.log10(raw))
    power = 10.0**exponent
    step = power * next(m for m in (1, 2, 5, 10) if m * power >= raw * (1 - 1e-9))
    first, last = math.floor(low / step), math.ceil(high / step)
    last = max(last, first + 1)
    return [round(i * step, max(0, 1 - exponent)) for i in range(first, last + 1)]
