"""Whole pictures through osediff-sd3 on tiny random weights: against the published script, and against themselves."""

from __future__ import annotations

from collections import Counter
from functools import partial

import numpy as np
import pytest
from conftest import PARITY, noise
from PIL import Image

pytest.importorskip("diffusers", reason="needs the extra [diffusion]")

import torch

from chain_of_zoom import BackboneError, UsageError, load_backbone
from chain_of_zoom.backbones.base import WholePictureBackbone
from chain_of_zoom.imaging.geometry import Size
from chain_of_zoom.imaging.images import resize, size_of, to_uint8
from chain_of_zoom.networks.sd import tiled_published, tiled_smooth

pytestmark = [pytest.mark.torch, pytest.mark.slow]


TINY = {
    "base": PARITY / "tiny_sd3",
    "lora": PARITY / "model_tiny.pkl",
    "vae_encoder": PARITY / "vae_encoder_tiny.pt",
    "device": "cpu",
}
SMALL = {"tile": 8, "overlap": 4}


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """Small convolutions on a busy machine are ten times slower on two threads than on one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def backbone() -> WholePictureBackbone:
    """Texts of 16 tokens: the long padding costs more than all else here."""
    backbone = load_backbone("osediff-sd3", **TINY, t5_tokens=16)
    backbone.load()
    return backbone


def whole(backbone, picture, prompts="", seed=0, blend="smooth", tile=64, overlap=16, **kwargs):
    """All pieces put together; they must partition the picture, top to bottom."""
    size = size_of(picture)
    tiles = backbone.tiles(size, tile=tile, overlap=overlap, blend=blend)
    prompts = [prompts] * len(tiles) if isinstance(prompts, str) else prompts
    width, height = backbone.whole_size(size, blend)
    result, seen, top = np.zeros((height, width, 3), np.float32), np.zeros((height, width), int), 0
    for box, pixels in backbone.enlarge_whole(
        picture, prompts, seed, tile=tile, overlap=overlap, blend=blend, **kwargs
    ):
        x0, y0, x1, y1 = box.whole()
        assert y0 >= top
        assert pixels.dtype == np.float32
        assert 0 <= pixels.min() <= pixels.max() <= 1
        result[y0:y1, x0:x1], top = pixels, y0
        seen[y0:y1, x0:x1] += 1
    assert (seen == 1).all()
    return result


@pytest.fixture
def calls(backbone, monkeypatch):
    """How many tiles each stage computes."""
    counted = Counter()
    for stage in ("encode", "denoise", "decode"):

        def count(run, stage, first, *args):
            counted[stage] += len(first)
            return run(first, *args)

        monkeypatch.setattr(backbone.model, stage, partial(count, getattr(backbone.model, stage), stage))
    return counted


def test_the_published_script(backbone):
    picture = np.asarray(Image.open(PARITY / "cases" / "full_in.png").convert("RGB"))
    expected = np.asarray(Image.open(PARITY / "cases" / "full_out.png").convert("RGB")).astype(int)
    backbone = load_backbone("osediff-sd3", **TINY)  # with the published 512 tokens
    tiles = backbone.tiles(size_of(picture), blend="published")
    assert [t.box.whole() for t in tiles] == [
        (0, 0, 512, 512),
        (128, 0, 640, 512),
        (0, 160, 512, 672),
        (128, 160, 640, 672),
    ]
    prompts = [f"tile row{t.row}col{t.col}" for t in tiles]
    made = to_uint8(whole(backbone, picture, prompts, blend="published"), "truncate")
    # The tolerance of the parity README; measured: no value differs by more than 1.
    assert (np.abs(made - expected) <= 3).mean() >= 0.995


def test_published_odd_sizes_drop_what_fills_no_latent(backbone):
    picture = noise(19, 25)
    made = whole(backbone, picture, blend="published", **SMALL)
    assert made.shape == (72, 96, 3)
    assert [t.box.whole() for t in backbone.tiles(Size(25, 19), blend="published", **SMALL)] == [
        (0, 0, 64, 64), (32, 0, 96, 64), (0, 8, 64, 72), (32, 8, 96, 72),
    ]  # fmt: skip
    # Smaller than a tile, with an odd number of latents: one tile.
    assert whole(backbone, noise(10, 14), blend="published").shape == (40, 56, 3)


def test_published_vae_tiles_are_nearly_the_untiled_ones(backbone, monkeypatch, astronaut):
    picture = astronaut[:64, 100:160]
    untiled = whole(backbone, picture, blend="published", tile=16, overlap=4)
    monkeypatch.setattr(tiled_published, "ENCODER_TILE", 128)
    monkeypatch.setattr(tiled_published, "DECODER_TILE", 16)
    monkeypatch.setattr(tiled_published, "DECODER_PAD", 4)
    store: dict[str, np.ndarray] = {}
    tiled = whole(backbone, picture, blend="published", tile=16, overlap=4, store=store)
    assert Counter(name.split("-")[0] for name in store) == {"encoded": 4, "denoised": 9, "decoded": 4}
    # Attention and estimated norms change every value of random networks; the picture must stay the same one.
    assert np.corrcoef(untiled.ravel(), tiled.ravel())[0, 1] > 0.8
    again = whole(backbone, picture, blend="published", tile=16, overlap=4, store=store)
    np.testing.assert_array_equal(again, tiled)


@pytest.mark.parametrize("size", [(16, 20), (17, 9)])
def test_one_tile_is_what_a_zoom_makes_of_it(backbone, size):
    picture = noise(*size)
    padded = backbone._pad(picture)
    enlarged = resize(padded, Size(padded.shape[1] * 4, padded.shape[0] * 4), "lanczos")
    expected = backbone.refine([enlarged], ["moss"], [5])[0][: size[0] * 4, : size[1] * 4]
    np.testing.assert_array_equal(whole(backbone, picture, "moss", seed=5), expected)


def test_smooth_tiles_lie_inside_and_bits_repeat(backbone):
    picture = noise(25, 30)
    tiles = backbone.tiles(size_of(picture), **SMALL)
    boxes = [t.box.whole() for t in tiles]
    assert max(b[2] for b in boxes) == 120
    assert max(b[3] for b in boxes) == 100
    assert [(t.row, t.col) for t in tiles] == [(r, c) for r in range(3) for c in range(3)]
    first = whole(backbone, picture, "a", **SMALL)
    np.testing.assert_array_equal(first, whole(backbone, picture, "a", **SMALL))
    assert not np.array_equal(first, whole(backbone, picture, "b", **SMALL))
    # Together, tiles differ by rounding alone, which random networks amplify to some thousandths here and there.
    together = np.abs(whole(backbone, picture, "a", batch=4, **SMALL) - first)
    assert (together < 1e-2).mean() > 0.999


def test_no_seams(backbone, astronaut, monkeypatch):
    """Steps between neighbouring pixels where tiles meet, over those elsewhere: as where nothing is tiled."""
    seams, fade = np.array([160, 288]), 16  # nine tiles of 24 latents that share 8: where they meet
    crops = [astronaut[y : y + 112, x : x + 112] for y, x in ((20, 160), (100, 60), (300, 100))]

    def roughness(picture, **grid):
        made, ratios = whole(backbone, picture, **grid), []
        for axis in (0, 1):
            steps = np.abs(np.diff(made, axis=axis)).mean((1 - axis, 2))
            near = (np.abs(np.arange(len(steps)) + 1 - seams[:, None]) <= fade).any(0)
            alike = ~near & (np.arange(len(steps)) % 8 == 7)  # decoders step most from latent to latent
            ratios.append((steps[near].mean() / steps[~near].mean(), steps[seams - 1].mean() / steps[alike].mean()))
        return np.mean(ratios, 0)

    untiled = np.array([roughness(crop) for crop in crops])
    in_fades, at_seams = (np.array([roughness(crop, tile=24, overlap=8) for crop in crops]) / untiled).mean(0)
    assert abs(in_fades - 1) < 0.05
    assert abs(at_seams - 1) < 0.1  # few lines of pixels: noisier
    monkeypatch.setattr(tiled_smooth, "_sample_boxes", lambda *_: [])  # each tile with its own norms
    init = tiled_smooth.SmoothPicture.__init__
    monkeypatch.setattr(tiled_smooth.SmoothPicture, "__init__", lambda *args: init(*args[:-1], 0))  # cut hard
    assert roughness(crops[0], tile=24, overlap=8)[1] / untiled[0, 1] > 1.15


def test_a_picture_of_few_tiles_passes_the_vae_as_if_there_were_none(backbone, calls, monkeypatch):
    monkeypatch.setattr(backbone.model, "denoise", lambda z, _: 0.9 * z)  # sees no further than its latent
    picture = noise(32, 32)
    untiled = whole(backbone, picture, tile=18)
    calls.clear()
    np.testing.assert_allclose(whole(backbone, picture, **SMALL), untiled, atol=1e-5)
    assert (calls["encode"], calls["decode"]) == (1, 1)
    calls.clear()
    assert np.abs(whole(backbone, noise(36, 36), **SMALL)).max() <= 1  # five tiles' worth are the most
    assert calls["decode"] == 16 + 16


def test_a_stopped_run_goes_on_where_it_was(backbone, calls):
    picture = noise(44, 32)
    clean = whole(backbone, picture, **SMALL)
    needed = dict(calls)
    calls.clear()
    assert needed["decode"] == 16 + 15  # samples, and tiles
    store: dict[str, np.ndarray] = {}

    class Killed(dict):
        def __setitem__(self, name, piece):
            store[name] = piece
            if len(store) == 10:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        whole(backbone, picture, store=Killed(), **SMALL)
    assert 0 < sum(calls.values()) < sum(needed.values())
    np.testing.assert_array_equal(whole(backbone, picture, store=store, **SMALL), clean)
    assert calls == needed
    calls.clear()
    np.testing.assert_array_equal(whole(backbone, picture, store=store, **SMALL), clean)
    assert not calls
    # A store that forgets everything costs time and changes nothing.
    np.testing.assert_array_equal(whole(backbone, picture, store=Forgetful(), **SMALL), clean)


class Forgetful(dict):
    def __setitem__(self, name, piece):
        pass


def test_a_changed_prompt_changes_its_tile_and_those_that_overlap_it(backbone, calls):
    picture = noise(88, 16)  # a column of tiles
    tiles = backbone.tiles(size_of(picture), **SMALL)
    prompts = ["moss"] * len(tiles)
    store: dict[str, np.ndarray] = {}
    before = whole(backbone, picture, prompts, store=store, **SMALL)
    calls.clear()
    prompts[1] = "a red car"
    after = whole(backbone, picture, prompts, store=store, **SMALL)
    assert calls == {"denoise": 1, "decode": 3}
    np.testing.assert_array_equal(after, whole(backbone, picture, prompts, **SMALL))
    changed = np.flatnonzero(np.any(before != after, axis=(1, 2)))
    assert tiles[1].box.y0 - 64 < changed.min() < tiles[1].box.y1
    assert changed.max() < tiles[2].box.y1
    assert len(tiles) > 4


def test_every_option_that_matters_is_in_the_names(backbone):
    picture, long, stores = noise(16, 16), noise(24, 16), []
    wide = {"tile": 8, "overlap": 2}  # the same two tiles as with 4, faded otherwise
    runs = (picture, 0, {}), (picture, 1, {}), (noise(16, 16, 1), 0, {}), (long, 0, SMALL), (long, 0, wide)
    for made, seed, grid in runs:
        stores.append({})
        whole(backbone, made, seed=seed, store=stores[-1], **grid)
    other = load_backbone("osediff-sd3", **TINY, t5_tokens=16, shift_in=True)
    stores.append({})
    whole(other, picture, store=stores[-1])
    names = [name for store in stores for name in store]
    assert len(names) == len(set(names))
    assert all(name.replace("-", "").isalnum() for name in names)


def test_memory_does_not_grow_with_the_height(backbone, monkeypatch):
    finish = tiled_smooth.SmoothPicture.finish
    most: Counter[str] = Counter()

    def look(self, stage, tiles):
        finish(self, stage, tiles)
        most["live"] = max(most["live"], len(self.live))
        most["decoded"] = max(most["decoded"], sum(key[0] == 2 for key in self.live))

    monkeypatch.setattr(tiled_smooth.SmoothPicture, "finish", look)
    peaks = []
    for height in (56, 88):
        most.clear()
        whole(backbone, noise(height, 24), **SMALL)
        peaks.append(dict(most))
    assert peaks[0] == peaks[1]
    columns = 2
    assert peaks[0]["decoded"] == 1
    assert peaks[0]["live"] <= 1 + 8 * columns


@pytest.fixture
def half(backbone, monkeypatch):
    """The model as if in bfloat16 (which a CPU hardly runs), and where it denoises to NaN there or in both."""
    model, denoise = backbone.model, backbone.model.denoise
    broken = {"half": "bad", "float32": "worse"}

    def fake(z, prompts):
        precision = "float32" if model.dtype == torch.float32 else "half"
        with model.in_float32():
            made = denoise(z, prompts)
        return torch.full_like(made, torch.nan) if {broken[precision], "worse"} & set(prompts) else made

    monkeypatch.setattr(model, "dtype", torch.bfloat16)
    monkeypatch.setattr(model, "denoise", fake)
    return backbone


@pytest.mark.parametrize("blend", ["smooth", "published"])
def test_nan_is_tried_again_in_float32(half, blend):
    picture, said = noise(20, 32), []
    tiles = half.tiles(size_of(picture), blend=blend, **SMALL)
    prompts = ["fine"] * len(tiles)
    prompts[2] = "bad"
    made = whole(half, picture, prompts, blend=blend, on_fallback=lambda *what: said.append(what), **SMALL)
    assert np.isfinite(made).all()
    assert [number for number, _ in said] == [2]
    assert "float32" in said[0][1]
    prompts[2] = "worse"
    store: dict[str, np.ndarray] = {}
    with pytest.raises(BackboneError, match=r"row 0, column 2 \(pixels 64,0,128,64\).*NaN"):
        whole(half, picture, prompts, blend=blend, store=store, **SMALL)
    assert sum(name.startswith("denoised") for name in store) >= 2
    assert all(np.isfinite(piece).all() for piece in store.values())


def test_flat_results_are_errors_unless_the_picture_is_flat(backbone, monkeypatch):
    grey = np.full((16, 16, 3), 127, np.uint8)
    monkeypatch.setattr(backbone.model, "decode", lambda z: torch.zeros(len(z), 3, 8 * z.shape[2], 8 * z.shape[3]))
    assert np.ptp(whole(backbone, grey)) == 0
    with pytest.raises(BackboneError, match="row 0, column 0"):
        whole(backbone, noise(16, 16))


def test_float32_for_a_while_gives_every_weight_back(backbone):
    model = backbone.model
    before = {name: p.clone() for name, p in model.transformer.named_parameters()}
    text = model.encode_text("moss")[0]
    dtype = model.dtype
    try:
        model.transformer.to(torch.bfloat16)
        model.dtype = torch.bfloat16
        with model.in_float32():
            assert {p.dtype for p in model.transformer.parameters()} == {torch.float32}
            assert model.denoise(torch.randn(1, 16, 4, 4), ["moss"]).isfinite().all()
        assert {p.dtype for p in model.transformer.parameters()} == {torch.bfloat16}
        assert model.encode_text("moss")[0] is text
    finally:
        model.dtype = dtype
        for name, parameter in model.transformer.named_parameters():
            parameter.data = before[name]


@pytest.mark.parametrize(
    "options",
    [
        {"tile": 0},
        {"tile": 7},
        {"tile": 4, "overlap": 0},
        {"overlap": 64},
        {"overlap": -1},
        {"tile": 8},
        {"blend": "odd"},
        {"tile": 400, "overlap": 0},
    ],
)
def test_bad_grids(backbone, options):
    with pytest.raises(UsageError, match="accepted"):
        backbone.tiles(Size(100, 100), **options)


def test_bad_batch(backbone):
    with pytest.raises(UsageError, match="batch"):
        whole(backbone, noise(16, 16), batch=0)
