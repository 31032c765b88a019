"""Chains that work on the machines of a cluster, for any thread; whoever dies is replaced, and its work repeated."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from chain_of_zoom.api import ChainOfZoom
from chain_of_zoom.cluster.joining import Crew, count_seats, join, list_nodes
from chain_of_zoom.cluster.nodes import (
    BuildChain,
    NodeReport,
    SharedPlaces,
    build_and_inspect,
    check_nodes,
    compare_reports,
)
from chain_of_zoom.errors import BackboneError, ChainOfZoomError, MissingError, UsageError, rebuild
from chain_of_zoom.resources import CORES

DEPTH = 2
"""Tasks that a worker has at a time: the next one lies there when one ends, so that it never waits for this process."""
TRIES = 3
"""Deaths of workers on nodes that live on, after which their task is to blame: it may take too much memory."""
STARTS = 5
"""Starts of one worker in a row that may fail."""
PAUSE = 2.0
"""Seconds to wait before the next start, times how many failed."""
IDLE = 60.0
"""Seconds without a task after which a worker of an elastic pool ends."""
FAREWELL = 10.0
"""Seconds that workers have to notice that they are no longer needed, starting ones and ended ones."""


class ChainWorker:
    """A chain in a process of its own on some node; Ray makes it there."""

    def __init__(self, build: BuildChain, cpus: int) -> None:
        os.environ[CORES] = str(cpus)
        self._build = build
        self._chain: ChainOfZoom | None = None

    def inspect(self) -> NodeReport | tuple[str, str]:
        """Report on the node, once the chain is there."""
        return build_and_inspect(self._find_chain, SharedPlaces())

    def do(self, task: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[bool, Any]:
        """Do a task with the chain before its arguments; errors come back as name and message."""
        try:
            return True, task(self._find_chain(), *arguments)
        except ChainOfZoomError as error:
            return False, (type(error).__name__, str(error))
        except Exception as error:
            return False, ("BackboneError", f"{type(error).__name__}: {error}")

    def _find_chain(self) -> ChainOfZoom:
        if self._chain is None:
            self._chain = self._build()
        return self._chain


class _Member:
    """A worker as the pool sees it."""

    def __init__(self, actor: Any) -> None:
        self.actor = actor
        self.node = ""
        self.tasks: list[object] = []  # in the order in which they are done; each is a token of its own
        self.fatal: object = None  # the one that was at work when it died
        self.idle_since = time.monotonic()


class ChainPool:
    """Workers of a crew. They come one by one; what is asked waits for the first."""

    def __init__(
        self, ray: Any, build: BuildChain, crew: Crew, workers: int, report: NodeReport, least: int | None = None
    ) -> None:
        """Begin to start workers. crew: with GPUs settled. report: what every node has to say of itself.

        least: where it is less than `workers`, so many are there always, and others come and go with the work.
        """
        self.size = workers
        self.report = report
        self.leaves = False
        self._ray = ray
        self._build = build
        self._change = threading.Condition(threading.RLock())
        self._members: list[_Member] = []
        self._starting: list[Any] = []
        self._coming = 0  # workers that start, or wait to be started again
        self._problem: Exception | None = None
        self._deaths = 0  # since a task was last done
        self._is_closed = False
        options = {"num_cpus": crew.cpus, "num_gpus": crew.gpus or 0, "max_restarts": 0, "max_task_retries": 0}
        self._cpus = crew.cpus
        self._make = ray.remote(**options)(ChainWorker)
        self._least = min(least or workers, workers)
        for _ in range(self._least):
            self._start()
        if self._least < workers:
            threading.Thread(target=self._dismiss_idle, daemon=True).start()

    @property
    def lanes(self) -> int:
        """How many tasks to ask for at a time, so that no worker waits."""
        return DEPTH * self.size

    def ask(self, task: Callable[..., Any], *arguments: Any) -> Any:
        """Have a function of a module done by a worker, with the chain before its arguments; return what it returns.

        A worker that dies meanwhile is replaced, and the task done again. Raises the errors of the task, BackboneError
        where TRIES workers died of it, and MissingError where a node differs from the others.
        """
        deaths = 0
        while True:
            token = object()
            member = self._take(token)
            try:
                is_done, value = self._ray.get(member.actor.do.remote(task, arguments))
            except self._ray.exceptions.RayActorError as error:
                self._replace(member, error)
                deaths += member.fatal is token and self._is_alive(member.node)
                if deaths >= TRIES:
                    raise BackboneError(
                        f"{deaths} workers died of it; accepted: what fits into their memory; "
                        "give each more of it with --worker-cpus or a smaller --size"
                    ) from error
                continue
            finally:
                self._give_back(member, token)
            self._deaths = 0
            if is_done:
                return value
            raise rebuild(*value)

    def close(self) -> None:
        """End all workers, in the middle of a task, too; a pool that is closed stays so."""
        with self._change:
            if self._is_closed:
                return
            self._is_closed = True
            actors = [member.actor for member in self._members] + self._starting
            self._change.notify_all()
        for actor in actors:
            with suppress(Exception):  # it may be dead already
                self._ray.kill(actor)
        with self._change:  # a thread that asks Ray for something after it was left would join again
            self._change.wait_for(lambda: not self._starting, FAREWELL)
        if self.leaves:
            self._ray.shutdown()

    def _take(self, token: object) -> _Member:
        with self._change:
            while True:
                if self._problem:
                    raise self._problem
                if self._is_closed:
                    raise BackboneError("no more work is done: the cluster is let go")
                free = [member for member in self._members if len(member.tasks) < DEPTH]
                is_short = all(member.tasks for member in free) and not self._coming
                if is_short and len(self._members) < self.size:
                    self._start()
                    continue
                if free:
                    member = min(free, key=lambda free_member: len(free_member.tasks))
                    member.tasks.append(token)
                    return member
                self._change.wait()

    def _give_back(self, member: _Member, token: object) -> None:
        with self._change:
            member.tasks.remove(token)
            member.idle_since = time.monotonic()
            self._change.notify_all()

    def _dismiss_idle(self) -> None:
        """End workers that have had nothing to do for a while, as long as the pool is open."""
        while True:
            with self._change:
                if self._change.wait_for(lambda: self._is_closed, IDLE / 10):
                    return
                since = time.monotonic() - IDLE
                idle = [member for member in self._members if not member.tasks and member.idle_since < since]
                idle = idle[: max(0, len(self._members) - self._least)]
                self._members = [member for member in self._members if member not in idle]
            for member in idle:
                self._ray.kill(member.actor)

    def _replace(self, member: _Member, error: Exception) -> None:
        """Start another worker for one that died, unless so many did that the next would, too."""
        with self._change:
            if member not in self._members:  # another task of it was first to notice
                return
            self._members.remove(member)
            member.fatal = member.tasks[0]
            self._deaths += 1
            if self._deaths >= TRIES * (self.size + 1):
                self._problem = MissingError(
                    f"{self._deaths} workers died one after the other ({_explain_death(error)}); accepted: nodes on "
                    "which they live; see ray status, and the logs of Ray"
                )
                self._change.notify_all()
                return
            self._start()

    def _is_alive(self, node: str) -> bool:
        if self._is_closed:  # Ray may be gone
            return False
        return any(entry["NodeID"] == node and entry["Alive"] for entry in self._ray.nodes())

    def _start(self, failures: int = 0) -> None:
        """Start a worker, later the more often that failed. A pool that is closed starts none: Ray may be gone."""
        with self._change:
            self._coming += failures == 0
            if self._change.wait_for(lambda: self._is_closed, PAUSE * failures):
                return
            actor = self._make.remote(self._build, self._cpus)
            self._starting.append(actor)
        threading.Thread(target=self._welcome, args=(actor, failures), daemon=True).start()

    def _welcome(self, actor: Any, failures: int) -> None:
        """Take in a worker once it is there, however long the cluster takes to find it a place."""
        problem: Exception | None = None
        member = _Member(actor)
        try:
            report = self._ray.get(actor.inspect.remote())
        except Exception as error:  # its node was lost, or whatever Ray makes of one that cannot start
            if failures < STARTS and isinstance(error, self._ray.exceptions.RayActorError):
                with self._change:
                    self._starting.remove(actor)
                    self._change.notify_all()
                self._start(failures + 1)
                return
            cause = _explain_death(error)
            problem = MissingError(f"workers cannot start ({cause}); accepted: nodes that can; type: ray status")
        else:
            problem = self._judge(report)
            member.node = report.node_id if isinstance(report, NodeReport) else ""
        with self._change:
            self._starting.remove(actor)
            self._coming -= 1
            self._problem = self._problem or problem
            if problem is None:
                self._members.append(member)
            self._change.notify_all()

    def _judge(self, report: NodeReport | tuple[str, str]) -> Exception | None:
        """Return the error for a worker that cannot work, or on a node that came later and differs."""
        if not isinstance(report, NodeReport):
            return rebuild(*report)
        difference = compare_reports(self.report, report)
        if not difference:
            return None
        return MissingError(f"node {report.node} differs from the others: {difference}; install the same there")


def _explain_death(error: Exception) -> str:
    """Say in one line why Ray says that a worker died."""
    return " ".join(str(error).split()).rpartition("The actor is dead because ")[2][:300]


def open_pool(
    build: BuildChain, crew: Crew, places: SharedPlaces, *, most: int | None = None, least: int | None = None
) -> ChainPool:
    """Join a cluster, compare its nodes and begin to start workers, at most so many, and no fewer than the least.

    Raises MissingError without Ray, for a node that lacks something or differs, and OutputError for one that does not
    see the places.
    """
    ray, is_joined = join(crew)
    try:
        crew = _settle_gpus(crew, build, ray.cluster_resources())
        nodes = list_nodes(ray, crew)
        if not nodes:
            raise UsageError(
                f"no node of the cluster has room for a worker of {crew.cpus} cores and {crew.gpus} GPUs; accepted: "
                "what one node has; try --worker-cpus 1, and see ray status"
            )
        report = check_nodes(ray, nodes, build, places)
        room = sum(count_seats(node["Resources"], crew) for node in nodes)
        pool = ChainPool(ray, build, crew, min(crew.workers or room, most or room), report, least)
    except BaseException:
        if is_joined:
            ray.shutdown()
        raise
    pool.leaves = is_joined
    return pool


def _settle_gpus(crew: Crew, build: BuildChain, resources: dict[str, float]) -> Crew:
    """Decide how many GPUs a worker gets, where nobody said: one for models with a choice of devices."""
    if crew.gpus is not None:
        return crew
    chain = build() if resources.get("GPU") else None
    return replace(crew, gpus=float(chain is not None and bool(chain.backbone.needs() or chain.prompter.needs())))
