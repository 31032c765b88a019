"""PSNR, SSIM, MS-SSIM and SSIMULACRA2 against other implementations of the same formulas."""

from __future__ import annotations

import io

import numpy as np
import pytest
from conftest import noise
from PIL import Image

from chain_of_zoom.evaluation.metrics.matlab import luma
from chain_of_zoom.evaluation.metrics.ssim import WEIGHTS
from chain_of_zoom.evaluation.metrics.ssimulacra2 import blur
from chain_of_zoom.evaluation.metrics.table import load_metric


def jpeg(pixels, quality):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer).convert("RGB"))


@pytest.fixture(scope="module")
def pairs(astronaut):
    """A hardly and a badly damaged picture, the second with sides that nothing divides."""
    return [
        (jpeg(astronaut, 90)[:256, :256], astronaut[:256, :256]),
        (jpeg(astronaut, 5)[:299, :397], astronaut[:299, :397]),
    ]


@pytest.mark.slow
def test_psnr_is_that_of_scikit_image(pairs):
    from skimage.metrics import peak_signal_noise_ratio

    for image, truth in pairs:
        assert load_metric("psnr")(image, truth) == pytest.approx(peak_signal_noise_ratio(truth, image), abs=1e-9)
        expected = peak_signal_noise_ratio(luma(truth), luma(image), data_range=255)
        assert load_metric("psnr-y")(image, truth) == pytest.approx(expected, abs=1e-9)


def test_psnr_of_equal_pictures_is_the_cap_and_of_opposites_zero():
    black, white = np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 255, np.uint8)
    assert load_metric("psnr")(black, black) == 100
    assert load_metric("psnr")(black, white) == 0


def test_luma_is_that_of_the_standard():
    colours = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    np.testing.assert_allclose(luma(colours)[0], [16, 235, 81.481, 144.553, 40.966], atol=1e-9)


def test_ssim_is_that_of_scikit_image(pairs):
    from skimage.metrics import structural_similarity

    for image, truth in pairs:
        expected = structural_similarity(
            luma(truth), luma(image), data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        assert load_metric("ssim")(image, truth) == pytest.approx(expected, abs=1e-9)


@pytest.mark.slow
def test_ms_ssim_is_that_of_torchmetrics(pairs):
    """To 1e-3 as a whole, as torchmetrics mirrors the border of its last scale; to 1e-6 from its parts without it."""
    torch = pytest.importorskip("torch")
    image_metrics = pytest.importorskip("torchmetrics.functional.image")
    for image, truth in pairs:
        one, other = (torch.from_numpy(luma(picture))[None, None] for picture in (image, truth))
        value = load_metric("ms-ssim")(image, truth)
        whole = image_metrics.multiscale_structural_similarity_index_measure(one, other, data_range=255.0)
        assert value == pytest.approx(float(whole), abs=1e-3)
        product = 1.0
        for scale, weight in enumerate(WEIGHTS):
            last = scale == len(WEIGHTS) - 1
            _, part = image_metrics.structural_similarity_index_measure(
                one, other, data_range=255.0, return_full_image=last, return_contrast_sensitivity=not last
            )
            product *= float(part[..., 5:-5, 5:-5].mean() if last else part) ** weight
            one, other = (torch.nn.functional.avg_pool2d(plane, 2) for plane in (one, other))
        assert value == pytest.approx(product, abs=1e-6)


@pytest.mark.slow
def test_negative_correlation_counts_as_none(astronaut):
    assert load_metric("ms-ssim")(255 - astronaut, astronaut) == 0
    assert load_metric("ssim")(255 - astronaut, astronaut) < 0


@pytest.mark.slow
def test_ssimulacra2_is_the_package_under_the_published_blur(pairs, monkeypatch):
    """The same maps, scales and weights; the package's own blur moves the score of the bad picture by 7 points."""
    package = pytest.importorskip("ssimulacra2.ssimulacra2")

    def packaged(image, truth):
        files = [io.BytesIO(), io.BytesIO()]
        for file, pixels in zip(files, (truth, image), strict=True):
            Image.fromarray(pixels).save(file, "PNG")
        return package.compute_ssimulacra2(*files)

    ours = load_metric("ssimulacra2")
    for (image, truth), distance in zip(pairs, (0.5, 10), strict=True):
        score = ours(image, truth)
        assert score == pytest.approx(packaged(image, truth), abs=distance)
        assert score != pytest.approx(ours(truth, image), abs=0.01)
        with monkeypatch.context() as patched:
            patched.setattr(package, "blur_image", blur)
            assert score == pytest.approx(packaged(image, truth), abs=1e-9)


def test_the_blur_of_ssimulacra2_is_a_gaussian_that_ends():
    """The published recursive filter as a finite one: sum, width and symmetry of a Gaussian of sigma 1.5."""
    point = np.zeros((21, 21, 1))
    point[10, 10] = 1
    spread = blur(point)[..., 0]
    across = spread.sum(axis=0)
    places = np.arange(21) - 10
    assert across.sum() == pytest.approx(1, abs=1e-12)
    assert (across * places**2).sum() == pytest.approx(1.5**2, abs=1e-9)
    np.testing.assert_allclose(spread, spread.T, atol=1e-15)
    gaussian = np.exp(-(places**2) / 4.5) / np.exp(-(places**2) / 4.5).sum()
    assert np.abs(across - gaussian).max() < 0.002
    assert blur(np.ones((5, 5, 1)))[0, 0, 0] < 0.5  # black beyond the edges, as published


@pytest.mark.slow
def test_noise_against_noise_is_finite_everywhere():
    for name in ("psnr", "psnr-y", "ssim", "ms-ssim", "ssimulacra2"):
        assert np.isfinite(load_metric(name)(noise(256, 256), noise(256, 256, 1)))
