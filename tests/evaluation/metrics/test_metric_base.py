from __future__ import annotations

import importlib.util
import math
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from conftest import noise

from chain_of_zoom.errors import BadInputError, MetricError, MissingError, UsageError
from chain_of_zoom.evaluation.metrics.base import MetricInfo, PictureMetric
from chain_of_zoom.evaluation.metrics.table import METRICS, load_metric

pytestmark = [pytest.mark.torch, pytest.mark.slow]


HERE = [name for name in METRICS if load_metric(name).missing() is None]
OF_PICTURES = [name for name in HERE if isinstance(load_metric(name), PictureMetric)]


class Mean(PictureMetric):
    """The mean level; counts how often its weights are read."""

    info = MetricInfo(
        name="mean", direction="higher", range=(0, 255), reference=False, source="", licence="", extra="eval"
    )
    reads = 0

    def _load(self):
        self.reads += 1

    def _measure(self, image, reference):
        assert reference is None
        return math.nan if image.max() == 255 else image.mean()


def test_weights_are_read_once_and_late_even_from_threads():
    metric = Mean()
    assert metric.reads == 0
    with ThreadPoolExecutor(4) as pool:
        values = list(pool.map(metric, [np.full((2, 2, 3), 7, np.uint8)] * 8))
    assert (values, metric.reads) == ([7.0] * 8, 1)


def test_a_value_that_is_no_number_is_an_error():
    with pytest.raises(MetricError, match="mean has no finite value .* nan"):
        Mean()(np.full((2, 2, 3), 255, np.uint8))
    assert issubclass(MetricError, BadInputError)


def test_a_metric_that_cannot_run_names_what_it_lacks():
    metric = Mean()
    metric.needs = ("numpy", "no_such_module")
    assert metric.missing() == "lacks no_such_module; type: pip install 'chain-of-zoom[eval]'"
    with pytest.raises(MissingError, match="metric mean lacks no_such_module; type: pip install"):
        metric(noise(8, 8))


def test_references_and_sizes_are_checked(astronaut):
    psnr = load_metric("psnr")
    with pytest.raises(MetricError, match="compares with a reference"):
        psnr(astronaut)
    with pytest.raises(MetricError, match="one size; these are 512x512 and 512x511"):
        psnr(astronaut, astronaut[:511])
    assert Mean()(noise(4, 4), noise(9, 9)) == noise(4, 4).mean()
    with pytest.raises(MetricError, match=r"ms-ssim: the picture has 512x175 pixels; accepted: sides of at least 176"):
        load_metric("ms-ssim")(astronaut[:175], astronaut[:175])


def test_an_unknown_name_is_a_usage_error_with_a_hint():
    with pytest.raises(UsageError, match="unknown metric 'ssimulacra'; accepted: .*niqe, .*did you mean ssimulacra2"):
        load_metric("ssimulacra")


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_says_what_it_is(name):
    info = load_metric(name).info
    assert info.name == name
    assert info.direction in ("higher", "lower")
    assert info.range[0] < info.range[1]
    assert info.source
    assert info.licence
    assert info.extra == METRICS[name][2]


def test_listing_and_making_every_metric_imports_nothing_heavy():
    code = (
        "import sys; from chain_of_zoom.evaluation.metrics.table import METRICS, load_metric\n"
        "[load_metric(name).missing() for name in METRICS]\n"
        "print({'torch', 'scipy', 'ssimulacra2', 'pyiqa', 'lpips'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("name", OF_PICTURES)
def test_values_lie_in_range_and_get_worse_with_damage(name, astronaut):
    """Blur is damage to every metric, with a reference or without one; a picture against itself is perfect."""
    from scipy.ndimage import gaussian_filter

    metric = load_metric(name)
    truth = astronaut[:256, 100:356]
    blurred = gaussian_filter(truth, (2, 2, 0))
    best, worse = metric(truth, truth), metric(blurred, truth)
    low, high = metric.info.range
    assert low <= worse <= high
    assert low <= best <= high
    assert best > worse if metric.info.direction == "higher" else best < worse
    if metric.info.reference:
        assert best == pytest.approx(high if metric.info.direction == "higher" else low)


def test_nothing_of_the_core_metrics_needs_torchvision():
    """The machine that runs these tests may lack it; then all but the research metrics must still be there."""
    if importlib.util.find_spec("torchvision"):
        pytest.skip("torchvision is installed here")
    assert {name for name in METRICS if METRICS[name][2] != "eval-research"} == set(HERE)
