"""What a sheet says below its panels."""

from __future__ import annotations

import pytest
from conftest import noise

from chain_of_zoom import load_backbone
from chain_of_zoom.chain import sheet
from chain_of_zoom.chain.schedule import SMALL_PHOTO, Origin
from chain_of_zoom.chain.state import ScaleState


@pytest.mark.parametrize("draw", ["run", "candidates"])
def test_a_sheet_speaks_of_the_picture_and_not_of_tiles_memory_and_devices(monkeypatch, draw):
    panels = []
    monkeypatch.setattr(sheet, "draw_sheet", lambda heading, some, legend: panels.extend(some))
    state = ScaleState(
        image=noise(16, 16),
        magnification=4.0,
        source_scale=4.0,
        origin=Origin.GENERATED,
        window=(0.0, 0.0, 4.0, 4.0),
        fallbacks=(SMALL_PHOTO, "4 tiles (a window of 256x256 px does not fit at once)", "made on the CPU: no GPU"),
    )
    info = load_backbone("fake").info
    if draw == "run":
        sheet.run_sheet("a.png", [state], info)
    else:
        sheet.candidates_sheet("a.png", 1, [state], info)
    (panel,) = panels
    assert panel.lines == ["4x the photo's own resolution", SMALL_PHOTO]
