"""A batch on a real cluster of three nodes on this machine: the same bytes as here, whoever dies."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from batch_files import contents, save
from cluster.perishable import ALWAYS, ONCE, build
from cluster.small import CLIENT_PORT
from conftest import noise

from chain_of_zoom import BackboneError, zoom_many
from chain_of_zoom.api import ChainOfZoom
from chain_of_zoom.batch.many import plan_batch
from chain_of_zoom.batch.on_ray import OnRay
from chain_of_zoom.batch.run import Batch
from chain_of_zoom.chain.request import make_request
from chain_of_zoom.cluster.joining import Crew

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.filterwarnings("ignore")]

SIZE = {"size": (24, 16), "magnification": 16}


def run_on_ray(cluster, folder: Path, out: Path, seeds: dict[str, int], meanwhile=lambda count: None) -> list:
    tasks = []
    for photo in sorted((folder / "photos").glob("*.png")):
        request = make_request(**SIZE, seed=seeds.get(photo.stem, 0))
        tasks += plan_batch([photo], None, [], request, out, recursive=False)
    make = partial(build, str(folder))
    outcomes = []
    for outcome in Batch(make(), tasks, out, executor=OnRay(make, Crew(address=cluster.address))).run():
        outcomes.append(outcome)
        meanwhile(len(outcomes))
    return outcomes


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for number in range(9):
        save(noise(32, 48, number), tmp_path / "photos" / f"p{number}.png")
    (tmp_path / "photos" / "broken.png").write_bytes(b"broken")
    return tmp_path


def test_workers_and_a_node_die_on_the_way_and_one_photo_kills(cluster, photos):
    """Nothing is lost, nobody else fails, and every file has the bytes that it has here."""

    def lose_a_node(count: int) -> None:
        if count == 2:
            cluster.lose_node()

    outcomes = run_on_ray(cluster, photos, photos / "there", {"p3": ONCE, "p6": ALWAYS}, lose_a_node)
    failed = {outcome.task.name: outcome.error for outcome in outcomes if outcome.error}
    assert sorted(failed) == ["broken", "p6"]
    assert isinstance(failed["p6"], BackboneError)
    assert "3 workers died of it" in str(failed["p6"])
    assert sorted(outcome.task.name for outcome in outcomes) == ["broken", *(f"p{number}" for number in range(9))]
    there = contents(photos / "there")
    for number in (0, 3, 8):
        photo, seed = photos / "photos" / f"p{number}.png", ONCE if number == 3 else 0
        list(zoom_many(photo, out=photos / "here", backbone="fake", seed=seed, **SIZE))
        for name, value in contents(photos / "here" / f"p{number}").items():
            assert there[f"p{number}/{name}"] == value


def test_the_client_of_ray_works_too(cluster, tmp_path):
    """Ray cannot be in two modes in one process."""
    for number in range(2):
        save(noise(32, 48, number), tmp_path / "photos" / f"{number}.png")
    command = [sys.executable, "-m", "chain_of_zoom", "zoom", "photos", "-o", "there", "--backbone", "fake"]
    command += ["--size", "24x16", "--zoom", "16", "--quiet", "--on", f"ray://127.0.0.1:{CLIENT_PORT}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stderr
    list(zoom_many(tmp_path / "photos", out=tmp_path / "here", backbone="fake", **SIZE))
    assert contents(tmp_path / "there") == contents(tmp_path / "here")


def test_here_and_there_have_one_name(photos):
    assert build(str(photos)).backbone_record == ChainOfZoom("fake").backbone_record
