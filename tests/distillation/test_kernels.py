"""Blur kernels against their definitions, scipy, and the published frequencies."""

from __future__ import annotations

from collections import Counter

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy import special

from chain_of_zoom.distillation.kernels import SHAPES, SIZES, Kernel, bessel_j1, sample_kernel, sample_sinc

SIGMAS = st.floats(0.2, 3)
KERNELS = st.builds(
    Kernel,
    shape=st.sampled_from([*SHAPES, "sinc"]),
    size=st.sampled_from(list(SIZES)),
    sigma=st.tuples(SIGMAS, SIGMAS),
    angle=st.floats(-np.pi, np.pi),
    beta=st.floats(0.5, 4),
    cutoff=st.floats(np.pi / 5, np.pi),
)


@pytest.mark.slow
@given(KERNELS)
@hypothesis_settings(max_examples=60)
def test_every_kernel_keeps_the_mean_and_the_middle(kernel):
    weights = kernel.weights()
    assert weights.shape == (kernel.size, kernel.size)
    assert weights.sum() == pytest.approx(1, abs=1e-12)
    assert np.allclose(weights, weights[::-1, ::-1], atol=1e-14)
    if kernel.shape != "sinc":
        assert weights.min() >= 0
        assert weights.max() == weights[kernel.size // 2, kernel.size // 2]
    assert msgspec.json.decode(msgspec.json.encode(kernel), type=Kernel) == kernel


def gaussian(x: np.ndarray, sigma: float) -> np.ndarray:
    values = np.exp(-(x**2) / (2 * sigma**2))
    return values / values.sum()


def test_an_upright_gaussian_is_the_product_of_two():
    axis = np.arange(-10, 11)
    kernel = Kernel(shape="aniso", size=21, sigma=(2.5, 0.8))
    expected = np.outer(gaussian(axis, 0.8), gaussian(axis, 2.5))  # sigma of x first, rows are y
    assert np.allclose(kernel.weights(), expected, atol=1e-15)
    assert np.allclose(Kernel(shape="generalized_aniso", size=21, sigma=(2.5, 0.8)).weights(), expected, atol=1e-15)


def test_a_turned_gaussian_has_the_turned_covariance():
    angle, sigma = 0.6, (2.0, 1.0)
    weights = Kernel(shape="aniso", size=21, sigma=sigma, angle=angle).weights()
    y, x = np.mgrid[-10:11, -10:11]
    found = np.array([[(weights * x * x).sum(), (weights * x * y).sum()], [0, (weights * y * y).sum()]])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    expected = turn @ np.diag(np.square(sigma)) @ turn.T
    # 21 pixels hold five deviations: what is cut off is below a thousandth.
    assert np.allclose(found[np.triu_indices(2)], expected[np.triu_indices(2)], rtol=1e-3)


@pytest.mark.parametrize("beta", [1.0, 1.4, 2.0])
def test_plateaus_fall_to_one_half_at_one_sigma(beta):
    weights = Kernel(shape="plateau_iso", size=15, sigma=(3.0, 3.0), beta=beta).weights()
    assert weights[7, 10] / weights[7, 7] == pytest.approx(0.5)
    assert weights[7, 13] / weights[7, 7] == pytest.approx(1 / (1 + 4**beta))


@pytest.mark.parametrize("beta", [0.5, 1.0, 4.0])
def test_generalised_gaussians_fall_to_the_same_value_at_one_sigma(beta):
    weights = Kernel(shape="generalized_iso", size=15, sigma=(3.0, 3.0), beta=beta).weights()
    assert weights[7, 10] / weights[7, 7] == pytest.approx(np.exp(-0.5))
    assert weights[7, 13] / weights[7, 7] == pytest.approx(np.exp(-0.5 * 4**beta))


def test_sinc_filters_agree_with_scipy_and_pass_what_is_below_the_cutoff():
    x = np.linspace(-60, 60, 501)
    assert np.allclose(bessel_j1(x), special.j1(x), atol=1e-13)
    kernel = Kernel(shape="sinc", size=21, cutoff=np.pi / 2)
    radius = np.hypot(*np.mgrid[-10:11, -10:11])
    with np.errstate(invalid="ignore"):
        expected = special.j1(kernel.cutoff * radius) / radius
    expected[10, 10] = kernel.cutoff / 2
    assert np.allclose(kernel.weights(), expected / expected.sum(), atol=1e-15)
    passed = np.abs(np.fft.rfft2(kernel.weights(), (64, 64)))[0]  # along one axis; the cutoff is at 16
    assert passed[:12].min() > 0.8  # cut off at 21 px, it ripples
    assert passed[20:].max() < 0.2


@pytest.mark.slow
def test_what_is_drawn_has_the_published_frequencies_and_ranges():
    rng, count = np.random.default_rng(0), 4000
    drawn = [sample_kernel(rng, (0.2, 1.5)) for _ in range(count)]

    def check(found: int, share: float, of: int = count) -> None:
        assert abs(found - share * of) < 4.5 * np.sqrt(of * share * (1 - share)), (found / of, share)

    shapes = Counter(kernel.shape for kernel in drawn)
    check(shapes.pop("sinc"), 0.1)
    for shape, share in SHAPES.items():
        check(shapes[shape], 0.9 * share)
    sizes = Counter(kernel.size for kernel in drawn)
    assert sorted(sizes) == [7, 9, 11, 13, 15, 17, 19, 21]
    for size in sizes:
        check(sizes[size], 1 / 8)
    sigmas = np.array([kernel.sigma for kernel in drawn if kernel.shape == "aniso"])
    assert sigmas.min() >= 0.2
    assert sigmas.max() <= 1.5
    assert sigmas.mean() == pytest.approx(0.85, abs=0.03)
    assert all(k.sigma[0] == k.sigma[1] and k.angle == 0 for k in drawn if k.shape.endswith("_iso"))
    generalised = [kernel.beta for kernel in drawn if kernel.shape.startswith("generalized")]
    check(sum(beta < 1 for beta in generalised), 0.5, len(generalised))
    assert 0.5 <= min(generalised) < max(generalised) <= 4
    plateaus = [kernel.beta for kernel in drawn if kernel.shape.startswith("plateau")]
    check(sum(beta == 1 for beta in plateaus), 0.5, len(plateaus))
    assert max(plateaus) <= 2
    cutoffs = [(kernel.size, kernel.cutoff) for kernel in drawn if kernel.shape == "sinc"]
    assert min(cutoff for size, cutoff in cutoffs if size < 13) >= np.pi / 3
    assert np.pi / 5 <= min(cutoff for size, cutoff in cutoffs if size >= 13) < np.pi / 4
    assert all(np.pi / 3 <= sample_sinc(rng).cutoff <= np.pi for _ in range(100))


def test_kernels_say_what_they_are():
    assert str(Kernel(shape="iso", size=9, sigma=(1.5, 1.5))) == "iso 9 px, sigma 1.50"
    turned = Kernel(shape="generalized_aniso", size=21, sigma=(1.0, 2.0), angle=np.pi / 6, beta=0.7)
    assert str(turned) == "generalized aniso 21 px, sigma 1.00 x 2.00 at 30 deg, beta 0.70"
    assert str(Kernel(shape="sinc", size=7, cutoff=np.pi / 2)) == "sinc 7 px, cutoff 0.50 pi"
