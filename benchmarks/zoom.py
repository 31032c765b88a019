"""What a zoom costs over the bare network, and how far the network is from the machine's floor.

    python benchmarks/zoom.py [--photo PHOTO] [--repeats 5]

Needs the extra [bench]. Every comparison is made back to back in one run and printed as a ratio: absolute times on
a shared machine mean little. Networks are timed each in a process of its own, so that one runtime's waiting
threads do not slow the other's.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from PIL import Image

HERE = Path(__file__).parent
EXAMPLE = HERE.parent / "examples" / "astronaut.png"
GFLOP = 587.0  # multiply-adds of RRDB-23 for 128 -> 512, counted twice, without fast-convolution savings

CHAIN = """
import tempfile, time
from pathlib import Path
from chain_of_zoom import ChainOfZoom
from chain_of_zoom.chain.request import ZoomRequest
from chain_of_zoom.imaging.images import load
chain = ChainOfZoom(); chain.backbone.load()
chain.backbone([load({photo!r}).pixels[:128, :128]])
with tempfile.TemporaryDirectory() as out:
    t = time.perf_counter()
    run = chain.plan(load({photo!r}), ZoomRequest(zoom=256))
    folder = run.open(Path(out) / "run")
    for state in run.states(): folder.add(state)
    print(time.perf_counter() - t)
"""
NCNN = """
import time, ncnn, numpy as np
from chain_of_zoom import load_backbone
param, weights = load_backbone("realsr")._files()
net = ncnn.Net(); net.opt.num_threads = {threads}
net.load_param(str(param)); net.load_model(str(weights))
x = np.random.default_rng(0).random((3, 128, 128), dtype=np.float32)
def call():
    e = net.create_extractor(); e.input("data", ncnn.Mat(x)); return np.array(e.extract("output")[1])
call(); t = time.perf_counter()
for _ in range({calls}): call()
print((time.perf_counter() - t))
"""
OURS = """
import time, numpy as np
from chain_of_zoom import load_backbone
backbone = load_backbone("realsr")
x = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
backbone([x]); t = time.perf_counter(); backbone([x]); print(time.perf_counter() - t)
"""
ONNX = """
import sys, time, numpy as np, onnxruntime as ort
sys.path.insert(0, {here!r})
from ncnn_to_onnx import convert
from chain_of_zoom import load_backbone
options = ort.SessionOptions(); options.intra_op_num_threads = {threads}
session = ort.InferenceSession(convert(*load_backbone("realsr")._files()), options, providers=["CPUExecutionProvider"])
x = np.random.default_rng(0).random((1, 3, 128, 128), dtype=np.float32)
call = lambda: session.run(None, {{"data": x}})
call(); t = time.perf_counter(); call(); print(time.perf_counter() - t)
"""
START = """
import os, sys, time
from chain_of_zoom.backbones import feedforward
def begin(self):
    print(time.time()); sys.stdout.flush(); os._exit(0)
feedforward.FeedForward._load = begin
from chain_of_zoom.cli.app import main
sys.argv = ["coz", "zoom", {photo!r}]
main()
"""


def timed(code: str, **values: object) -> float:
    """The number that a fresh interpreter prints after `code`."""
    done = subprocess.run([sys.executable, "-c", code.format(**values)], capture_output=True, text=True, check=True)
    return float(done.stdout.strip().splitlines()[-1])


def gemm_rate(threads: int) -> float:
    """GFLOP/s of a float32 matrix product, this minute: median of 5."""
    code = (
        "import time, numpy as np\na = np.random.rand(2048, 2048).astype(np.float32)\na @ a\nts = []\n"
        "for _ in range(5):\n t = time.perf_counter(); a @ a; ts.append(time.perf_counter() - t)\n"
        "print(2 * 2048**3 / sorted(ts)[2] / 1e9)"
    )
    return timed(code, threads=threads)


def peak_memory(photo: Path) -> float:
    """Peak resident GB of `coz zoom` to 256x."""
    with tempfile.TemporaryDirectory() as out:
        arguments = [
            sys.executable,
            "-m",
            "chain_of_zoom",
            "zoom",
            str(photo),
            "--zoom",
            "256",
            "-q",
            "-o",
            f"{out}/run",
        ]
        process = subprocess.Popen(arguments)
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"coz failed with status {status}")
        return usage.ru_maxrss * 1024 / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photo", type=Path, help="any large photo, for the memory figure (a made-up one otherwise)")
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    threads = len(os.sched_getaffinity(0))
    rows: dict[str, list[float]] = {name: [] for name in ("chain", "bare4", "ours", "ncnn", "onnx", "gemm", "start")}
    for _ in range(args.repeats):
        rows["chain"].append(timed(CHAIN, photo=str(EXAMPLE)))
        rows["bare4"].append(timed(NCNN, threads=threads, calls=4))
        rows["ours"].append(timed(OURS))
        rows["ncnn"].append(timed(NCNN, threads=threads, calls=1))
        rows["onnx"].append(timed(ONNX, here=str(HERE), threads=threads))
        rows["gemm"].append(gemm_rate(threads))
        began = time.time()
        rows["start"].append(timed(START, photo=str(EXAMPLE)) - began)
    m = {name: median(values) for name, values in rows.items()}
    rate = GFLOP / m["ours"]
    with tempfile.TemporaryDirectory() as folder:
        photo = args.photo
        if photo is None:
            photo = Path(folder) / "24mp.jpg"
            with Image.open(EXAMPLE) as image:
                image.convert("RGB").resize((6000, 4000)).save(photo, quality=92)
        memory = peak_memory(photo)
    print(f"medians of {args.repeats}, {threads} threads, back to back\n")
    print(f"{'':58}{'measured':>12}{'wanted':>12}")
    for what, value, wanted in (
        ("chain of 4 generated steps / 4 bare calls of the network", m["chain"] / m["bare4"], "<= 1.10"),
        ("RealSR 128->512 / fastest of ncnn and onnxruntime, bare", m["ours"] / min(m["ncnn"], m["onnx"]), "<= 1.05"),
        ("  of which ncnn bare / onnxruntime bare", m["ncnn"] / m["onnx"], ""),
        (f"RealSR rate / GEMM rate ({rate:.0f} / {m['gemm']:.0f} GFLOP/s)", rate / m["gemm"], ">= 0.70"),
        ("seconds from start to the weights being read", m["start"], "<= 1.0"),
        (f"peak GB, {photo.name} to 256x", memory, "<= 2.0"),
    ):
        print(f"{what:58}{value:12.2f}{wanted:>12}")
    print(f"\nseconds: chain {m['chain']:.2f}, 4 bare calls {m['bare4']:.2f}, one call: ours {m['ours']:.2f}, "
          f"ncnn {m['ncnn']:.2f}, onnxruntime {m['onnx']:.2f}")  # fmt: skip
    print("spread (max/min): " + ", ".join(f"{name} {max(v) / min(v):.2f}" for name, v in rows.items()))


if __name__ == "__main__":
    main()
