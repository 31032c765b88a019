"""What enlarging a whole photo costs over the bare network, how much memory it takes, and whether tiles leave seams.

    python benchmarks/upscale.py [--photo PHOTO] [--megapixels 2] [--backbone animevideo] [--suffix png]

The run happens in a process of its own. The network's time is that of its passes alone, measured in the same run, so
that the ratio holds on a busy machine too; absolute times mean little there. Seams are looked for on a crop that fits
into memory at once.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from math import sqrt
from pathlib import Path

import numpy as np
from PIL import Image

from chain_of_zoom import load_backbone, upscale
from chain_of_zoom.imaging.geometry import Size
from chain_of_zoom.imaging.images import RGB8, resize, to_uint8

EXAMPLE = Path(__file__).parent.parent / "examples" / "astronaut.png"

RUN = """
import json, sys, time
from chain_of_zoom import upscale
from chain_of_zoom.backbones.feedforward import FeedForward
photo, out, name = sys.argv[1:]
network = {"wall": 0.0, "cpu": 0.0}
compute = FeedForward._compute
def timed(self, window):
    wall, cpu = time.perf_counter(), time.process_time()
    result = compute(self, window)
    network["wall"] += time.perf_counter() - wall
    network["cpu"] += time.process_time() - cpu
    return result
FeedForward._compute = timed
backbone = FeedForward(name)
backbone.load()
wall, cpu = time.perf_counter(), time.process_time()
record = upscale(photo, 4, out=out, backbone=backbone).record
total = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
step = record.steps[0]
print(json.dumps({
    "tiles": step.tiles, "overhead": step.overhead, "tiling": step.seconds, "total": total, "network": network,
    "bytes": record.output.bytes,
}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photo", type=Path, default=EXAMPLE)
    parser.add_argument("--megapixels", type=float, default=2.0)
    parser.add_argument("--backbone", default="animevideo")
    parser.add_argument("--suffix", default="png", help="png, jpg, tif or dzi")
    parser.add_argument("--keep", type=Path, help="folder for the output, which is removed otherwise")
    options = parser.parse_args()
    photo = prepared(options.photo, options.megapixels)
    print(f"{photo.shape[1]}x{photo.shape[0]} px to 4x with {options.backbone}, as {options.suffix}\n")
    print("| | wanted | found |\n|---|---|---|")
    for row in [*seams(photo, options.backbone), *cost(photo, options.backbone, options.suffix, options.keep)]:
        print("| " + " | ".join(row) + " |", flush=True)


def prepared(path: Path, megapixels: float) -> RGB8:
    """The photo at 3:2 and about so many megapixels: cut, and enlarged where it has fewer."""
    with Image.open(path) as image:
        height = round(sqrt(megapixels * 1e6 / 1.5))
        width = round(height * 1.5)
        scale = max(width / image.width, height / image.height, 1)
        crop = (width / scale, height / scale)
        left, top = (image.width - crop[0]) / 2, (image.height - crop[1]) / 2
        box = (left, top, left + crop[0], top + crop[1])
        return np.asarray(image.convert("RGB").resize((width, height), Image.Resampling.BICUBIC, box))


def seams(photo: RGB8, name: str) -> list[tuple[str, str, str]]:
    """The tiled against the untiled result, and gradients across the borders of tiles, on a crop."""
    height, width = photo.shape[:2]
    info = load_backbone(name).info
    side = 2 * info.halo + 40
    crop = np.ascontiguousarray(photo[height // 2 :, width // 2 :][:160, :160])
    tiled = upscale(crop, 4, backbone=name, tile=side).image
    (result,) = load_backbone(name)([crop], at_once=True)
    whole = to_uint8(result)
    bicubic = resize(crop, Size(640, 640), "bicubic")
    borders = 4 * np.array(edges(160, side, info.halo))
    across = {
        kind: np.mean([np.abs(np.diff(p.astype(float), axis=axis)).take(borders - 1, axis).mean() for axis in (0, 1)])
        for kind, p in (("tiled", tiled), ("whole", whole), ("bicubic", bicubic))
    }
    difference = np.abs(tiled.astype(int) - whole)
    pairs = (("tiled", "whole"), ("tiled", "bicubic"), ("whole", "bicubic"))
    ratios = [across[one] / across[other] for one, other in pairs]
    return [
        ("grey levels from the untiled result, at most", "<= 1", f"{difference.max()}"),
        ("share of values that differ", "", f"{(difference > 0).mean():.3%}"),
        ("gradient across borders of tiles, tiled / untiled", "0.98 to 1.02", f"{ratios[0]:.4f}"),
        ("the same over bicubic, tiled and untiled", "", f"{ratios[1]:.3f}, {ratios[2]:.3f}"),
    ]


def edges(length: int, side: int, halo: int) -> list[int]:
    """Where the cores of tiles meet."""
    from chain_of_zoom.imaging.tiling import plan_spans

    return [span.keep_stop for span in plan_spans(length, side, halo)[:-1]]


def cost(photo: RGB8, name: str, suffix: str, keep: Path | None) -> list[tuple[str, str, str]]:
    """A whole run in a process of its own."""
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "photo.png"
        Image.fromarray(photo).save(source, compress_level=1)
        out = (keep or Path(scratch)) / f"out.{suffix}"
        command = [sys.executable, "-c", RUN, str(source), str(out), name]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        told = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"the run failed with status {status}")
    found = json.loads(told)
    network, total = found["network"], found["total"]
    most = "1.2" if "video" in name else "2.5"
    tiles, run = found["tiles"], total["wall"]
    return [
        ("pixels read by tiles / pixels of the photo", f"<= {most}", f"{found['overhead']:.3f} ({tiles} tiles)"),
        ("whole run / passes of the network, time", "<= 1.10", f"{run / network['wall']:.3f} ({run:.0f} s)"),
        ("the same, processor time", "", f"{total['cpu'] / network['cpu']:.3f}"),
        ("tiles alone / passes of the network, time", "", f"{found['tiling'] / network['wall']:.3f}"),
        ("peak memory", "<= 3 GB", f"{usage.ru_maxrss * 1024 / 1e9:.2f} GB"),
        ("output", "", f"{found['bytes'] / 1e6:.0f} MB"),
    ]


if __name__ == "__main__":
    main()
