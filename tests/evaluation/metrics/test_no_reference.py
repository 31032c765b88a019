"""NIQE and PIQE against golden values of independent implementations.

How they came about: basicsr 1.4.2's `calculate_niqe` (its own parameters, crop border 0) and pypiqe 1.2's `piqe`, run
once on these pictures with numpy 2.4, torch 2.13 and OpenCV 5.0.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from chain_of_zoom.errors import MetricError
from chain_of_zoom.evaluation.metrics.matlab import grey, halve, normalise_locally
from chain_of_zoom.evaluation.metrics.niqe import PARAMETERS, fit_gaussian
from chain_of_zoom.evaluation.metrics.table import load_metric
from chain_of_zoom.imaging.geometry import Size
from chain_of_zoom.imaging.images import resize

SHA256 = "2a7c182a68c9e7f1b2e2e5ec723279d6f65d912b6fcaf37eb2bf03d7367c4296"
SDIST = "COZ_BASICSR_SDIST"

# picture: NIQE, PIQE
GOLDEN = {
    "whole": (3.06461, 33.6615),
    "crop": (3.47025, 28.6327),
    "blurred": (6.93219, 87.2995),
    "noisy": (8.95032, 50.3509),
}


@pytest.fixture(scope="module")
def pictures(astronaut):
    generator = np.random.default_rng(0)
    return {
        "whole": astronaut,
        "crop": np.ascontiguousarray(astronaut[100:400, 50:391]),  # sides that no block divides
        "blurred": resize(resize(astronaut, Size(128, 128), "bicubic"), Size(512, 512), "bicubic"),
        "noisy": np.clip(astronaut + generator.normal(0, 20, astronaut.shape), 0, 255).astype(np.uint8),
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", GOLDEN)
def test_niqe_is_that_of_basicsr(name, pictures):
    """To 0.002: basicsr computes in float32, and in flat areas NIQE counts the signs of rounding errors."""
    assert load_metric("niqe")(pictures[name]) == pytest.approx(GOLDEN[name][0], abs=0.002)


@pytest.mark.parametrize("name", GOLDEN)
def test_piqe_is_that_of_pypiqe(name, pictures):
    """To 0.15: OpenCV's grey is up to a level off MATLAB's, and PIQE counts blocks; on OpenCV's grey it is equal."""
    assert load_metric("piqe")(pictures[name]) == pytest.approx(GOLDEN[name][1], abs=0.15)


def test_the_parameters_are_the_published_ones():
    data = (files("chain_of_zoom.evaluation.metrics") / PARAMETERS).read_bytes()
    assert hashlib.sha256(data).hexdigest() == SHA256


def test_the_parameters_are_those_in_the_sdist():
    if not (path := os.environ.get(SDIST)):
        pytest.skip(f"{SDIST} names no file; pip download --no-deps --no-binary :all: basicsr==1.4.2 gets it")
    with tarfile.open(Path(path)) as sdist:
        member = sdist.extractfile("basicsr-1.4.2/basicsr/metrics/niqe_pris_params.npz")
        assert member
        assert hashlib.sha256(member.read()).hexdigest() == SHA256


def test_flat_pictures():
    """NIQE has nothing to say of them; PIQE has its worst value, as MATLAB documents, black included."""
    for level in (0, 90):
        flat = np.full((200, 200, 3), level, np.uint8)
        with pytest.raises(MetricError, match="0 of 4 blocks of 96x96 pixels show anything"):
            load_metric("niqe")(flat)
        assert load_metric("piqe")(flat) == 100


def test_niqe_needs_two_blocks(astronaut):
    with pytest.raises(MetricError, match="sides of at least 96"):
        load_metric("niqe")(astronaut[:95])
    with pytest.raises(MetricError, match="1 of 1 blocks"):
        load_metric("niqe")(astronaut[200:296, 200:296])


def test_the_half_of_a_plane_is_that_of_imresize():
    """By hand: a ramp stays a ramp inside, a constant stays, and a point spreads as the stretched cubic kernel."""
    ramp = np.tile(np.arange(16.0), (8, 1))
    np.testing.assert_allclose(halve(ramp)[:, 2:-2], np.tile(np.arange(8) * 2 + 0.5, (4, 1))[:, 2:-2], atol=1e-12)
    np.testing.assert_allclose(halve(np.full((8, 8), 3.0)), 3, atol=1e-12)
    point = np.zeros((16, 16))
    point[8, 8] = 1
    column = halve(point)[:, 4] / halve(point)[4, 4]
    np.testing.assert_allclose(column[2:7] * 111, [-3, 29, 111, -9, 0], atol=1e-9)  # cubic(k/2 - 1/4) in 256ths


def test_grey_is_that_of_rgb2gray():
    colours = np.array([[[255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    np.testing.assert_array_equal(grey(colours), [[255, 76, 150, 29]])


def test_a_flat_area_is_exactly_even():
    """Rounding noise there would count as structure."""
    plane = np.full((40, 40), 200.3)
    assert not normalise_locally(plane).any()


def test_the_fit_finds_the_shape_it_was_drawn_from():
    from scipy.stats import gennorm

    for shape in (0.7, 2.0, 4.0):
        drawn = gennorm.rvs(shape, scale=3, size=(400, 500), random_state=1)
        found, left, right = fit_gaussian(drawn)
        assert found == pytest.approx(shape, rel=0.03)
        assert (left, right) == (pytest.approx(3, rel=0.03), pytest.approx(3, rel=0.03))
