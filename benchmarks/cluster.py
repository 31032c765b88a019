"""What a cluster costs and bears, on one machine with real processes: overhead, scaling, and death in every form.

    python benchmarks/cluster.py equal|scaling|overhead|kills|tiles [--count N]

equal: photos with animevideo, on three nodes of a core and here, byte for byte. scaling: one worker and two with a
backbone that sleeps for a second. overhead: many tiny photos with the fake backbone, here and on the cluster.
kills: a node is killed three times on the way, and the process that drives once. tiles: clients ask for tiles while
workers are killed. Needs the extras [ray] and, for tiles, [web].
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), sys.path[0]])  # of the workers

from batch_files import contents
from sleeper import build_fake, build_model, build_sleeper

from chain_of_zoom.batch.many import plan_batch
from chain_of_zoom.batch.on_ray import OnRay
from chain_of_zoom.batch.run import Batch
from chain_of_zoom.chain.request import make_request
from chain_of_zoom.cluster.joining import Crew

MARK = "COZ_CLUSTER_BENCHMARK"
os.environ[MARK] = str(os.getpid())
FIRST_PORT = 24_400
PORTS = ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port", "runtime_env_agent_port")


NUMBERS = itertools.count()


def add_node(cluster: Any, **more: Any) -> Any:
    """Add a node of a core, with ports of its own; on a busy machine it may take several tries to start."""
    for attempt in range(4):
        number = next(NUMBERS)
        ports = {name: FIRST_PORT + 10 * number + offset for offset, name in enumerate(PORTS)}
        try:
            return cluster.add_node(num_cpus=1, object_store_memory=80 << 20, wait=False, **ports, **more)
        except Exception as error:
            print(f"a node did not start ({' '.join(str(error).split())[:80]}): try {attempt + 1}", flush=True)
    raise SystemExit("no node starts")


@contextmanager
def open_cluster(nodes: int) -> Iterator[Any]:
    import ray
    from ray.cluster_utils import Cluster

    started = time.perf_counter()
    cluster = Cluster()
    add_node(cluster, include_dashboard=False)
    cluster.extra = [add_node(cluster) for _ in range(1, nodes)]
    cluster.wait_for_nodes(120)
    print(f"cluster of {nodes} nodes of 1 core: {time.perf_counter() - started:.1f} s to start", flush=True)
    try:
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()


def make_photos(folder: Path, count: int, height: int = 96, width: int = 128) -> Path:
    folder.mkdir()
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC).save(folder / f"{number:05}.png")
    return folder


@dataclass
class BatchTimes:
    """How long a batch took."""

    total: float = 0.0
    """Seconds of all of it."""
    moments: list[float] = field(default_factory=list)
    """When each outcome was there, in seconds from the beginning."""
    inside: list[float] = field(default_factory=list)
    """Seconds that whoever made it says each took."""


def run_batch(
    make: Any, photos: Path, out: Path, settings: dict[str, Any], crew: Crew | None, on_outcome: Any = None
) -> BatchTimes:
    tasks = plan_batch([photos], None, [], make_request(**settings), out, recursive=False)
    executor, times = OnRay(make, crew) if crew else None, BatchTimes()
    started = time.perf_counter()
    for outcome in Batch(make(), tasks, out, executor=executor).run():
        assert outcome.error is None, outcome.error
        times.moments.append(time.perf_counter() - started)
        times.inside.append(outcome.seconds)
        if on_outcome:
            on_outcome(len(times.moments))
    times.total = time.perf_counter() - started
    return times


def compare(folder: Path, there: str = "there", here: str = "here") -> None:
    there_files, here_files = contents(folder / there), contents(folder / here)
    differing = [name for name in {**there_files, **here_files} if there_files.get(name) != here_files.get(name)]
    print(
        f"{len(here_files)} files here, {len(there_files)} there, {len(differing)} differ {differing[:3]}", flush=True
    )
    assert not differing


def measure_equality(folder: Path, count: int) -> None:
    photos, make = make_photos(folder / "photos", count), build_model
    settings = {"size": (96, 96), "magnification": 16}
    with open_cluster(3) as cluster:
        there = run_batch(make, photos, folder / "there", settings, Crew(address=cluster.address))
    here = run_batch(make, photos, folder / "here", settings, None)
    print(f"{count} photos with animevideo: {there.total:.1f} s on three nodes, {here.total:.1f} s here")
    size = sum(path.stat().st_size for path in (folder / "here").rglob("*") if path.is_file())
    windows = sum(len(list(path.glob("0*.png"))) - 1 for path in (folder / "here").iterdir() if path.is_dir())
    print(f"a zoom: {size / count / 1e3:.0f} kB, {windows / count:.1f} windows; here {here.total / windows:.3f} s each")
    compare(folder)


def measure_scaling(folder: Path, count: int) -> None:
    """Every zoom is one pass of a second; the rest is what the program, the cluster and the machine take."""
    photos, settings = make_photos(folder / "photos", count, 32, 48), {"size": (24, 16), "magnification": 4}
    rates = {}
    with open_cluster(2) as cluster:
        for workers in (1, 2):
            crew = Crew(address=cluster.address, workers=workers)
            times = run_batch(build_sleeper, photos, folder / f"by{workers}", settings, crew)
            # From where all are at work to where the first has nothing more to do.
            moments = times.moments[workers : len(times.moments) - workers + 1]
            rates[workers] = (len(moments) - 1) / (moments[-1] - moments[0])
            inside = mean(times.inside[workers:])
            print(
                f"{workers} workers: {rates[workers]:.3f} zooms a second, {workers / rates[workers]:.3f} s each by a "
                f"worker, of which {inside:.3f} s in the zoom itself: overhead "
                f"{100 * (workers / rates[workers] / inside - 1):.1f} %",
                flush=True,
            )
    print(f"1 -> 2 workers: {rates[2] / rates[1]:.2f}x", flush=True)


def measure_overhead(folder: Path, count: int) -> None:
    photos, settings = make_photos(folder / "photos", count, 32, 48), {"size": (24, 16), "magnification": 4}
    with open_cluster(2) as cluster:
        peaks: list[int] = []

        def note_peak(number: int) -> None:
            if number % (count // 10) == 0:
                peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10)

        before = resource.getrusage(resource.RUSAGE_SELF)
        there = run_batch(build_fake, photos, folder / "there", settings, Crew(address=cluster.address), note_peak)
        after = resource.getrusage(resource.RUSAGE_SELF)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    here = run_batch(build_fake, photos, folder / "here", settings, None)
    span = there.moments[-1] - there.moments[0]
    print(
        f"{count} tiny photos by two workers: {there.total:.1f} s, {1000 * span / count:.1f} ms each; this process: "
        f"{1000 * spent / count:.1f} ms of CPU each; its memory, MB, after every tenth of them: {peaks}"
    )
    print(f"here: {here.total:.1f} s, {1000 * here.total / count:.1f} ms each", flush=True)
    compare(folder)


def measure_kills(folder: Path, count: int) -> None:
    """Kill a node three times, each replaced by a new one, and then the driver of a second batch."""
    photos, settings = make_photos(folder / "photos", count, 32, 48), {"size": (24, 16), "magnification": 4}
    run_batch(build_fake, photos, folder / "here", settings, None)
    with open_cluster(3) as cluster:

        def kill(done: int) -> None:
            if done in (count // 5, 2 * count // 5, 3 * count // 5):
                cluster.remove_node(cluster.extra.pop(0), allow_graceful=False)
                cluster.extra.append(add_node(cluster))
                print(f"node killed and another added after {done} zooms", flush=True)

        times = run_batch(build_sleeper, photos, folder / "there", settings, Crew(address=cluster.address), kill)
        print(f"{count} zooms of 1 s with three nodes killed: {times.total:.1f} s", flush=True)
        command = [sys.executable, __file__, "drive", cluster.address, str(photos), str(folder / "driven")]
        driver = subprocess.Popen(command)
        while len(list((folder / "driven").glob("*/sheet.png"))) < count // 3:
            time.sleep(0.1)
        driver.send_signal(signal.SIGKILL)
        driver.wait()
        early = len(list((folder / "driven").glob("*/sheet.png")))
        subprocess.run(command, check=True)
        summary = json.loads((folder / "driven" / "summary.json").read_bytes())
        print(f"driver killed after {early} zooms; then {summary['kept']} kept, {summary['done']} done", flush=True)
        assert summary["kept"] + summary["done"] == count
    # The sleeper is another backbone than the fake one by its name alone.
    for name in ("there", "driven"):
        pictures = {path.relative_to(folder / name): path.read_bytes() for path in (folder / name).rglob("0*.png")}
        expected = {path.relative_to(folder / "here"): path.read_bytes() for path in (folder / "here").rglob("0*.png")}
        assert pictures == expected, name
        records = [json.loads(path.read_bytes()) for path in (folder / name).glob("*/record.json")]
        assert [record["complete"] for record in records] == [True] * count
        assert not list((folder / name).rglob("*.tmp")), "half a file"
        print(f"{name}: {len(records)} zooms, {len(pictures)} states, all equal to those made here", flush=True)


def measure_tiles(folder: Path, clients: int) -> None:
    """Let clients walk about a page whose tiles a cluster makes, and kill its workers meanwhile."""
    from explore import let_walk, open_pages, served

    with (
        open_cluster(2) as cluster,
        served("fake", folder / "tiles", more=["--on", f"ray:{cluster.address}"]) as client,
    ):
        tree = client.plant(client.read_session().photos[0].id)
        viewers, _ = open_pages(client, clients)
        is_over, kills = threading.Event(), 0

        def kill_workers() -> None:
            nonlocal kills
            while not is_over.wait(20):
                if pids := list_workers():
                    os.kill(pids[0], signal.SIGKILL)
                    kills += 1

        killer = threading.Thread(target=kill_workers)
        killer.start()
        started = time.perf_counter()
        try:
            statuses = let_walk(client, tree, viewers, clients, 50)
        finally:
            is_over.set()
            killer.join()
        seconds, metrics = time.perf_counter() - started, client.read_metrics()
    texts = ", ".join(f"{count} x {status}" for status, count in sorted(statuses.items()))
    failures = sum(value for name, value in metrics.items() if "fail" in name)
    print(
        f"{clients} clients, {len(viewers)} pages: {statuses.total()} answers ({texts}) in {seconds:.0f} s and "
        f"{int(metrics['coz_cache_tiles'])} tiles, while workers were killed {kills} times; {failures:.0f} failures"
    )
    assert kills


def list_workers() -> list[int]:
    """List the workers of the cluster that this process has begun, which inherit its mark."""
    pids = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            name, environment = (process / "cmdline").read_bytes(), (process / "environ").read_bytes()
            if name.startswith(b"ray::ChainWorker") and f"{MARK}={os.environ[MARK]}".encode() in environment:
                pids.append(int(process.name))
    return pids


def drive(arguments: Sequence[str]) -> None:
    address, photos, out = arguments
    run_batch(build_sleeper, Path(photos), Path(out), {"size": (24, 16), "magnification": 4}, Crew(address=address))


MEASUREMENTS = {
    "equal": (measure_equality, 60),
    "scaling": (measure_scaling, 40),
    "overhead": (measure_overhead, 1000),
    "kills": (measure_kills, 60),
    "tiles": (measure_tiles, 200),
}


def main() -> None:
    if sys.argv[1:2] == ["drive"]:
        drive(sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measurement", choices=[*MEASUREMENTS])
    parser.add_argument("--count", type=int, help="photos, or clients")
    arguments = parser.parse_args()
    measure, count = MEASUREMENTS[arguments.measurement]
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), arguments.count or count)


if __name__ == "__main__":
    main()
