"""What the embedded networks need on the CPU is known beforehand; where there is less, they say so."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest
from conftest import noise

from chain_of_zoom import load_backbone, resources
from chain_of_zoom.api import ChainOfZoom, make_request
from chain_of_zoom.backbones import feedforward
from chain_of_zoom.errors import ShortageError
from chain_of_zoom.imaging.geometry import Size

MB = 1 << 20
linux = pytest.mark.skipif(sys.platform != "linux", reason="limits of the shell are checked against /proc")


@pytest.fixture
def room(monkeypatch):
    """Say how many MB this process may still take."""

    def allow(size: float) -> None:
        monkeypatch.setattr(resources, "available_memory", lambda *_, **__: round(size * MB))

    return allow


def test_weights_that_do_not_fit_are_refused_before_they_are_read(room):
    room(150)
    with pytest.raises(
        ShortageError, match="weights of realsr: 339 MB needed, 157 MB allowed; .*--backbone animevideo"
    ):
        load_backbone("realsr", device="cpu", runtime="ncnn").load()
    load_backbone("animevideo", device="cpu").load()


def test_a_window_that_does_not_fit_is_refused_before_it_is_computed(room):
    backbone = load_backbone("animevideo", device="cpu")
    backbone.load()
    room(20)
    with pytest.raises(ShortageError, match=r"animevideo with windows of 128x96 pixels: \d+ MB needed, 21 MB allowed"):
        backbone([noise(96, 128)])
    assert backbone([noise(24, 24)])[0].shape == (96, 96, 3)


def test_what_a_window_took_serves_the_next(room):
    backbone = load_backbone("animevideo", device="cpu")
    backbone([noise(48, 64)])
    assert backbone.workspace(Size(64, 48)) == 0
    assert backbone.workspace(Size(32, 32)) == 0
    larger = backbone.workspace(Size(96, 48))
    assert 0 < larger < load_backbone("animevideo", device="cpu").workspace(Size(96, 48))
    room(1)
    backbone([noise(48, 64)])


@pytest.mark.slow
def test_tiles_are_what_counts_of_a_window_that_is_cut(room):
    backbone = load_backbone("animevideo", device="cpu")
    backbone.load()
    backbone.info = feedforward.replace(backbone.info, max_pixels=64 * 64)
    room(25)
    assert backbone([noise(100, 100)])[0].shape == (400, 400, 3)
    room(10)
    with pytest.raises(ShortageError, match="100x100"):
        backbone([noise(100, 100)], at_once=True)


def test_a_zoom_says_which_size_fits(room, tmp_path):
    chain = ChainOfZoom("animevideo", backbone_options={"device": "cpu"})
    chain.load()
    room(20)
    run = chain.plan(chain.read_photo(noise(300, 300)), make_request(magnification=16, size=(512, 384)))
    with pytest.raises(ShortageError, match="; free memory or use --size ") as caught:
        run.open(tmp_path / "run")
    width, height = map(int, str(caught.value).rpartition(" ")[2].split("x"))
    assert not (tmp_path / "run").exists()
    smaller = chain.plan(chain.read_photo(noise(300, 300)), make_request(magnification=16, size=(width, height)))
    smaller.open(tmp_path / "run").close()


@pytest.mark.slow
def test_ncnn_without_memory_is_an_error_and_says_nothing_of_its_own():
    class Extractor:
        def input(self, name, mat):
            pass

        def extract(self, name):
            return -100, None

    class Net:
        def create_extractor(self):
            return Extractor()

    backbone = load_backbone("animevideo", device="cpu")
    backbone.load()
    backbone._net = Net()
    references = sys.getrefcount(backbone._net)

    def fail():
        with pytest.raises(ShortageError, match="animevideo failed in ncnn, out of memory; free memory or use smaller"):
            backbone([noise(24, 24)])

    fail()
    gc.collect()  # the traceback, which knows the net too
    assert sys.getrefcount(backbone._net) > references  # its end would write on the terminal


CODE = """
import re, sys
import numpy as np
from chain_of_zoom import load_backbone
from chain_of_zoom.backbones import feedforward
from chain_of_zoom.imaging.geometry import Size

def held(name):
    return int(re.search(name + r":\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024

name, runtime, width, height = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
backbone = load_backbone(name, device="cpu", threads=2, runtime=runtime)
fixed, per_byte = feedforward._CPU_WEIGHTS[runtime]
weights = fixed + per_byte * backbone.find_files()[1].stat().st_size
before = held("VmRSS")
backbone.load()
needed = weights + backbone.workspace(Size(width, height))
backbone([np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)], at_once=True)
print(needed, held("VmHWM") - before)
"""


@pytest.mark.slow
@linux
@pytest.mark.parametrize(
    ("name", "runtime", "width", "height"),
    [
        ("animevideo", "ncnn", 512, 512),
        ("animevideo", "ncnn", 900, 40),
        ("realesrgan-anime", "ncnn", 96, 64),
        ("span", "ncnn", 256, 200),
        ("realesrgan-anime", "mnn", 256, 200),
        ("animevideo", "mnn", 400, 300),
        ("span", "mnn", 400, 300),
    ],
)
def test_a_prediction_is_never_less_than_what_is_taken_and_not_much_more(name, runtime, width, height):
    if runtime == "mnn":
        pytest.importorskip("MNN", reason="needs the extra [fast]")
    command = [sys.executable, "-c", CODE, name, runtime, str(width), str(height)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    needed, taken = map(float, done.stdout.split())
    assert taken <= needed < 1.3 * taken + 45e6
