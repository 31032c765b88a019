"""The true-zoom protocol: inputs and truth fit together to the pixel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import noise
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from chain_of_zoom.datasets.manifest import ManifestItem, read_data
from chain_of_zoom.errors import BadInputError, OutputError, UsageError
from chain_of_zoom.evaluation.methods import build_chains, parse_method
from chain_of_zoom.evaluation.metrics.table import load_metric
from chain_of_zoom.evaluation.states import StateCache
from chain_of_zoom.evaluation.true_zoom import TrueZoom, reduce_photo
from chain_of_zoom.imaging.images import decode_png, load

KLEIBER = Path("/usr/share/backgrounds/Kleiber_by_Lukas_Baubkus.jpg")


@pytest.fixture
def item(tmp_path: Path) -> ManifestItem:
    Image.fromarray(noise(603, 701)).save(tmp_path / "grain.png")
    return read_data(tmp_path / "grain.png").items[0]


@given(st.integers(1, 5), st.integers(1, 5), st.sampled_from([2, 4]))
@settings(max_examples=20)
def test_area_reduction_is_the_rounded_mean(rows, columns, factor):
    pixels = noise(rows * factor, columns * factor, rows)
    expected = pixels.reshape(rows, factor, columns, factor, 3).astype(np.float64).mean(axis=(1, 3))
    np.testing.assert_array_less(np.abs(reduce_photo(pixels, factor, "area") - expected), 0.5 + 1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("spots", [0, 2])
def test_inputs_are_the_truth_reduced_and_states_show_its_window(item, tmp_path, spots):
    protocol = TrueZoom(spots=spots)
    method = parse_method("nearest:direct")
    for case in protocol.prepare_cases(item, tmp_path / "states"):
        truth = decode_png(case.truth.read_bytes())
        assert truth.shape == (case.side, case.side, 3) == (128, 128, 3)
        for depth, (path, _) in case.inputs.items():
            x0, y0, x1, y1 = case.boxes[depth]
            np.testing.assert_array_equal(
                decode_png(path.read_bytes())[y0:y1, x0:x1], reduce_photo(truth, depth, "area")
            )
        for run in protocol.plan_runs(case, method, 0):
            depth = max(run.states)
            record = StateCache(method, build_chains([method], {})[method.name]).make(run)
            assert record.states[-1].window == pytest.approx(case.boxes[depth])
            assert record.states[-1].source_scale == depth
            # Nearest of exactly those pixels: reduced again it is the input, to the bit.
            made = decode_png((run.folder / record.states[-1].file).read_bytes())
            np.testing.assert_array_equal(reduce_photo(made, depth, "area"), reduce_photo(truth, depth, "area"))


@pytest.mark.slow
def test_a_chain_takes_its_first_window_from_the_reduced_photo(item, tmp_path):
    protocol = TrueZoom([16])
    method = parse_method("fake")
    (case,) = protocol.prepare_cases(item, tmp_path / "states")
    (run,) = protocol.plan_runs(case, method, 0)
    states = StateCache(method, build_chains([method], {})[method.name]).make(run).states
    assert [state.source_scale for state in states if state.origin == "generated"] == [4, 16]
    assert not any(state.fallbacks for state in states)


@pytest.mark.slow
def test_other_settings_are_refused_and_force_replaces(item, tmp_path):
    home = tmp_path / "states"
    (before,) = TrueZoom([4]).prepare_cases(item, home)
    assert TrueZoom([4]).prepare_cases(item, home) == [before]
    with pytest.raises(OutputError, match="--force"):
        TrueZoom([4], reduction="bicubic").prepare_cases(item, home)
    (after,) = TrueZoom([4], reduction="bicubic").prepare_cases(item, home, force=True)
    assert after.inputs[4][1] != before.inputs[4][1]


@pytest.mark.slow
def test_pinned_spots_are_taken_and_kept_inside(item, tmp_path):
    pinned = ManifestItem(id="p", path=item.path, sha256=item.sha256, spots=((0, 0), (300, 300), (701, 603)))
    corners = [case.boxes[16][:2] for case in TrueZoom(spots=3).prepare_cases(pinned, tmp_path / "states")]
    assert corners == [(0, 0), (15, 15), (35, 29)]
    assert len(TrueZoom(spots=2).prepare_cases(pinned, tmp_path / "two")) == 2


@pytest.mark.slow
def test_small_photos_and_absent_truths_are_named(tmp_path):
    Image.fromarray(noise(500, 700)).save(tmp_path / "small.png")
    item = read_data(tmp_path / "small.png").items[0]
    with pytest.raises(BadInputError, match="at least 528 px"):
        TrueZoom().prepare_cases(item, tmp_path / "states")
    assert TrueZoom([4]).prepare_cases(item, tmp_path / "states")[0].side == 448
    assert list(TrueZoom([4, 64]).gaps) == [64]
    for scales, says in (([64], "4x and 16x only"), ([8], "4,16,64,256")):
        with pytest.raises(UsageError, match=says):
            TrueZoom(scales)


@pytest.mark.slow
@pytest.mark.skipif(not KLEIBER.is_file(), reason="the photo's package (lomiri-wallpapers-20.04) is not installed")
def test_the_figures_that_the_evidence_stands_on(tmp_path):
    """As measured before this command on the crop alone, where bicubic sees no pixel beyond the crop's edge."""
    protocol = TrueZoom([4], reduction="bicubic")
    method = parse_method("bicubic")
    # The middle of its most detailed cell, pinned so that looking for it costs nothing here.
    photo = ManifestItem(id="k", path=KLEIBER, sha256="as installed", spots=((2816, 1792),))
    (case,) = protocol.prepare_cases(photo, tmp_path)
    (run,) = protocol.plan_runs(case, method, 0)
    record = StateCache(method, build_chains([method], {})["bicubic"]).make(run)
    made = decode_png((run.folder / record.states[-1].file).read_bytes())
    truth = load(case.truth).pixels
    assert load_metric("psnr")(made, truth) == pytest.approx(28.759, abs=0.01)
    assert load_metric("detail")(made, truth) == pytest.approx(0.5584, abs=0.001)
    assert load_metric("sharpness")(made, truth) == pytest.approx(-np.log2(0.19357), abs=0.01)
