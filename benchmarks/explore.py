"""What the explorer holds: many clients at once, every way to a spot, and how soon the first tile is there.

    python benchmarks/explore.py load [--clients 200] [--requests 50] [--rounds 3]
    python benchmarks/explore.py walks [--backbone animevideo] [--count 10]
    python benchmarks/explore.py first [--backbone animevideo] [--repeats 9]
    python benchmarks/explore.py worker [--backbone fake] [--repeats 100]

Needs the extras [web] and, for `first`, Chromium and Playwright. Absolute times on a shared machine mean little: each
table names the load of the machine beside them.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median

import msgspec

from chain_of_zoom.api import ChainOfZoom, load_backbone
from chain_of_zoom.backbones.base import WindowPlace
from chain_of_zoom.chain.restraint import Restraint
from chain_of_zoom.explorer.batching import TileBatcher
from chain_of_zoom.explorer.client import ExplorerClient, RefusedError
from chain_of_zoom.explorer.grid import Grid, TilePlace
from chain_of_zoom.explorer.maker import TileMaker
from chain_of_zoom.explorer.painting import TileJob, paint_tile
from chain_of_zoom.explorer.protocol import TreeDescription, ViewRequest
from chain_of_zoom.explorer.store import TileStore
from chain_of_zoom.explorer.tree import OpenPhoto, Recipe, ZoomTree
from chain_of_zoom.explorer.worker import open_worker
from chain_of_zoom.imaging.geometry import PixelRect, Size
from chain_of_zoom.imaging.images import load as load_picture

HERE = Path(__file__).parent
EXAMPLE = HERE.parent / "examples" / "astronaut.png"
EXPECTED = {200, 202, 204, 304, 503}


@contextmanager
def served(backbone: str, cache: Path, photo: Path = EXAMPLE, more: Sequence[str] = ()) -> Iterator[ExplorerClient]:
    """A client of a server in a process of its own."""
    command = [sys.executable, "-m", "chain_of_zoom", "explore", str(photo), "--backbone", backbone, "--no-browser"]
    command += ["--port", "0", "--cache", str(cache), "--quiet", *more]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        client = ExplorerClient(process.stdout.readline().strip())
        client.read_session()
        try:
            yield client
        finally:
            process.terminate()
    assert process.returncode == 0, process.returncode


def describe_load() -> str:
    return f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"


class Visitor:
    """A client that walks about: it looks, asks for tiles that it has and has not, and counts the answers."""

    def __init__(self, client: ExplorerClient, tree: TreeDescription, number: int) -> None:
        self.client, self.tree = client, tree
        self.chance = random.Random(number)
        self.statuses: Counter[int] = Counter()
        self.tags: dict[str, str] = {}
        self.viewer = ""
        self.problems: list[str] = []

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> None:
        try:
            answer = self.client.ask(method, path, body, **headers)
        except RefusedError as error:
            self.statuses[error.status] += 1
            if error.status == 503 and error.retry_after is None:
                self.problems.append("503 without Retry-After")
            return
        except Exception as error:  # a request that got no answer is what is to be found out
            self.problems.append(f"{type(error).__name__}: {error}")
            return
        self.statuses[answer.status] += 1
        if answer.status == 200 and path.endswith(".png"):
            if not (answer.body.startswith(b"\x89PNG") and answer.body.endswith(b"IEND\xaeB`\x82")):
                self.problems.append(f"{path} is no whole PNG")
            self.tags[path] = answer.headers.get("etag", "")

    def walk(self, requests: int) -> None:
        for _ in range(requests):
            level = max(self.tree.native + self.chance.choice((-1, 0, 1, 1, 2, 2, 3)), 0)
            scale, side = self.tree.levels[level].scale, self.tree.levels[level].side
            x, y = self.chance.uniform(0.4, 0.6), self.chance.uniform(0.4, 0.6)
            if self.viewer and self.chance.random() < 0.3:
                sight = (x, y, x + 0.5 / scale, y + 0.5 / scale)
                view = ViewRequest(tree=self.tree.id, level=level, sight=sight)
                self.ask("PUT", f"/api/viewers/{self.viewer}/view", msgspec.json.encode(view))
                continue
            column, row = (
                int(share * size * scale / side)
                for share, size in ((x, self.tree.photo.width), (y, self.tree.photo.height))
            )
            path = f"/api/trees/{self.tree.id}/tiles/{level}/{column}/{row}.png"
            if self.tags and self.chance.random() < 0.2:
                path = self.chance.choice(list(self.tags))
                self.ask("GET", path, **{"If-None-Match": self.tags[path]})
            else:
                self.ask("GET", path)


def open_pages(client: ExplorerClient, count: int) -> tuple[list[str], list[RefusedError]]:
    """Listen as many pages; return their names, and the refusals of those that are too many."""
    viewers, refusals = [], []
    for stream in [client.listen() for _ in range(count)]:
        try:
            viewers.append(next(stream).viewer)
            threading.Thread(target=Counter, args=(stream,), daemon=True).start()
        except RefusedError as error:
            refusals.append(error)
    return viewers, refusals


def let_walk(
    client: ExplorerClient, tree: TreeDescription, viewers: list[str], clients: int, requests: int, seed: int = 0
) -> Counter[int]:
    """Let clients walk about at once, and return how often the server answered with which status."""
    visitors = [Visitor(client, tree, clients * seed + index) for index in range(clients)]
    for visitor, viewer in zip(visitors, viewers, strict=False):
        visitor.viewer = viewer
    threads = [threading.Thread(target=visitor.walk, args=(requests,)) for visitor in visitors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    problems = [problem for visitor in visitors for problem in visitor.problems]
    assert not problems, (len(problems), problems[:5])
    statuses = sum((visitor.statuses for visitor in visitors), Counter[int]())
    assert statuses.keys() <= EXPECTED, statuses
    assert statuses.total() == clients * requests, "answers were lost"
    while client.read_metrics()["coz_tiles_waiting"]:
        time.sleep(0.1)
    return statuses


def load(clients: int, requests: int, rounds: int) -> None:
    """Print answers a second, their statuses, and the memory of the server, round by round."""
    with tempfile.TemporaryDirectory() as folder, served("fake", Path(folder)) as client:
        tree = client.plant(client.read_session().photos[0].id)
        viewers, refusals = open_pages(client, clients)
        assert all((error.status, error.retry_after) == (503, 10) for error in refusals)
        print(f"{clients} clients: {len(viewers)} pages open, {len(refusals)} told to come back (503)")
        print("| round | answers | a second | statuses | tiles | memory, MB | load |\n|---|---|---|---|---|---|---|")
        memory = []
        for number in range(rounds + 1):
            started = time.perf_counter()
            statuses = let_walk(client, tree, viewers, clients, requests, number)
            spent, metrics = time.perf_counter() - started, client.read_metrics()
            memory.append(metrics["process_resident_memory_bytes"] / 1e6)
            texts = ", ".join(f"{count} x {status}" for status, count in sorted(statuses.items()))
            rate, tiles = statuses.total() / spent, int(metrics["coz_cache_tiles"])
            row = (number, statuses.total(), f"{rate:.0f}", texts, tiles, f"{memory[-1]:.0f}", describe_load())
            print("|", *(f"{value} |" for value in row))
        print(f"memory after the first round and after {rounds} more: {(memory[-1] / memory[0] - 1) * 100:+.1f} %")


def compare_walks(backbone: str, count: int) -> None:
    """Take random ways to one spot, each from an empty tree, and compare the tiles that they have in common."""
    network = load_backbone(backbone)
    photo = OpenPhoto(load_picture(EXAMPLE))
    grid = Grid.plan(photo.size, network.info)
    recipe = Recipe(backbone=backbone, weights=network.weights_sha256(), options={}, device=None)
    tree, chance, tiles, compared = ZoomTree(photo, grid, recipe), random.Random(1), {}, 0
    columns, rows = grid.counts(3)
    for number in range(count):
        with tempfile.TemporaryDirectory() as folder:
            maker = TileMaker(network, TileStore(Path(folder)))
            walk = [
                TilePlace(level, *(chance.randrange(total) // 2 for total in grid.counts(level))) for level in (1, 2)
            ]
            chance.shuffle(walk)
            for place in [*walk, TilePlace(3, columns // 3, rows // 3)]:
                if not maker.has(tree, place):
                    maker.make(tree, place)
            for path in Path(folder).rglob("*.png"):
                data = path.read_bytes()
                compared += path.stem in tiles
                assert tiles.setdefault(path.stem, data) == data, f"another tile on walk {number}: {path.stem}"
    print(f"{count} walks with {backbone}: {len(tiles)} tiles, {compared} made again, each with the same bytes")


WAIT_FOR_TILE = """
([x, y, zoom]) => new Promise((resolve) => {
  const { view, connection } = explorer, started = performance.now();
  let seconds = 0;
  connection.addEventListener("tile", ({ detail }) => { seconds = detail.seconds; }, { once: true });
  const hear = ({ tile }) => {
    if (tile.level <= view.tree.native) return;
    view.viewer.removeHandler("tile-loaded", hear);
    requestAnimationFrame(() => requestAnimationFrame(() => resolve([performance.now() - started, seconds * 1000])));
  };
  view.viewer.addHandler("tile-loaded", hear);
  view.goTo({ x, y, zoom }, true);
})
"""


def time_first(backbone: str, repeats: int) -> None:
    """Time from a jump to where nothing was made until the first generated tile is drawn, beside the bare pass."""
    from PIL import Image
    from playwright.sync_api import sync_playwright

    network = load_backbone(backbone)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        photo = Path(folder) / "large.png"
        pixels = load_picture(EXAMPLE).pixels
        Image.fromarray(pixels).resize((3072, 3072), Image.Resampling.LANCZOS).save(photo, compress_level=1)
        side = Grid.plan(Size(3072, 3072), network.info)
        window = pixels[: side.core(1) + 2 * side.halo(1), : side.core(1) + 2 * side.halo(1)]
        with served(backbone, Path(folder) / "tiles", photo=photo) as client:
            path = os.environ.get("CHROMIUM") or shutil.which("chromium")
            chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
            page = chromium.new_context(viewport={"width": 900, "height": 640}, reduced_motion="reduce").new_page()
            page.goto(client.address)
            page.wait_for_timeout(3000)
            network([window])
            times = []
            for number in range(repeats):
                started = time.perf_counter()
                network([window])
                alone = (time.perf_counter() - started) * 1000
                x, y = 0.1 + 0.2 * (number % 5), 0.1 + 0.2 * (number // 5)
                times.append((alone, *page.evaluate(WAIT_FOR_TILE, [x, y, 14])))
                while client.read_metrics()["coz_tiles_waiting"]:
                    time.sleep(0.1)
            chromium.close()
    print(f"{backbone}, {window.shape[1]}x{window.shape[0]}, {repeats} jumps, {describe_load()}")
    for name, choose in (("median", median), ("least", min)):
        bare, first, tile = (choose(column) for column in zip(*times, strict=True))
        print(f"{name}: bare pass {bare:.0f} ms, first tile on screen {first:.0f} ms of {1.2 * bare + 150:.0f} allowed")
        print(f"  of which the server made it in {tile:.0f} ms")


def send_back(chain: ChainOfZoom, job: TileJob) -> bytes:
    """Paint nothing, and return as many bytes as a tile has."""
    return bytes(job.window.size * 3)


def time_worker(backbone: str, repeats: int) -> None:
    """Time tiles that are painted in this process and in one of their own, by turns."""
    chain = open_worker(partial(ChainOfZoom, backbone))
    here = load_backbone(backbone)
    photo = OpenPhoto(load_picture(EXAMPLE))
    grid = Grid.plan(photo.size, here.info)
    places = [place for place in grid.covering(1, PixelRect(0, 0, *grid.size(1))) if 0 < place.column < 4]
    first, free = WindowPlace(0, 0, 1.0), Restraint()
    jobs = [
        TileJob(photo.cut(0, grid.window(place)), first, "", 0, "none", free, grid.crop(place), False, "")
        for place in places
    ]
    acts = (partial(paint_tile, here), TileBatcher(chain.backbone).paint, partial(chain.host.ask, send_back))
    times: tuple[list[float], ...] = ([], [], [])
    for number in range(repeats + 1):
        job = jobs[number % len(jobs)]
        for act, spent in zip(acts, times, strict=True):
            started = time.perf_counter()
            act(job)
            spent.append((time.perf_counter() - started) * 1000)
    chain.close()
    alone, elsewhere, pipe = (median(spent[1:]) for spent in times)
    print(
        f"{backbone}: {alone:.1f} ms here, {elsewhere:.1f} ms there, of which the way {pipe:.1f} ms; {describe_load()}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["load", "walks", "first", "worker"])
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--requests", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--backbone", default="animevideo")
    parser.add_argument("--count", type=int, default=10, help="walks")
    parser.add_argument("--repeats", type=int, default=9, help="jumps")
    options = parser.parse_args()
    if options.what == "load":
        load(options.clients, options.requests, options.rounds)
    elif options.what == "walks":
        compare_walks(options.backbone, options.count)
    elif options.what == "worker":
        time_worker(options.backbone, options.repeats)
    else:
        time_first(options.backbone, options.repeats)


if __name__ == "__main__":
    main()
