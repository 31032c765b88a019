"""Compare the nodes of a cluster before anything is made: one that differs would make other pictures."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chain_of_zoom.api import ChainOfZoom
from chain_of_zoom.chain.record import BackboneRecord, software
from chain_of_zoom.cluster.stores import StoreMirror, find_address, open_store
from chain_of_zoom.errors import ChainOfZoomError, DownError, MissingError, OutputError, UsageError, rebuild
from chain_of_zoom.files import make_folder, replacement, write_atomic
from chain_of_zoom.weights.files import file_sha256

BuildChain = Callable[[], ChainOfZoom]
PROBE = ".coz-probe"
NODE_SECONDS = 600.0
"""Seconds that a node has to import everything and to read the weights."""


@dataclass(frozen=True, kw_only=True)
class SharedPlaces:
    """Names what every node has to see as this process sees it."""

    photo: Path | None = None
    """A photo; None where pixels are sent."""
    photo_sha256: str = ""
    """SHA-256 of its file."""
    out: Path | None = None
    """The folder for results, with the probe in it; None where nothing is written there."""
    probe: str = ""
    """Text of the probe."""
    far_photo: str = ""
    """The address of a photo in an object store; empty without one."""
    far_out: str = ""
    """The address for results there; empty without one."""


@dataclass(frozen=True, kw_only=True)
class NodeReport:
    """Says what a node would make pictures with."""

    node: str
    """Its name."""
    node_id: str
    """Its number in the cluster."""
    software: dict[str, str]
    """Versions of everything that can change a pixel."""
    backbone: BackboneRecord
    """The backbone, with the SHA-256 of its weights."""
    prompter: str
    """Name of the prompter."""
    prompter_sha256: dict[str, str]
    """SHA-256 of its weight files, by role."""
    device: str | None
    """Where the backbone runs; None where it has no choice."""
    problem: str = ""
    """What the node does not see or cannot write."""


def inspect_node(chain: ChainOfZoom, places: SharedPlaces) -> NodeReport:
    """Report on the node that this process runs on. Raises MissingError for weights that are not there."""
    return NodeReport(
        node=socket.gethostname(),
        node_id=_read_node_id(),
        software=software(),
        backbone=chain.backbone_record,
        prompter=chain.prompter.name,
        prompter_sha256=chain.prompter.weights_sha256(),
        device=chain.backbone.runs_on(),
        problem=_find_problem(places),
    )


def _read_node_id() -> str:
    import ray

    return str(ray.get_runtime_context().get_node_id())


def _find_problem(places: SharedPlaces) -> str:
    try:
        if places.photo and file_sha256(places.photo) != places.photo_sha256:
            return f"has another file at {places.photo}"
    except OSError as error:
        return f"cannot read {places.photo} ({error.strerror})"
    try:
        if places.far_photo:
            store, name = open_store(places.far_photo)
            store.info(name)
        if places.far_out:
            store, name = open_store(places.far_out)
            probe = f"{name}/{PROBE}-{socket.gethostname()}-{os.getpid()}"
            store.pipe_file(probe, b"")
            store.rm_file(probe)
    except ChainOfZoomError:
        raise
    except Exception as error:  # of clients, whose errors have no common class
        address = places.far_out or places.far_photo
        return f"cannot use {address} ({type(error).__name__}: {' '.join(str(error).split())[:200]})"
    if places.out is None:
        return ""
    with suppress(OSError):
        if (places.out / PROBE).read_text("utf-8") == places.probe:
            try:
                with replacement(places.out / f"{PROBE}-{os.getpid()}") as file:
                    file.write(b"")
                (places.out / f"{PROBE}-{os.getpid()}").unlink()
            except OSError as error:
                return f"cannot write {places.out} ({error.strerror})"
            return ""
    return f"does not see {places.out}, or another folder of that name"


@contextmanager
def share_places(photos: Sequence[Path], out: Path, mirror: StoreMirror | None = None) -> Iterator[SharedPlaces]:
    """Lay a probe into the folder for results, which nodes read, for the time of the block.

    A folder that was made for it goes where the block fails. mirror: of photos and results in object stores, of which
    nodes are asked whether they may use them. Raises OutputError, and UsageError for an address without a mirror.
    """
    for path in (*photos, out):
        check_is_path(path)
    addresses = [address for path in photos if mirror and (address := mirror.find_address(path))]
    far_photo, far_out = (addresses or [""])[0], (mirror and mirror.find_address(out)) or ""
    photo = next((path for path in photos if path.is_file()), None)  # one that is not there is an outcome of its own
    sha256 = file_sha256(photo) if photo else ""
    if far_out:
        yield SharedPlaces(photo=photo, photo_sha256=sha256, far_photo=far_photo, far_out=far_out)
        return
    is_new = not out.exists()
    probe = os.urandom(16).hex()
    write_atomic(make_folder(out) / PROBE, probe.encode())
    try:
        yield SharedPlaces(photo=photo, photo_sha256=sha256, out=out, probe=probe, far_photo=far_photo)
    except BaseException:
        (out / PROBE).unlink(missing_ok=True)
        if is_new:
            with suppress(OSError):
                out.rmdir()
        raise
    (out / PROBE).unlink(missing_ok=True)


def check_is_path(path: Path) -> None:
    """Raise UsageError for what is an address such as s3://bucket/photo.jpg, which no path can be."""
    if address := find_address(path):
        raise UsageError(
            f"{address} is an address; accepted here: a path, which all nodes see with --on ray; mount the bucket "
            "(mount-s3, gcsfuse, rclone mount) and name a folder in it, or type: coz zoom ADDRESS --on ray"
        )


