"""Workers that die one after the other, and pools that are closed, with a stand-in for Ray."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from types import SimpleNamespace

import pytest
from cluster.test_preflight import REPORT
from explorer.sessions import wait_for

from chain_of_zoom.api import ChainOfZoom
from chain_of_zoom.batch.on_ray import remove_leftovers
from chain_of_zoom.cluster.joining import Crew
from chain_of_zoom.cluster.pool import STARTS, TRIES, ChainPool
from chain_of_zoom.errors import BackboneError, MissingError
from chain_of_zoom.files import is_temporary, replacement

DEATH = "The actor died. The actor is dead because its worker process has died, killed by signal 9."


class DeathError(Exception):
    """What Ray raises for a worker that died."""


class Call:
    """A method of an actor, which answers with a value or an error."""

    def __init__(self, answer: object) -> None:
        self.answer = answer

    def remote(self, *arguments: object) -> object:
        return self.answer


class StandInRay:
    """Ray with workers that start or do not, and that do or die; it counts what it is asked."""

    exceptions = SimpleNamespace(RayActorError=DeathError)

    def __init__(self, inspect: object, do: object) -> None:
        self.actor = SimpleNamespace(inspect=Call(inspect), do=Call(do))
        self.starts = self.kills = self.shutdowns = 0

    def remote(self, **options: object):
        return lambda kind: self

    def __getattr__(self, name: str):
        raise AssertionError(name)

    def get(self, answer: object) -> object:
        if isinstance(answer, Exception):
            raise answer
        return answer

    def kill(self, actor: object) -> None:
        self.kills += 1

    def shutdown(self) -> None:
        self.shutdowns += 1

    def nodes(self) -> list[dict[str, object]]:
        return [{"NodeID": "elsewhere", "Alive": True}]


class Starter(StandInRay):
    """As its base, for `make.remote`, which starts a worker."""

    def remote(self, *arguments: object, **options: object):
        if options:
            return super().remote(**options)
        self.starts += 1
        return self.actor


def test_workers_that_die_one_after_the_other_end_the_batch_with_the_reason():
    """Nobody is to blame, since the nodes are gone, too: without a bound they would be started for ever."""
    ray = Starter(REPORT, DeathError(DEATH))
    pool = ChainPool(ray, lambda: ChainOfZoom("fake"), Crew(gpus=0.0), 2, REPORT)
    with pytest.raises(MissingError, match=r"9 workers died one after the other \(its worker process has died"):
        pool.ask(len)
    assert ray.starts == 2 + TRIES * 3 - 1


def test_workers_that_do_not_start_end_the_batch_with_the_reason(monkeypatch):
    monkeypatch.setattr("chain_of_zoom.cluster.pool.PAUSE", 0.0)
    ray = Starter(DeathError(DEATH), None)
    pool = ChainPool(ray, lambda: ChainOfZoom("fake"), Crew(gpus=0.0), 1, REPORT)
    with pytest.raises(MissingError, match=r"workers cannot start \(its worker process has died, killed by signal 9"):
        pool.ask(len)
    assert ray.starts == 1 + STARTS


def test_a_pool_is_closed_once():
    """A call after the connection was left would make Ray join again, behind the back of the next batch."""
    ray = Starter(REPORT, (True, 3))
    pool = ChainPool(ray, lambda: ChainOfZoom("fake"), Crew(gpus=0.0), 1, REPORT)
    pool.leaves = True
    assert pool.ask(len) == 3
    pool.close()
    pool.close()
    assert (ray.kills, ray.shutdowns) == (1, 1)
    with pytest.raises(BackboneError, match="the cluster is let go"):
        pool.ask(len)


def test_workers_come_with_the_work_and_go_without(monkeypatch):
    monkeypatch.setattr("chain_of_zoom.cluster.pool.IDLE", 0.2)
    ray, go = Starter(REPORT, (True, 3)), threading.Event()
    get = ray.get
    ray.get = lambda answer: (answer is REPORT or go.wait(10)) and get(answer)
    pool = ChainPool(ray, lambda: ChainOfZoom("fake"), Crew(gpus=0.0), 3, REPORT, least=1)
    assert ray.starts == 1
    with ThreadPoolExecutor(8) as threads:
        answers = [threads.submit(pool.ask, len) for _ in range(8)]
        wait_for(lambda: ray.starts == 3)
        go.set()
        assert [answer.result() for answer in answers] == [3] * 8
    wait_for(lambda: ray.kills == 2)
    assert pool.ask(len) == 3
    pool.close()
    assert (ray.starts, ray.kills) == (3, 3)


@pytest.mark.skipif(sys.platform == "win32", reason="needs flock")
def test_what_an_ended_worker_had_half_written_goes_as_soon_as_it_is_gone(tmp_path):
    def write_until_killed() -> None:
        with suppress(SystemExit), replacement(tmp_path / "01_4x.png") as file:
            file.write(b"half")
            is_writing.set()
            is_killed.wait(10)
            raise SystemExit

    is_writing, is_killed = threading.Event(), threading.Event()
    with ThreadPoolExecutor(2) as threads:
        writer = threads.submit(write_until_killed)
        assert is_writing.wait(10)
        (tmp_path / ".0123456789abcdef.coz.tmp").write_bytes(b"half")
        cleaner = threads.submit(remove_leftovers, {tmp_path, tmp_path / "never made"})
        wait_for(lambda: len(list(tmp_path.iterdir())) == 1)
        assert not cleaner.done(), "one is still at work"
        is_killed.set()
        writer.result(10)
        cleaner.result(10)
    assert not any(is_temporary(path.name) for path in tmp_path.iterdir())
