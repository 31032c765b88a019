"""A batch on a real cluster of three nodes on this machine: the same bytes as here, whoever dies."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from batch_files import contents, save
from cluster.perishable import ALWAYS, ONCE, build
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


def test_a_cluster_makes_the_bytes_of_one_machine(cluster, photos):
    """Summary and page included, although zooms end in another order."""
    run_on_ray(cluster, photos, photos / "there", {})
    list(zoom_many(photos / "photos", out=photos / "here", backbone="fake", **SIZE))
    assert contents(photos / "there") == contents(photos / "here")


def test_a_worker_that_dies_is_replaced_and_one_task_that_kills_is_a_failure(cluster, photos):
    """Nothing is lost, and nobody else fails."""
    outcomes = run_on_ray(cluster, photos, photos / "out", {"p3": ONCE, "p6": ALWAYS})
    failed = {outcome.task.name: outcome.error for outcome in outcomes if outcome.error}
    assert sorted(failed) == ["broken", "p6"]
    assert isinstance(failed["p6"], BackboneError)
    assert "3 workers died of it" in str(failed["p6"])
    assert sorted(outcome.task.name for outcome in outcomes) == ["broken", *(f"p{number}" for number in range(9))]


def test_a_node_may_be_lost_on_the_way(cluster, photos):
    def lose_a_node(count: int) -> None:
        if count == 2:
            cluster.lose_node()

    outcomes = run_on_ray(cluster, photos, photos / "there", {}, lose_a_node)
    assert len({outcome.task.name for outcome in outcomes}) == len(outcomes) == 10
    list(zoom_many(photos / "photos", out=photos / "here", backbone="fake", **SIZE))
    assert contents(photos / "there") == contents(photos / "here")
    again = run_on_ray(cluster, photos, photos / "there", {})
    assert sorted({outcome.status for outcome in again}) == ["failed", "kept"]


def test_here_and_there_have_one_name(photos):
    assert build(str(photos)).backbone_record == ChainOfZoom("fake").backbone_record