def check_nodes(ray: Any, nodes: Sequence[dict[str, Any]], build: BuildChain, places: SharedPlaces) -> NodeReport:
    """Have every node inspected and return the report that all agree with.

    Raises MissingError for a node that lacks the program or weights, or has others, and OutputError for one that does
    not see photos or results; the message names the node.
    """
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    inspect = ray.remote(num_cpus=0, max_retries=1)(build_and_inspect)
    questions = {
        inspect.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote(
            build, places
        ): f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
        for node in nodes
    }
    first: tuple[str, NodeReport] | None = None
    for question, name in questions.items():
        try:
            answer = ray.get(question, timeout=NODE_SECONDS)
        except (ray.exceptions.TaskUnschedulableError, ray.exceptions.NodeDiedError):
            continue  # a node that was lost, which a cluster lists as alive for half a minute, makes no pictures
        except Exception as error:  # whatever Ray makes of a node without this program
            cause = " ".join(str(error).split())[-300:]
            raise MissingError(
                f"node {name} cannot be asked ({cause}); accepted: nodes with the same Python and chain-of-zoom; "
                "install it there, or leave the node out"
            ) from error
        if not isinstance(answer, NodeReport):
            raise rebuild(answer[0], f"node {name}: {answer[1]}")
        if answer.problem:
            raise OutputError(f"node {name} {answer.problem}; accepted: folders that all nodes mount; name others")
        if first and (difference := compare_reports(first[1], answer)):
            raise MissingError(
                f"node {name} differs from {first[0]}: {difference}; accepted: the same everywhere, since pictures "
                "would be mixed; install the same there, or leave the node out"
            )
        first = first or (name, answer)
    if not first:
        raise DownError("no node of the cluster answers; accepted: one that has nodes; type: ray status")
    return first[1]


def build_and_inspect(build: BuildChain, places: SharedPlaces) -> NodeReport | tuple[str, str]:
    """Build the chain and report on this node; an error of this package comes back as its class and message."""
    try:
        return inspect_node(build(), places)
    except ChainOfZoomError as error:
        return type(error).__name__, str(error)


def compare_reports(expected: NodeReport, report: NodeReport) -> str:
    """Say in what a node differs from another; "" where it does not."""
    pairs = {f"{name} {version}": f"{name} {report.software.get(name)}" for name, version in expected.software.items()}
    pairs |= {
        f"weights {expected.backbone.weights_sha256}": f"weights {report.backbone.weights_sha256}",
        f"prompter {expected.prompter_sha256}": f"prompter {report.prompter_sha256}",
        f"device {expected.device}": f"device {report.device}",
    }
    return next((f"{there}, not {here}" for here, there in pairs.items() if here != there), "")
