"""What is checked before a cluster works, and what a worker says of a row: without a cluster."""

from __future__ import annotations

import fcntl
import os
import pickle
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from batch_files import save
from conftest import noise

from chain_of_zoom.api import ChainOfZoom
from chain_of_zoom.batch.executors import BatchOptions
from chain_of_zoom.batch.rows import zoom_rows
from chain_of_zoom.batch.tasks import Task
from chain_of_zoom.chain.record import BackboneRecord, Record
from chain_of_zoom.chain.request import make_request
from chain_of_zoom.cluster import nodes
from chain_of_zoom.cluster.joining import Crew, count_seats, import_ray, join
from chain_of_zoom.cluster.nodes import PROBE, NodeReport, check_is_path, compare_reports, share_places
from chain_of_zoom.errors import BadInputError, DownError, InUseError, MissingError, OutputError, UsageError, rebuild
from chain_of_zoom.resources import CORES, available_cores

REPORT = NodeReport(
    node="a",
    node_id="0",
    software={"python": "3.11.7", "ncnn": "1.0"},
    backbone=BackboneRecord.of(ChainOfZoom("fake").backbone),
    prompter="null",
    prompter_sha256={},
    device=None,
)


@pytest.mark.parametrize(
    ("text", "address"), [("ray", ""), ("ray:node:6379", "node:6379"), ("ray://node:10001", "ray://node:10001")]
)
def test_addresses(text, address):
    assert Crew.parse(text).address == address


@pytest.mark.parametrize("text", ["", "dask", "ray:", "ray://node", "ray:node:port", "ray node:1"])
def test_other_addresses_are_refused(text):
    with pytest.raises(UsageError, match="accepted: ray, ray:HOST:6379"):
        Crew.parse(text)


@pytest.mark.parametrize("numbers", [{"workers": 0}, {"cpus": 0}, {"gpus": -1.0}, {"gpus": 1.5}])
def test_numbers_of_workers_are_checked(numbers):
    with pytest.raises(UsageError, match="accepted: "):
        Crew.parse("ray", **numbers)


def test_a_worker_needs_all_that_it_asks_for_on_one_node():
    node = {"CPU": 8.0, "GPU": 2.0}
    assert [count_seats(node, Crew(cpus=cpus, gpus=gpus)) for cpus, gpus in ((1, 0), (3, 0), (1, 1), (1, 0.5))] == [
        8, 2, 2, 4,
    ]  # fmt: skip
    assert count_seats({"CPU": 8.0}, Crew(gpus=1.0)) == 0


@pytest.mark.parametrize(
    ("change", "wording"),
    [
        ({"software": {"python": "3.11.7", "ncnn": "2.0"}}, "ncnn 2.0, not ncnn 1.0"),
        ({"software": {"python": "3.11.7"}}, "ncnn None, not ncnn 1.0"),
        ({"device": "cuda"}, "device cuda, not device None"),
        ({"prompter_sha256": {"model": "12"}}, "prompter {'model': '12'}, not prompter {}"),
    ],
)
def test_what_differs_on_a_node_is_named(change, wording):
    assert compare_reports(REPORT, REPORT) == ""
    assert compare_reports(REPORT, replace(REPORT, **change)) == wording


@pytest.mark.parametrize("address", ["s3://bucket/photo.jpg", "gs://bucket/out", "https://host/photo.jpg"])
def test_addresses_of_buckets_are_refused_with_a_way_out(address):
    with pytest.raises(UsageError, match=r"is an address; accepted here: a path, .* mount the bucket"):
        check_is_path(Path(address))
    check_is_path(Path("/shared/a:b.png"))


