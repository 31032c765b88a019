"""Texture by words: which words count, and what the texture may and may not change."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import noise
from PIL import Image

from chain_of_zoom import load_backbone, zoom
from chain_of_zoom.backbones.base import WindowPlace
from chain_of_zoom.errors import MissingError, UsageError
from chain_of_zoom.imaging.images import Picture
from chain_of_zoom.texture import tiles
from chain_of_zoom.texture.contrast import BASE_LAW, NATURAL_LAW, SOFT_LAW
from chain_of_zoom.texture.field import REACH, make_texture
from chain_of_zoom.texture.fine import FACTOR
from chain_of_zoom.texture.materials import find_material, read_table
from chain_of_zoom.texture.tiles import GRAIN, STRANDS, load_tiles


def grains(height: int, width: int) -> np.ndarray:
    """Make a window with detail in every octave."""
    return (noise(height, width) // 3 + 80).astype(np.uint8)


def smooth(height: int, width: int) -> np.ndarray:
    """Make a window without the two finest octaves, as a network leaves it."""
    small = Picture.of_pixels(noise(height // 8, width // 8)).pixels
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


@pytest.mark.parametrize(
    ("text", "material"),
    [
        ("moss", "grass"),
        ("a mossy stone", "stone"),
        ("Polar bear, snow", "fur"),
        ("cup, wood, stone", "wood"),
        ("STAINLESS STEEL", "metal"),
        ("blue happiness", None),
        ("woodpecker", None),
        ("木", None),
        ("", None),
    ],
)
def test_which_material_a_text_names(text, material):
    assert find_material(text) == material


def test_every_word_of_the_table_stands_for_a_material_with_tiles():
    assert set(read_table().values()) == set(load_tiles()) - {GRAIN, STRANDS}


def test_reduced_again_the_texture_is_gone():
    texture = make_texture(grains(48, 64), "grass", 5, 7, level=1, law=NATURAL_LAW)
    assert texture.std() * 255 > 3
    reduced = texture.reshape(48, FACTOR, 64, FACTOR).mean(axis=(1, 3))
    assert np.abs(reduced).max() * 255 < 0.001


def test_coarse_grain_is_gone_only_when_reduced_as_often_again():
    """Where the window lies among the pixels of the picture 16 times smaller does not matter."""
    texture = make_texture(smooth(96, 96), GRAIN, 5, 7, level=2, law=SOFT_LAW)
    assert texture.std() * 255 > 3
    inside = texture[(4 - 7 % 4) * FACTOR :, (4 - 5 % 4) * FACTOR :][:352, :352]
    by_16 = inside.reshape(22, 16, 22, 16).mean(axis=(1, 3))
    assert np.abs(by_16).max() * 255 < 0.001
    assert texture.reshape(96, FACTOR, 96, FACTOR).mean(axis=(1, 3)).std() * 255 > 1


@pytest.mark.parametrize(("material", "law"), [("wood", NATURAL_LAW), ("sand", NATURAL_LAW), (GRAIN, SOFT_LAW)])
def test_windows_that_overlap_show_the_same_texture(material, law):
    whole = smooth(160, 160) if law is SOFT_LAW else grains(160, 160)
    one = make_texture(whole, material, 40, 30, level=2, law=law)
    part = make_texture(whole[32:152, 24:152], material, 64, 62, level=2, law=law)
    margin = REACH * FACTOR
    cut = one[32 * FACTOR : 152 * FACTOR, 24 * FACTOR : 152 * FACTOR][margin:-margin, margin:-margin]
    assert np.abs(cut - part[margin:-margin, margin:-margin]).max() * 255 < 0.5


def test_an_even_window_gets_none():
    """What is out of focus stays so, whatever the words say."""
    even = np.full((48, 48, 3), 90, np.uint8)
    for material, law in (("grass", BASE_LAW), (GRAIN, SOFT_LAW), (GRAIN, NATURAL_LAW)):
        assert not make_texture(even, material, 0, 0, level=1, law=law).any()


def test_grain_adds_what_is_missing():
    """A window that has its finest octaves, as by words, gets less of it than one that lacks them."""
    soft, full = smooth(96, 96), smooth(96, 96)
    full = np.clip(full + (grains(96, 96).astype(float) - 120), 0, 255).astype(np.uint8)
    by_window = [make_texture(window, GRAIN, 0, 0, level=2, law=SOFT_LAW).std() for window in (full, soft)]
    assert by_window[0] < by_window[1]


def test_grain_runs_as_the_picture_does():
    stripes = np.where(np.arange(96) % 6 < 3, 90, 150)[:, None, None]
    lying = np.broadcast_to(stripes, (96, 96, 3)).astype(np.uint8)
    upright = np.ascontiguousarray(lying.swapaxes(0, 1))

    def lean(window: np.ndarray) -> float:
        texture = make_texture(window, "wood", 0, 0, level=1, law=NATURAL_LAW)
        return float(np.square(np.diff(texture, axis=0)).sum() / np.square(np.diff(texture, axis=1)).sum())

    assert lean(lying) > 1.5
    assert lean(upright) < 1 / 1.5


@pytest.mark.slow
def test_words_change_deep_states_and_no_other(astronaut):
    photo = Picture.of_pixels(astronaut)
    by_words = {
        text: zoom(photo, backbone="zoom", prompt=text, magnification=16, size=(128, 128), at=(0.3, 0.9)).states
        for text in ("moss", "steel", "blue happiness", "")
    }
    plain = by_words[""]
    deep = [state.source_scale >= 16 for state in plain]
    for text, states in by_words.items():
        changed = [not np.array_equal(a.image, b.image) for a, b in zip(states, plain, strict=True)]
        assert changed == (deep if text in ("moss", "steel") else [False] * len(deep))
        assert [state.prompt_used for state in states] == changed


def test_without_words_it_is_span_as_far_as_that_has_evidence():
    window, deep = smooth(48, 48), WindowPlace(9, 9, 4.0)
    backbone, span = load_backbone("zoom"), load_backbone("span")
    (expected,) = span([window])
    for prompt, place in (("", deep), ("happiness", deep), ("moss", WindowPlace(9, 9, 1.0))):
        (result,) = backbone([window], [prompt], places=[place])
        assert np.array_equal(result, expected), (prompt, place)
    (grained,) = backbone([window], ["happiness"], places=[WindowPlace(9, 9, 16.0)])
    assert np.abs(grained - expected).mean() * 255 > 1
    assert not backbone.uses("happiness", WindowPlace(9, 9, 16.0))
    assert backbone.uses("moss", deep)
    assert backbone.uses("moss", deep, window)
    assert not backbone.uses("moss", deep, np.full_like(window, 90)), "an even window gets none"
    (with_moss,) = backbone([window], ["moss"], places=[deep])
    assert np.abs(with_moss - expected).mean() * 255 > 1


def test_detail_is_a_dial():
    window, place = grains(32, 32), [WindowPlace(0, 0, 16.0)]
    none, half, full = (load_backbone("zoom", texture=d)([window], ["sand"], places=place)[0] for d in (0, 0.5, 1))
    inside = (full > 0.01) & (full < 0.99) & (none > 0.01) & (none < 0.99)
    assert np.allclose((half - none)[inside], 0.5 * (full - none)[inside], atol=2e-3)
    with pytest.raises(UsageError, match="0 to 1"):
        load_backbone("zoom", texture=1.5)


def test_damaged_tiles_are_an_error_that_names_the_way_out(tmp_path, monkeypatch):
    damaged = tmp_path / "tiles.npz"
    damaged.write_bytes(tiles.FILE.read_bytes()[:1000])
    monkeypatch.setattr(tiles, "FILE", damaged)
    tiles.load_tiles.cache_clear()
    try:
        with pytest.raises(MissingError, match="pip install"):
            tiles.load_tiles()
    finally:
        monkeypatch.undo()
        tiles.load_tiles.cache_clear()
