"""Backbones that enlarge whole pictures themselves: their pieces on disk, their bands in the canvas."""

from __future__ import annotations

import json

import numpy as np
import pytest

from chain_of_zoom import upscale
from chain_of_zoom.errors import BackboneError, UsageError
from chain_of_zoom.imaging.decode import decode
from chain_of_zoom.imaging.geometry import Size, whole_picture
from chain_of_zoom.imaging.images import area_reduce, resize, size_of, to_uint8
from chain_of_zoom.prompters.fixed import Fixed
from chain_of_zoom.upscaling.canvas import PieceStore
from upscaling.doubles import Banded, picture


def run(out, backbone=None, scale=4, photo=None, **settings):
    photo = picture(51, 70) if photo is None else photo
    return upscale(photo, scale, out=out, backbone=backbone or Banded(), tile=8, overlap=0, **settings).record


def test_bands_make_the_picture_and_the_record(tmp_path):
    record = run(tmp_path / "a.png")
    expected = resize(picture(51, 70), Size(280, 204), "bicubic")
    np.testing.assert_array_equal(decode(tmp_path / "a.png").colour, expected)
    (step,) = record.steps
    assert (step.tiles, step.kept) == (20, 0)
    assert step.fallbacks == ("the first tile went another way",)
    (prompts,) = json.loads((tmp_path / "a.png.prompts.json").read_bytes())["steps"]
    assert prompts["tiles"][6]["box"] == [64, 64, 128, 128]


@pytest.mark.slow
@pytest.mark.parametrize("scale", [3, 1.7, 10])
def test_other_scales_are_reduced_by_area_band_by_band(tmp_path, scale):
    photo = picture(33, 41)
    run(tmp_path / "a.png", scale=scale, photo=photo)
    enlarged = resize(photo, Size(164, 132), "bicubic")
    if scale > 4:
        enlarged = resize(enlarged, Size(656, 528), "bicubic")
    size = Size(int(41 * scale + 0.5), int(33 * scale + 0.5))
    expected = to_uint8(area_reduce(enlarged.astype(np.float32) / 255, whole_picture(size_of(enlarged)), size))
    assert np.abs(decode(tmp_path / "a.png").colour.astype(int) - expected).max() <= 1


@pytest.mark.slow
def test_an_edited_prompt_makes_its_own_piece_anew(tmp_path):
    run(tmp_path / "a.png", prompter=Fixed("leaf"))
    before = decode(tmp_path / "a.png").colour
    path = tmp_path / "mine.json"
    path.write_text('{"tiles": [{"row": 1, "col": 2, "prompt": "a longer text"}]}')
    backbone = Banded()
    record = run(tmp_path / "a.png", backbone, prompter=Fixed("leaf"), prompts_from=path)
    after = decode(tmp_path / "a.png").colour
    assert backbone.made == [7]
    assert record.steps[0].kept == 19
    changed = (before != after).any(axis=2)
    assert changed[64:128, 128:192].any()
    changed[64:128, 128:192] = False
    assert not changed.any()
    assert len(list((tmp_path / "a.png.work" / "step1.pieces").iterdir())) == 20  # the old piece is gone


@pytest.mark.slow
def test_a_failing_tile_ends_the_run_and_the_pieces_before_it_are_kept(tmp_path):
    with pytest.raises(BackboneError, match="tile 9 is broken"):
        run(tmp_path / "a.png", Banded(lambda number: "is broken" if number == 9 else None))
    backbone = Banded()
    assert run(tmp_path / "a.png", backbone).steps[0].kept == 9
    assert backbone.made == list(range(9, 20))


def test_a_finished_step_is_not_run_again(tmp_path):
    def stop(progress):
        if progress.stage == "writing":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "a.png", scale=16, photo=picture(12, 15), on_progress=stop)
    for folder in (tmp_path / "a.png.work").glob("*.pieces"):
        for piece in folder.iterdir():
            piece.unlink()
    backbone = Banded()
    record = run(tmp_path / "a.png", backbone, scale=16, photo=picture(12, 15))
    assert backbone.made == []
    assert [step.kept for step in record.steps] == [step.tiles for step in record.steps]


@pytest.mark.slow
def test_published_drops_what_fills_no_latent_and_scales_by_the_factor_only(tmp_path):
    record = run(tmp_path / "a.png", blend="published", photo=picture(51, 71))
    assert record.output.size == (280, 200)
    expected = resize(picture(51, 71), Size(284, 204), "bicubic")[:200, :280]
    np.testing.assert_array_equal(decode(tmp_path / "a.png").colour, expected)
    with pytest.raises(UsageError, match="blend='published' enlarges by 4 only"):
        run(tmp_path / "b.png", scale=3, blend="published")


def test_sixteen_bits_come_back_in_bands(tmp_path):
    ramp = np.linspace(20000, 21000, 60).astype(np.uint16)
    photo = np.repeat(np.repeat(ramp[:, None, None], 40, axis=1), 3, axis=2)
    image = upscale(photo, 4, backbone=Banded(), tile=8).image
    assert np.diff(image[40:-40, 80, 0].astype(int)).max() < 200  # a step of 8 bits is 257
    assert len(np.unique(image)) > 200


def test_the_store_gives_back_what_it_took_and_forgets_what_is_broken(tmp_path):
    store = PieceStore(tmp_path / "pieces")
    piece = np.random.default_rng(0).normal(size=(4, 5, 3)).astype(np.float32)
    store["decoded-r0c0-1"] = piece
    np.testing.assert_array_equal(PieceStore(tmp_path / "pieces")["decoded-r0c0-1"], piece)
    store["decoded-r0c0-2"] = piece
    assert set(store) == {"decoded-r0c0-2"}
    (tmp_path / "pieces" / "decoded-r0c0-2.npy").write_bytes(b"half a pie")
    assert store.get("decoded-r0c0-2") is None
    del store["decoded-r0c0-2"]
    assert len(store) == 0
    with pytest.raises(KeyError):
        del store["decoded-r0c0-2"]
