"""What backbones share that compute one window at a time in torch: smaller pieces where a GPU has no room for it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from chain_of_zoom.backbones.base import Backbone
from chain_of_zoom.errors import BackboneError
from chain_of_zoom.imaging.images import RGB8, RGBF, size_of
from chain_of_zoom.imaging.tiling import plan_tiles


class WindowBackbone(Backbone):
    """A backbone whose network in torch takes single windows."""

    _fitting: int | None = None
    """Side of the largest window that a GPU has room for; None while all have fitted."""

    def _enlarge_in_memory(self, index: int, window: RGB8, compute: Callable[[RGB8], RGBF]) -> RGBF:
        """Compute a window, in tiles of half its side where it does not fit, and so on; what fits is remembered.

        Raises BackboneError where the smallest tile does not fit.
        """
        from chain_of_zoom.runtime.shortage import try_in_memory

        side = max(window.shape[:2])
        if self._fitting is None or side <= self._fitting:
            if (result := try_in_memory(partial(compute, window))) is not None:
                return result
            self._fitting = side // 2
        least = 2 * self.info.halo + self.info.min_side
        if self._fitting < least:
            raise BackboneError(
                f"{self.info.name} has no room on the GPU for a window of {size_of(window)} px, nor for tiles of "
                f"{least} px; accepted: other programs off the GPU, or the CPU; type: --device cpu"
            )
        self._tell(index, f"out of GPU memory; in tiles of {self._fitting} px")
        tiles = plan_tiles(size_of(window), self._fitting, self.info.halo)
        pieces = [window[rows.start : rows.stop, columns.start : columns.stop] for rows, columns in tiles]
        enlarged = (self._enlarge_in_memory(index, self._pad(piece), compute) for piece in pieces)
        return self._join(size_of(window), tiles, enlarged)
