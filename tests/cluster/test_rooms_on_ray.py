"""Whole pictures and benchmarks on a real cluster: the same bytes as here."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from batch_files import contents, save
from cluster.perishable import ONCE, build, read_pid
from conftest import noise
from explorer import mortal
from explorer.sessions import photo_pixels, wait_for

from chain_of_zoom.api import ChainOfZoom
from chain_of_zoom.cluster.joining import Crew
from chain_of_zoom.cluster.working import open_chain
from chain_of_zoom.datasets.manifest import read_data
from chain_of_zoom.errors import UsageError
from chain_of_zoom.evaluation.evaluate import Benchmark, evaluate
from chain_of_zoom.evaluation.methods import parse_methods
from chain_of_zoom.evaluation.true_zoom import TrueZoom
from chain_of_zoom.explorer.grid import SightRect
from chain_of_zoom.explorer.session import ExplorerSession
from chain_of_zoom.explorer.store import TileStore
from chain_of_zoom.explorer.worker import open_far_chain
from chain_of_zoom.imaging.decode import decode
from chain_of_zoom.imaging.images import Picture
from chain_of_zoom.upscaling.job import prepare
from chain_of_zoom.upscaling.request import UpscaleRequest
from chain_of_zoom.upscaling.run import upscale_to_file

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.filterwarnings("ignore")]


def test_a_picture_is_made_tile_by_tile_although_a_worker_dies(cluster, tmp_path):
    photo = decode(save(noise(100, 150), tmp_path / "photo.png"))
    request, make = UpscaleRequest(scale=4, tile=72, seed=ONCE), partial(build, str(tmp_path))
    with open_chain(make, Crew(address=cluster.address)) as chain:
        record = upscale_to_file(prepare(photo, request, chain, tmp_path / "there.png"))
    upscale_to_file(prepare(photo, request, ChainOfZoom("fake"), tmp_path / "here.png"))
    assert (tmp_path / "there.png").read_bytes() == (tmp_path / "here.png").read_bytes()
    assert list(tmp_path.glob("died for *"))
    assert record.steps[0].tiles > 5
    assert record.backbone == ChainOfZoom("fake").backbone_record


def test_a_benchmark_has_the_same_states_and_numbers(cluster, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in range(3):
        save(np.kron(noise(48, 48, number), np.ones((8, 8, 1), np.uint8)), tmp_path / "photos" / f"{number}.png")
    for out, crew in (("there", Crew(address=cluster.address)), ("here", None)):
        benchmark = Benchmark(
            data=read_data((tmp_path / "photos").relative_to(tmp_path)),
            methods=parse_methods("fake"),
            protocol=TrueZoom((4,), spots=1, seed=0),
            metrics=("psnr",),
            jobs=1,
            crew=crew,
        )
        results = evaluate(benchmark, (tmp_path / out).relative_to(tmp_path))
        assert not results.failures
    there, here = contents(tmp_path / "there"), contents(tmp_path / "here")
    assert there == here
    assert len(there) > 20


def test_tiles_of_the_explorer_are_made_again_where_a_worker_dies(cluster, tmp_path):
    """Workers come with what is wanted, and nobody hears of those that die."""
    events: list[dict] = []
    there = make_all(open_far_chain(mortal.build, Crew(address=cluster.address)), tmp_path / "there", events, kill=True)
    assert there == make_all(mortal.build(), tmp_path / "here", events)
    assert len(there) > 10
    assert not [event for event in events if event["type"] == "failed"]


def make_all(chain: ChainOfZoom, folder: Path, events: list[dict], *, kill: bool = False) -> dict[str, bytes | None]:
    session = ExplorerSession(chain, TileStore(folder))
    try:
        tree = session.plant(session.open_photo(Picture.of_pixels(photo_pixels() // 2)))
        session.look(session.join(events.append), tree, 2, SightRect(0, 0, 0.6, 0.6))
        if kill:
            wait_for(lambda: len(session.store) > 2, 60)
            os.kill(chain.ask(read_pid), signal.SIGKILL)
        wait_for(lambda: session.count_waiting() == 0, 60)
        return {key: session.store.read(key) for key in list(session.store._tiles)}
    finally:
        session.close()


def test_tiles_that_depend_on_one_another_are_refused(coz, tmp_path):
    save(noise(16, 16), tmp_path / "photo.png")
    end = coz("upscale", "photo.png", "--backbone", "osediff-sd3", "--on", "ray")
    assert end.returncode == UsageError.exit_code
    assert "which blends tiles as it makes them" in end.stderr
