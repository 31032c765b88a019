"""What a zoom costs over the bare network, and how fast that is beside other runtimes: the targets of performance.md.

    python benchmarks/zoom.py [--repeats 5] [--side 128] [--without torch.compile]

Needs the extras [bench] and [fast]. All figures are processor time, in turns within one run: absolute times on a shared
machine mean little, ratios hold. Every measurement has a process of its own, so that one runtime's waiting threads do
not slow another's.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
from pathlib import Path
from statistics import median

EXAMPLE = Path(__file__).parent.parent / "examples" / "astronaut.png"

# Each ends with the seconds of one pass of RealSR over a square of {side} px, after a pass that is not counted.
BARE = """
import os, time, numpy as np
os.environ.setdefault("GOMP_SPINCOUNT", "0")
from chain_of_zoom import load_backbone
from chain_of_zoom.networks.rrdb.ncnn_weights import read_network
from chain_of_zoom.networks.rrdb.onnx_file import format_onnx
backbone = load_backbone("realsr", device="cpu")
param, weights = backbone.find_files()
x = np.random.default_rng(0).random((1, 3, {side}, {side}), dtype=np.float32)
{call}
call(); start = time.process_time(); call(); print(time.process_time() - start)
"""
CALLS = {
    "ours": "window = np.rint(x[0].transpose(1, 2, 0) * 255).astype(np.uint8)\ndef call(): backbone([window])",
    "ncnn": """
import ncnn
net = ncnn.Net(); net.opt.num_threads = {threads}; net.load_param(str(param)); net.load_model(str(weights))
def call():
    e = net.create_extractor(); e.input("data", ncnn.Mat(x[0])); return np.array(e.extract("output")[1])
""",
    "MNN": """
from chain_of_zoom.networks.rrdb.mnn_network import MnnNetwork, convert
network = MnnNetwork(convert(param, weights, backbone.weights_sha256()), {threads})
planes = network._tensor(x.shape, network._float, x, network._order)
network._resize(x.shape)
def call():
    network._input.copyFrom(planes); network._network.runSession(network._session)
""",
    "onnxruntime": """
import onnxruntime as ort
options = ort.SessionOptions(); options.intra_op_num_threads = {threads}
options.add_session_config_entry("session.intra_op.allow_spinning", "0")
session = ort.InferenceSession(format_onnx(read_network(param, weights)), options, providers=["CPUExecutionProvider"])
def call(): return session.run(None, {{"data": x}})
""",
    "OpenVINO": """
import openvino
model = openvino.Core().read_model(format_onnx(read_network(param, weights)))
request = openvino.compile_model(model, "CPU", {{"INFERENCE_NUM_THREADS": {threads}}}).create_infer_request()
def call(): return request.infer([x])
""",
    "torch.compile": """
import torch
from chain_of_zoom.networks.rrdb.network import from_ncnn
torch.set_num_threads({threads}); network = torch.compile(from_ncnn(param, weights)); planes = torch.from_numpy(x)
def call():
    with torch.inference_mode(): return network(planes)
""",
}
# Each prints the processor time of a whole job over that of its network's passes alone, made again afterwards.
JOB = """
import tempfile, time, numpy as np
from pathlib import Path
from chain_of_zoom import load_backbone, upscale, zoom, zoom_many
from chain_of_zoom.backbones.feedforward import FeedForward
from chain_of_zoom.imaging.images import load
windows, compute = [], FeedForward._compute
def keep(self, window):
    windows.append(window); return compute(self, window)
backbone = load_backbone({backbone!r}, device="cpu")
backbone([np.zeros((64, 64, 3), np.uint8)])
FeedForward._compute = keep
size = (4 * {side}, 4 * {side})
with tempfile.TemporaryDirectory() as folder:
    out = Path(folder) / "out"
    start = time.process_time()
    {job}
    total = time.process_time() - start
start = time.process_time()
for window in windows: compute(backbone, window)
print(total / (time.process_time() - start))
"""
JOBS = {
    "chain of 4 generated states": (
        "realsr",
        "zoom({photo!r}, at=(0.4, 0.19), magnification=256 * 128 / {side}, size=size, backbone=backbone, out=out)",
    ),
    "batch of 10 zooms of a pass each": (
        "realsr",
        "list(zoom_many([{photo!r}], at=[(0.3 + i / 25, 0.3) for i in range(10)], magnification=8, size=(256, 256), "
        "backbone=backbone, out=out))",
    ),
    "coz upscale 4x by span": ("span", "upscale({photo!r}, 4, backbone=backbone, out=out.with_suffix('.png'))"),
}
FIRST = """
import os, sys
from chain_of_zoom.backbones import feedforward
feedforward.FeedForward._load = lambda self: os._exit(0)
from chain_of_zoom.cli.app import main
sys.argv = ["coz", "zoom", {photo!r}]
main()
"""


def run(code: str, *arguments: str) -> tuple[float, str]:
    """Processor time of a fresh interpreter, and what it printed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout


def last_number(code: str) -> float:
    return float(run(code)[1].split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--side", type=int, default=128, help="of the window, in pixels")
    parser.add_argument("--without", nargs="*", default=[], choices=CALLS, help="runtimes to leave out")
    args = parser.parse_args()
    values = {"side": args.side, "threads": len(os.sched_getaffinity(0)), "photo": str(EXAMPLE)}
    names = [name for name in CALLS if name not in args.without]
    rows: dict[str, list[float]] = {name: [] for name in (*names, *JOBS, "bare start", "version", "first pass")}
    version = "import sys; from chain_of_zoom.cli.app import main; sys.argv = ['coz', '--version']; main()"
    for _ in range(args.repeats):
        for name in names:
            rows[name].append(last_number(BARE.format(call=CALLS[name].format(**values), **values)))
        for name, (backbone, job) in JOBS.items():
            rows[name].append(last_number(JOB.format(backbone=backbone, job=job.format(**values), **values)))
        rows["bare start"].append(run("import numpy, PIL.Image")[0])
        rows["version"].append(run(version)[0])
        rows["first pass"].append(run(FIRST.format(**values))[0])
    m = {name: median(numbers) for name, numbers in rows.items()}
    print(f"medians of {args.repeats}, {values['threads']} threads, processor time\n")
    print(f"{'':62}{'measured':>10}{'wanted':>10}")
    fastest = min((name for name in names if name != "ours"), key=lambda name: m[name])
    what = f"RealSR {args.side} -> {4 * args.side} / the fastest bare runtime, {fastest}"
    print(f"{what:62}{m['ours'] / m[fastest]:10.2f}{'<= 1.05':>10}")
    for name in JOBS:
        print(f"{name + ' / its bare passes':62}{m[name]:10.2f}{'<= 1.05':>10}")
    for name, wanted in (("version", "<= 2"), ("first pass", "<= 3")):
        print(f"{'coz to its ' + name + ' / import of numpy and PIL':62}{m[name] / m['bare start']:10.2f}{wanted:>10}")
    print("\nseconds of a pass: " + ", ".join(f"{name} {m[name]:.2f}" for name in names))
    print("spread (max/min): " + ", ".join(f"{name} {max(v) / min(v):.2f}" for name, v in rows.items()))


if __name__ == "__main__":
    main()
