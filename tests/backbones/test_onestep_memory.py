"""osediff-sd3 when memory is short and when precision fails; the memory is faked, the tiny weights are not."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import PARITY, noise

torch = pytest.importorskip("torch", reason="needs the extra [diffusion]")
pytest.importorskip("diffusers", reason="needs the extra [diffusion]")

from chain_of_zoom import BackboneError, load_backbone, zoom  # noqa: E402
from chain_of_zoom.backbones import onestep  # noqa: E402
from chain_of_zoom.imaging.geometry import Size  # noqa: E402
from chain_of_zoom.imaging.images import resize  # noqa: E402
from chain_of_zoom.networks.sd import tiled_smooth  # noqa: E402
from chain_of_zoom.runtime import placement  # noqa: E402
from chain_of_zoom.runtime.plan import NetworkPart  # noqa: E402
from chain_of_zoom.runtime.precision import TOLERANCE, cast, measure_relative_error  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.slow]


GB = 10**9
PARTS = (
    NetworkPart(name="clip", stage="texts", parameters=8 * GB // 10),
    NetworkPart(name="t5", stage="texts", parameters=5 * GB // 2),
    NetworkPart(name="transformer", stage="image", parameters=2 * GB),
    NetworkPart(name="vae", stage="image", parameters=GB // 10, work=GB),
)
TINY = {
    "base": PARITY / "tiny_sd3",
    "lora": PARITY / "model_tiny.pkl",
    "vae_encoder": PARITY / "vae_encoder_tiny.pt",
}
WINDOWS, WORDS, SEEDS = [noise(16, 16, i) for i in range(5)], ["moss", "", "a leaf", "moss", "stone"], [5, 6, 7, 8, 9]


def on_a_gpu(monkeypatch, gigabytes: float, **options):
    """The backbone as on a GPU with so much free memory, which is the CPU under another plan; in float32."""
    monkeypatch.setattr(placement, "measure_free_memory", lambda: {"cpu": int(gigabytes * GB)})
    monkeypatch.setattr(placement, "check_host_memory", lambda planned: None)  # these sizes are of no real network
    monkeypatch.setattr(onestep, "sd3_parts", lambda folder, t5: PARTS)
    backbone = load_backbone("osediff-sd3", **TINY, **options)
    backbone.load()
    return backbone


@pytest.fixture(scope="module")
def alone():
    """Each by itself."""
    backbone = load_backbone("osediff-sd3", **TINY, device="cpu")
    return [backbone([window], [words], [seed])[0] for window, words, seed in zip(WINDOWS, WORDS, SEEDS, strict=True)]


@pytest.fixture
def roomy(monkeypatch):
    backbone = on_a_gpu(monkeypatch, 30)
    assert backbone.model.residence.placement.mode == "resident"
    assert backbone._batch == 4
    return backbone


@pytest.fixture
def said() -> list[tuple[int, str]]:
    return []


@pytest.mark.slow
def test_a_batch_is_each_of_its_pictures_within_rounding(roomy, alone):
    together = roomy(WINDOWS, WORDS, SEEDS)
    for ours, theirs in zip(together, alone, strict=True):
        # Sums in another order: some units in the last place, through fifty layers.
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


@pytest.mark.slow
def test_staged_weights_enter_once_however_many_batches_there_are(monkeypatch, alone):
    backbone = on_a_gpu(monkeypatch, 17)
    residence = backbone.model.residence
    assert (residence.placement.mode, residence.pinned, backbone._batch) == ("staged", set(), 4)
    before = residence.swaps
    together = backbone(WINDOWS, WORDS, SEEDS)
    assert residence.swaps - before == 2, "the text encoders for all texts, and the rest for both batches"
    for ours, theirs in zip(together, alone, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


@pytest.mark.slow
def test_texts_are_encoded_once_and_together(roomy, monkeypatch):
    encoded: list[str] = []
    real = roomy.model._encode_batch
    monkeypatch.setattr(roomy.model, "_encode_batch", lambda prompts: encoded.extend(prompts) or real(prompts))
    roomy(WINDOWS, WORDS, SEEDS)
    roomy(WINDOWS[:2], WORDS[:2], SEEDS[:2])
    assert encoded == ["moss", "", "a leaf", "stone"]
    roomy.model.encode_texts([f"word {number}" for number in range(64)])
    assert len(roomy.model._texts) == 64
    roomy(WINDOWS[:1], WORDS[:1], SEEDS[:1])
    assert encoded[-1] == "moss", "the least recent ones are forgotten"


def limited(monkeypatch, model, pixels: int) -> list[tuple[int, ...]]:
    """Room for batches of at most so many pixels in the VAE."""
    shapes: list[tuple[int, ...]] = []
    real = model.encode

    def encode(pictures, seeds):
        shapes.append(tuple(pictures.shape))
        if pictures.shape[0] * pictures.shape[2] * pictures.shape[3] > pixels:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(pictures, seeds)

    monkeypatch.setattr(model, "encode", encode)
    return shapes


@pytest.mark.slow
def test_out_of_memory_first_halves_the_batch_and_says_so(roomy, alone, monkeypatch, said):
    shapes = limited(monkeypatch, roomy.model, 64 * 64)
    results = roomy(WINDOWS, WORDS, SEEDS, on_fallback=lambda *note: said.append(note))
    for ours, theirs in zip(results, alone, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)
    assert [shape[0] for shape in shapes] == [4, 2, 1, 1, 1, 1, 1]
    assert said[::4][:2] == [
        (0, "out of GPU memory with 4 at once; 2 at once"),
        (0, "out of GPU memory with 2 at once; 1 at once"),
    ]
    assert {index for index, _ in said} == {0, 1, 2, 3}
    said.clear()
    roomy(WINDOWS, WORDS, SEEDS, on_fallback=lambda *note: said.append(note))
    assert said == [], "what fits is remembered"


@pytest.mark.slow
def test_then_one_picture_is_made_in_tiles_and_the_state_says_so(monkeypatch):
    backbone = on_a_gpu(monkeypatch, 30)
    shapes = limited(monkeypatch, backbone.model, 256 * 256)
    picture = noise(16, 16).repeat(32, 0).repeat(32, 1)
    state = zoom(picture, magnification=4, size=(512, 512), backbone=backbone).states[-1]
    assert state.fallbacks == ("out of GPU memory; in tiles of 256 px",)
    assert shapes[0][2:] == (512, 512)
    assert len(shapes) == 1 + 1 + 9, "the whole, the samples for the norms, nine tiles"


@pytest.mark.slow
def test_its_tiles_are_those_of_whole_pictures(monkeypatch):
    """But for fewer samples for the norms. Random weights say nothing of how near to the untiled picture they are."""
    backbone = load_backbone("osediff-sd3", **TINY, device="cpu", t5_tokens=16)
    small = noise(8, 8).repeat(5, 0).repeat(5, 1)
    picture = resize(small, Size(160, 160), "lanczos")
    (expected,) = backbone.refine([picture], ["moss"], [3])
    np.testing.assert_array_equal(backbone._refine_in_tiles(0, picture, "moss", 3), expected)
    monkeypatch.setattr(onestep, "TILE", 8)
    monkeypatch.setattr(onestep, "OVERLAP", 4)
    real = tiled_smooth.SmoothPicture
    monkeypatch.setattr(tiled_smooth, "SmoothPicture", lambda *args, **_: real(*args))
    words = ["moss"] * 16
    whole = np.concatenate([pixels for _, pixels in backbone.enlarge_whole(small, words, 3, tile=8, overlap=4)])
    np.testing.assert_array_equal(backbone._refine_in_tiles(0, picture, "moss", 3), whole)


@pytest.mark.slow
def test_then_everything_else_leaves_the_gpu_and_after_that_it_is_an_error(roomy, monkeypatch, said):
    residence = roomy.model.residence
    shapes = limited(monkeypatch, roomy.model, 0)
    with pytest.raises(BackboneError, match="does not fit into the memory of the GPU; accepted: .*--memory low"):
        roomy(WINDOWS[:1], WORDS[:1], SEEDS[:1], on_fallback=lambda *note: said.append(note))
    assert residence.pinned == set()
    assert len(shapes) == 2

    monkeypatch.undo()
    real = roomy.model.encode
    residence.pinned = {"texts", "image"}

    def encode(pictures, seeds):
        if residence.pinned:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(pictures, seeds)

    monkeypatch.setattr(roomy.model, "encode", encode)
    roomy(WINDOWS[:1], WORDS[:1], SEEDS[:1], on_fallback=lambda *note: said.append(note))
    assert said == [(0, "out of GPU memory; all other models moved off the GPU")]


@pytest.fixture
def half(monkeypatch):
    """As if in bfloat16; by what is `spoiled` for a precision, all that the transformer makes in it is multiplied."""
    backbone = on_a_gpu(monkeypatch, 30)
    model = backbone.model
    spoiled: dict[str, float] = {}
    real = model.denoise

    def denoise(z, prompts):
        precision = str(model.dtype)[6:]
        dtype, model.dtype = model.dtype, torch.float32  # whatever it claims, a CPU computes in float32
        made = real(z, prompts)
        model.dtype = dtype
        return made * spoiled.get(precision, 1.0)

    monkeypatch.setattr(model, "dtype", torch.bfloat16)
    monkeypatch.setattr(model, "denoise", denoise)
    return backbone, spoiled


@pytest.mark.slow
@pytest.mark.parametrize("factor", [float("nan"), float("inf")])
def test_nan_is_tried_once_more_in_float32(half, factor, said):
    backbone, spoiled = half
    (expected,) = backbone(WINDOWS[:1], WORDS[:1], SEEDS[:1], on_fallback=lambda *note: said.append(note))
    assert said == []
    spoiled["bfloat16"] = factor
    (again,) = backbone(WINDOWS[:1], WORDS[:1], SEEDS[:1], on_fallback=lambda *note: said.append(note))
    assert said == [(0, "came out unusable in bfloat16; computed again in float32")]
    np.testing.assert_array_equal(again, expected)
    spoiled["float32"] = factor
    with pytest.raises(BackboneError, match="NaN"):
        backbone(WINDOWS[:1], WORDS[:1], SEEDS[:1])


@pytest.mark.slow
def test_refined_pictures_say_what_happened_too(half, said):
    backbone, spoiled = half
    spoiled["bfloat16"] = float("nan")
    backbone.refine([noise(64, 64)], ["moss"], [0], on_fallback=lambda *note: said.append(note))
    assert said == [(0, "came out unusable in bfloat16; computed again in float32")]


def test_bfloat16_where_a_cpu_has_it_stays_within_the_tolerances():
    if not placement.cpu_has_bfloat16():
        pytest.skip("this CPU has no bfloat16")
    exact = load_backbone("osediff-sd3", **TINY, device="cpu")
    half = load_backbone("osediff-sd3", **TINY, device="cpu", dtype="bfloat16")
    exact.load()
    half.load()
    z = torch.randn(2, 16, 8, 8, generator=torch.Generator().manual_seed(0))
    z = z[:, : exact.model.vae.config.latent_channels]
    v, expected = (z - model.denoise(z, ["moss", "leaf"]) for model in (half.model, exact.model))
    # The text encoders round too, which the tolerance of the transformer alone leaves out.
    assert measure_relative_error(v, expected) < 2 * TOLERANCE["transformer"]
    errors = half.model.vae.dtype
    assert errors in (torch.bfloat16, torch.float32)
    assert half.model.residence.as_record()["vae"] == f"cpu {str(errors)[6:]}"
    for name in ("transformer", "clip", "t5"):
        assert half.model.residence.as_record()[name] == "cpu bfloat16"


@pytest.mark.slow
def test_only_what_makes_pixels_becomes_float32_while_the_texts_are_finite():
    backbone = load_backbone("osediff-sd3", **TINY, device="cpu")
    backbone.load()
    model = backbone.model
    for encoder in model.encoders:
        cast(encoder, torch.float16)
    model._texts["moss"] = (torch.zeros(1, 2, 3), torch.zeros(1, 3))
    with model.in_float32():
        assert {encoder.dtype for encoder in model.encoders} == {torch.float16}
        assert "moss" in model._texts
        assert model.transformer.dtype == torch.float32
    model._texts["moss"] = (torch.full((1, 2, 3), torch.inf), torch.zeros(1, 3))
    with model.in_float32():
        assert {encoder.dtype for encoder in model.encoders} == {torch.float32}
        assert not model._texts
