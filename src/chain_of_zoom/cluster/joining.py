"""Join a Ray cluster, or start one on this machine, and say how many chains it has room for."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from chain_of_zoom.errors import DownError, MissingError, UsageError

_ADDRESS = re.compile(r"ray(://[^\s/:]+:[0-9]{1,5}|:[^\s/:]+:[0-9]{1,5})?")
_LIKENESS = 1e-9


@dataclass(frozen=True, kw_only=True)
class Crew:
    """Says which cluster works, and what each worker gets of it."""

    address: str = ""
    """The cluster, as `ray.init` takes it; "" for $RAY_ADDRESS, else the one of this machine, else a new one."""
    workers: int | None = None
    """How many workers; None for as many as there is room for now."""
    cpus: int = 1
    """Cores of each worker."""
    gpus: float | None = None
    """GPUs of each worker; None for one where the models are made for GPUs and there are any."""

    @classmethod
    def parse(cls, on: str, workers: int | None = None, cpus: int = 1, gpus: float | None = None) -> Crew:
        """Read `ray`, `ray:HOST:PORT` or `ray://HOST:PORT` and check the numbers. Raises UsageError."""
        if not _ADDRESS.fullmatch(on):
            raise UsageError(f"--on {on}; accepted: ray, ray:HOST:6379, ray://HOST:10001; for example --on ray")
        address = on if on.startswith("ray://") else on.removeprefix("ray").removeprefix(":")
        for name, number in (("workers", workers), ("worker-cpus", cpus)):
            if number is not None and number < 1:
                raise UsageError(f"--{name} {number}; accepted: 1 or more; for example --{name} 2")
        if gpus is not None and not (0 <= gpus <= 1 or gpus == int(gpus) > 0):
            raise UsageError(f"--worker-gpus {gpus}; accepted: 0, a share of one, or 1, 2, ...; for example 0.5")
        return cls(address=address, workers=workers, cpus=cpus, gpus=gpus)


def import_ray() -> Any:
    """Import Ray, which says nothing of its use to anybody. Raises MissingError without the extra [ray]."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")  # or a late call would join the cluster that was just left
    try:
        import ray
    except ImportError as error:
        raise MissingError(f"--on ray needs {error.name}; type: pip install 'chain-of-zoom[ray]'") from error
    return ray


def join(crew: Crew) -> tuple[Any, bool]:
    """Connect this process with the cluster; return Ray, and whether this call made the connection.

    Raises MissingError without Ray, and DownError where no cluster answers.
    """
    ray = import_ray()
    if ray.is_initialized():
        return ray, False
    address = crew.address or None
    try:
        # A node of our own serves no dashboard: it would be a door for whoever reaches this machine.
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **_choose_settings(address))
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        where = crew.address or os.environ.get("RAY_ADDRESS") or "this machine"
        problem = " ".join(str(error).split())
        advice = "set RAY_AUTH_MODE=token where the cluster has tokens, or type: ray job submit -- coz ..."
        raise DownError(
            f"no Ray cluster at {where} ({problem}); accepted: one that runs, of the same versions of Ray and Python; "
            + (advice if address and "://" in address else "type: ray status")
        ) from error
    return ray, True


@contextmanager
def stay(crew: Crew) -> Iterator[None]:
    """Stay connected with the cluster for the time of the block, whoever joins meanwhile. Raises what `join` does."""
    ray, is_joined = join(crew)
    try:
        yield
    finally:
        if is_joined:
            ray.shutdown()


def _choose_settings(address: str | None) -> dict[str, Any]:
    """Settings for a cluster that is perhaps begun here; a running one takes none."""
    is_new = address is None and not os.environ.get("RAY_ADDRESS")
    return {"include_dashboard": False} if is_new else {}


def list_nodes(ray: Any, crew: Crew) -> list[dict[str, Any]]:
    """List the nodes that are alive and large enough for a worker. crew: with GPUs settled."""
    return [node for node in ray.nodes() if node["Alive"] and count_seats(node["Resources"], crew)]


def count_seats(resources: dict[str, float], crew: Crew) -> int:
    """Count the workers that a node with these resources has room for."""
    seats = int(resources.get("CPU", 0.0) / crew.cpus + _LIKENESS)
    if crew.gpus:
        seats = min(seats, int(resources.get("GPU", 0.0) / crew.gpus + _LIKENESS))
    return seats