def test_a_node_without_the_folder_of_the_others_says_so(tmp_path):
    photo = save(noise(8, 8), tmp_path / "a.png")
    with share_places([tmp_path / "gone.png", photo], tmp_path / "out") as places:
        assert nodes._find_problem(places) == ""
        assert "does not see" in nodes._find_problem(replace(places, out=tmp_path))
        assert "does not see" in nodes._find_problem(replace(places, probe="of another batch"))
        assert "has another file at" in nodes._find_problem(replace(places, photo_sha256="12"))
        photo.unlink()
        assert "cannot read" in nodes._find_problem(places)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_check_that_fails_leaves_nothing(tmp_path):
    def check() -> None:
        with share_places([], tmp_path / "out"):
            assert (tmp_path / "out" / PROBE).exists()
            raise OutputError("node b does not see it")

    with pytest.raises(OutputError):
        check()
    assert list(tmp_path.iterdir()) == []


def test_without_the_extra_the_error_names_the_command(monkeypatch, coz):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingError, match=r"pip install 'chain-of-zoom\[ray\]'"):
        import_ray()
    end = coz("zoom", "photo.png", "--on", "ray")
    assert (end.returncode, end.stdout) == (5, "")
    assert "pip install 'chain-of-zoom[ray]'" in end.stderr
    assert list(Path().iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "advice"), [("ray:node:6379", "type: ray status"), ("ray://node:10001", "set RAY_AUTH_MODE=token")]
)
def test_a_cluster_that_does_not_answer(monkeypatch, text, advice):
    def fail(**settings: object) -> None:
        raise ConnectionError("ray client connection timeout")

    monkeypatch.setattr(import_ray(), "init", fail)
    with pytest.raises(
        DownError, match=rf"no Ray cluster at .*node:[0-9]+ \(ray client connection timeout\).*{advice}"
    ):
        join(Crew.parse(text))


def test_a_process_may_be_given_fewer_cores(monkeypatch):
    monkeypatch.setenv(CORES, "1")
    assert available_cores() == 1


def test_errors_cross_processes_by_name():
    assert isinstance(rebuild("BadInputError", "a.png: damaged"), BadInputError)
    foreign = rebuild("ZeroDivisionError", "division by zero")
    assert (type(foreign).__name__, str(foreign)) == ("ZeroDivisionError", "division by zero")


@pytest.mark.slow
def test_rows_are_descriptions_and_answers_texts(tmp_path):
    request = make_request(size=(24, 16), magnification=4)
    tasks = [Task(photo=save(noise(32, 48), tmp_path / "a.png"), request=request, name="a")]
    tasks += [Task(photo=tmp_path / "gone.png", request=request, name="gone")]
    options, chain = BatchOptions(out=tmp_path / "out"), ChainOfZoom("fake")
    assert len(pickle.dumps((tasks, options))) < 2000
    answers = [answer for task in tasks for answer in zoom_rows(chain, [task], options)]
    assert [answer.status for answer in answers] == ["done", "failed"]
    assert Record.from_json(answers[0].record).complete
    assert answers[1].error[0] == "BadInputError"
    assert len(list((tmp_path / "out" / "thumbnails").iterdir())) == 2
    assert [answer.status for answer in zoom_rows(chain, tasks[:1], options)] == ["kept"]


@pytest.mark.slow
def test_a_folder_that_a_lost_worker_still_holds_is_waited_for(tmp_path):
    request = make_request(size=(24, 16), magnification=4)
    task = Task(photo=save(noise(32, 48), tmp_path / "a.png"), request=request, name="a")
    options, chain = BatchOptions(out=tmp_path / "out"), ChainOfZoom("fake")
    (tmp_path / "out" / "a").mkdir(parents=True)
    handle = os.open(tmp_path / "out" / "a", os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with pytest.raises(InUseError):
        list_all(chain, task, options)
    threading.Timer(0.2, os.close, [handle]).start()
    assert [answer.status for answer in zoom_rows(chain, [task], options)] == ["done"]


def list_all(chain: ChainOfZoom, task: Task, options: BatchOptions) -> None:
    run = chain.plan(chain.read_photo(task.photo), task.request)
    run.open(options.locate(task), name=task.name)
