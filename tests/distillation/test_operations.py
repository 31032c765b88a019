"""Each operation of a degradation against somebody else's, or against the sum that defines it."""

from __future__ import annotations

import io
import math

import msgspec
import numpy as np
import pytest
from conftest import noise
from PIL import Image
from scipy import ndimage

from chain_of_zoom.distillation.kernels import Kernel
from chain_of_zoom.distillation.operations import (
    Bicubic,
    Blur,
    GaussianNoise,
    Jpeg,
    Operation,
    PoissonNoise,
    Resize,
    apply,
    convolve,
)
from chain_of_zoom.imaging.images import enlarge

EVERY: list[Operation] = [
    Blur(Kernel(shape="plateau_aniso", size=9, sigma=(1.0, 2.0), angle=0.4, beta=1.5)),
    Resize(20, 15, "bilinear"),
    GaussianNoise(20.0, False, 3),
    Jpeg(40),
    Resize(40, 31, "bicubic"),
    PoissonNoise(2.0, True, 4),
    Resize(31, 40, "area"),
    Blur(Kernel(shape="sinc", size=7, cutoff=1.5)),
    PoissonNoise(0.5, False, 5),
    Bicubic(40, 40),
]


@pytest.fixture
def picture() -> np.ndarray:
    return noise(30, 37).astype(np.float32) / np.float32(255)


@pytest.mark.parametrize("shape", [(3, 3), (9, 5), (21, 21)])
def test_blur_is_scipys_convolution(picture, shape):
    weights = np.random.default_rng(0).random(shape)  # not symmetric, so that a turned kernel shows
    expected = np.stack([ndimage.convolve(plane, weights, mode="mirror") for plane in picture.transpose(2, 0, 1)], -1)
    assert np.abs(convolve(picture, weights) - expected).max() < 1e-6 * weights.sum() * 10
    assert np.allclose(convolve(picture[:5, :4], np.full((21, 21), 1 / 441)), picture[:5, :4].mean((0, 1)), atol=0.2)


def test_a_pulse_changes_nothing(picture):
    pulse = np.zeros((21, 21))
    pulse[10, 10] = 1
    assert np.abs(convolve(picture, pulse) - picture).max() < 1e-6


@pytest.mark.parametrize("how", ["area", "bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(37, 30), (12, 9), (55, 45), (5, 4), (36, 31), (148, 120)])
def test_resize_is_the_published_codes_resampler(picture, how, size):
    torch = pytest.importorskip("torch")
    planes = torch.from_numpy(picture).permute(2, 0, 1)[None]
    expected = torch.nn.functional.interpolate(planes, size=size[::-1], mode=how)[0].permute(1, 2, 0).numpy()
    resized = Resize(*size, how)(picture)
    assert resized.shape == expected.shape
    assert np.abs(resized - expected).max() < 1e-5  # single precision, coordinates included


def test_resize_by_hand():
    row = np.array([0, 0.2, 0.6, 1.0], np.float32)[None, :, None].repeat(3, 2)
    assert Resize(2, 1, "area")(row)[0, :, 0] == pytest.approx([0.1, 0.8])
    assert Resize(3, 1, "area")(row)[0, :, 0] == pytest.approx([0.1, 0.4, 0.8])  # shared pixels count in full
    assert Resize(8, 1, "bilinear")(row)[0, :3, 0] == pytest.approx([0, 0.05, 0.15])
    assert Resize(2, 1, "bilinear")(row)[0, :, 0] == pytest.approx([0.1, 0.8])


def test_bicubic_is_what_a_zoom_does():
    pixels = noise(32, 32)
    down, back = apply(pixels, [Bicubic(8, 8), Bicubic(32, 32)])
    expected = Image.fromarray(pixels).resize((8, 8), Image.Resampling.BICUBIC)
    assert np.array_equal(np.rint(down * 255), np.asarray(expected))
    assert np.array_equal(np.rint(back * 255), enlarge(np.asarray(expected), 4))


@pytest.mark.parametrize("grey", [False, True])
def test_gaussian_noise_has_its_deviation(grey):
    flat = np.full((200, 200, 3), 0.5, np.float32)
    added = GaussianNoise(20.0, grey, 7)(flat) - flat
    assert added.std() * 255 == pytest.approx(20, rel=0.02)
    assert abs(added.mean()) * 255 < 0.4  # 20 / sqrt(40000) is 0.1
    correlation = np.corrcoef(added[..., 0].ravel(), added[..., 1].ravel())[0, 1]
    assert correlation == pytest.approx(1.0 if grey else 0.0, abs=0.02)


@pytest.mark.parametrize("values", [2, 5, 200])
def test_poisson_noise_has_the_variance_of_counting(values):
    levels = np.linspace(60, 120, values).astype(np.uint8)
    pixels = np.resize(levels, (300, 300))[..., None].repeat(3, 2) / np.float32(255)
    events = 2 ** math.ceil(math.log2(len(np.unique(levels))))
    scale = 0.4 * math.sqrt(events / 64)  # keeps the noise away from black and white
    added = (PoissonNoise(scale, False, 1)(pixels) - pixels).astype(float)
    assert added.var() == pytest.approx(scale**2 * pixels.mean() / events, rel=0.03)
    assert abs(added.mean()) < 4 * added.std() / math.sqrt(added.size)
    dark, bright = pixels == pixels.min(), pixels == pixels.max()
    if min(dark.sum(), bright.sum()) > 10_000:
        assert added[bright].var() / added[dark].var() == pytest.approx(pixels.max() / pixels.min(), rel=0.1)


def test_grey_poisson_noise_counts_luma():
    colour = np.array([0.8, 0.2, 0.4], np.float32)
    flat = np.tile(colour, (300, 300, 1))
    added = PoissonNoise(0.02, True, 2)(flat) - flat
    assert np.ptp(added, axis=2).max() < 1e-6
    luma = 0.299 * 0.8 + 0.587 * 0.2 + 0.114 * 0.4
    assert added[..., 0].var() == pytest.approx(0.02**2 * luma, rel=0.03)  # one value, so white is one event


def test_jpeg_is_pillows(picture):
    buffer = io.BytesIO()
    Image.fromarray(np.rint(picture * 255).astype(np.uint8)).save(buffer, "JPEG", quality=60)
    assert np.array_equal(np.rint(Jpeg(60)(picture) * 255), np.asarray(Image.open(buffer)))


def test_a_lower_quality_is_worse(astronaut):
    part = astronaut[100:228, 150:278].astype(np.float32) / np.float32(255)
    errors = [float(np.square(Jpeg(quality)(part) - part).mean()) for quality in (30, 60, 95)]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 2 * errors[2]


@pytest.mark.parametrize("operation", EVERY, ids=lambda each: str(each).split(",")[0])
def test_operations_are_pure_and_repeatable(picture, operation):
    before = picture.copy()
    first, second = operation(picture), operation(picture)
    assert np.array_equal(picture, before)
    assert first.tobytes() == second.tobytes()
    assert first.dtype == np.float32
    assert first.flags.c_contiguous
    if not isinstance(operation, Blur | Resize):
        assert 0 <= first.min() <= first.max() <= 1


def test_a_degradation_can_be_written_down_and_made_again():
    pixels = noise(40, 40, 1)
    text = msgspec.json.encode(EVERY)
    again = msgspec.json.decode(text, type=list[Operation])
    assert again == EVERY
    *_, first = apply(pixels, EVERY)
    *_, second = apply(pixels, again)
    assert first.tobytes() == second.tobytes()
    assert [str(each).partition(":")[0] for each in again][:4] == ["blur", "resize", "noise", "JPEG"]
