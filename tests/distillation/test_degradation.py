"""Whole degradations: what is drawn how often, and what it leaves of a picture."""

from __future__ import annotations

from collections import Counter

import msgspec
import numpy as np
import pytest
from conftest import noise

from chain_of_zoom.distillation.degradation import DEGRADATIONS, degrade, sample_operations
from chain_of_zoom.distillation.operations import Blur, GaussianNoise, Jpeg, Operation, PoissonNoise, Resize, apply
from chain_of_zoom.imaging.geometry import Size
from chain_of_zoom.imaging.images import to_uint8

COUNT = 3000
Sample = tuple[Operation, ...]


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    rng = np.random.default_rng(5)
    return [sample_operations("real-esrgan", rng, Size(512, 512)) for _ in range(COUNT)]


def check(found: int, share: float, of: int = COUNT) -> None:
    assert abs(found - share * of) < 4.5 * np.sqrt(of * share * (1 - share)), (found / of, share)


def split(sample: Sample) -> tuple[Sample, Sample, Sample]:
    """First round, second round without its JPEG, and the end."""
    first = 1 + next(i for i, operation in enumerate(sample) if isinstance(operation, Jpeg))
    second = 1 + next(i for i, o in enumerate(sample) if i >= first and isinstance(o, GaussianNoise | PoissonNoise))
    return sample[:first], sample[first:second], sample[second:]


def kinds(operations: Sample) -> str:
    letters = {Blur: "b", Resize: "r", GaussianNoise: "n", PoissonNoise: "n", Jpeg: "j"}
    return "".join(letters[type(operation)] for operation in operations)


@pytest.mark.slow
def test_the_order_is_the_published_one(samples):
    first, second, end = (Counter(kinds(part) for part in parts) for parts in zip(*map(split, samples), strict=True))
    assert set(first) == {"brnj"}
    check(second.pop("brn"), 0.8)
    assert set(second) == {"rn"}
    assert set(end) == {"rbjr", "jrbr", "rjr", "jrr"}
    check(end["rbjr"] + end["jrbr"], 0.8)
    check(end["rbjr"] + end["rjr"], 0.5)
    for sample in samples:
        *_, small, whole = (each for each in sample if isinstance(each, Resize))
        assert (small.width, small.height, whole.width, whole.height) == (128, 128, 512, 512)


@pytest.mark.parametrize(
    ("number", "base", "shares", "factors", "level", "scale"),
    [
        (0, 512, (0.2, 0.7, 0.1), (0.15, 1.5), (1, 30), (0.05, 3)),
        (1, 128, (0.3, 0.4, 0.3), (0.3, 1.2), (1, 25), (0.05, 2.5)),
    ],
)
def test_ranges_and_frequencies_of_a_round(samples, number, base, shares, factors, level, scale):
    rounds = [split(sample)[number] for sample in samples]
    sizes = np.array([each.width for part in rounds for each in part if isinstance(each, Resize)])
    for found, share in zip(((sizes > base).sum(), (sizes < base).sum(), (sizes == base).sum()), shares, strict=True):
        check(found, share)  # a factor so near to 1 that the size stays is rarer than the tolerance
    assert factors[0] * base - 1 <= sizes.min() < (factors[0] + 0.05) * base
    assert (factors[1] - 0.05) * base < sizes.max() <= factors[1] * base
    ways = Counter(each.interpolation for part in rounds for each in part if isinstance(each, Resize))
    for how in ("area", "bilinear", "bicubic"):
        check(ways[how], 1 / 3)
    gaussian = [each for part in rounds for each in part if isinstance(each, GaussianNoise)]
    poisson = [each for part in rounds for each in part if isinstance(each, PoissonNoise)]
    check(len(gaussian), 0.5)
    check(sum(each.grey for each in (*gaussian, *poisson)), 0.4)
    for values, (low, high) in (([g.sigma for g in gaussian], level), ([p.scale for p in poisson], scale)):
        assert low <= min(values) <= max(values) <= high
        assert np.mean(values) == pytest.approx((low + high) / 2, rel=0.05)


def test_qualities(samples):
    qualities = [each.quality for sample in samples for each in sample if isinstance(each, Jpeg)]
    assert (min(qualities), max(qualities)) == (30, 95)
    assert np.mean(qualities) == pytest.approx(62.5, abs=1.2)


@pytest.mark.parametrize("how", DEGRADATIONS)
@pytest.mark.parametrize("size", [(8, 8), (64, 32), (100, 132)])
def test_the_result_has_the_size_of_the_truth(how, size):
    pixels = noise(size[1], size[0])
    for seed in range(5):
        lr = degrade(pixels, how, np.random.default_rng(seed))
        assert lr.shape == pixels.shape
        assert lr.dtype == np.uint8
        assert np.array_equal(lr, degrade(pixels, how, np.random.default_rng(seed)))


def test_a_sample_read_from_json_gives_the_same_bytes(astronaut):
    crop = astronaut[:128, 160:288]
    rng = np.random.default_rng(11)
    expected = degrade(crop, "real-esrgan", rng)
    operations = sample_operations("real-esrgan", np.random.default_rng(11), Size(128, 128))
    again = msgspec.json.decode(msgspec.json.encode(operations), type=tuple[Operation, ...])
    *_, last = apply(crop, again)
    assert np.array_equal(to_uint8(last), expected)


def fine(pixels: np.ndarray) -> float:
    """Energy of the differences between neighbours."""
    return float(np.square(np.diff(pixels.astype(float), axis=1)).mean())


@pytest.mark.slow
def test_detail_goes_and_tones_stay(astronaut):
    crop = astronaut[60:316, 120:376]
    results = [degrade(crop, "real-esrgan", np.random.default_rng(seed)) for seed in range(12)]
    # Noise clipped at black and white, and JPEG, move tones a little.
    assert all(abs(lr.mean() - crop.mean()) < 12 for lr in results)
    assert np.median([fine(lr) for lr in results]) < 0.5 * fine(crop)
    bicubic = degrade(crop, "bicubic", np.random.default_rng(0))
    errors = [float(np.square(lr.astype(float) - crop).mean()) for lr in (bicubic, *results)]
    assert min(errors[1:]) > 0.9 * errors[0]  # never milder than what a zoom shows
    assert len({lr.tobytes() for lr in results}) == 12
