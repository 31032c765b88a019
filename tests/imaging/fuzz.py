"""Damaged pictures by the thousand: small real ones in every format, mutated from a seed, loaded in watched processes.

    python tests/imaging/fuzz.py 1000000 --seed 7                 # a long search; one line per kind of trouble
    COZ_FUZZ_ONLY=heic python tests/imaging/fuzz.py 1000000       # of the originals with that in their name

Each worker limits its own address space and its own CPU time, so that a file that wants too much is caught: memory as
an error that `load` must turn into its own, time as the death of the worker.
"""

from __future__ import annotations

import io
import json
import os
import re
import resource
import signal
import struct
import subprocess
import sys
import warnings
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).parent
PHOTO = HERE.parents[1] / "examples" / "astronaut.png"
MEMORY = 512 << 20
SECONDS = 2.0  # of CPU; the process is ended at five times that
INTERESTING = (0, 1, 2, 0x7F, 0x80, 0xFE, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


@cache
def originals() -> dict[str, bytes]:
    """A small real photo in every format and in many variants of each."""
    import pyvips
    import tifffile
    from makers import ADOBE_PROFILE, GAMMA, GREY_PROFILE, bmp, iccp, packed, png, written
    from makers import exif as colour_exif

    photo = Image.open(PHOTO).convert("RGB").crop((180, 60, 244, 108))
    grey, small = photo.convert("L"), photo.resize((32, 24))
    clear = photo.copy()
    clear.putalpha(grey)
    deep = np.asarray(photo).astype(np.uint16) * 257
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Camera"
    exif.get_ifd(0x8825).update({1: "N", 2: (52.0, 30.0, 0.0)})
    told = {"exif": exif, "icc_profile": ADOBE_PROFILE}
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>'
    frames = {"save_all": True, "append_images": [small.rotate(90 * i) for i in (1, 2)]}
    found: dict[str, bytes] = {}

    def add(name: str, image: Image.Image, kind: str, **options: object) -> None:
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        found[name] = buffer.getvalue()

    add("jpeg", photo, "JPEG", quality=80)
    add("jpeg progressive", photo, "JPEG", progressive=True)
    add("jpeg grey", grey, "JPEG", icc_profile=GREY_PROFILE)
    add("jpeg cmyk", photo.convert("CMYK"), "JPEG")
    add("jpeg told", photo, "JPEG", xmp=xmp, restart_marker_rows=1, **told)
    add("png", photo, "PNG")
    add("png palette", photo.quantize(16), "PNG", transparency=bytes(range(0, 256, 16)))
    add("png one bit", photo.convert("1"), "PNG")
    add("png alpha", clear, "PNG", **told)
    add("png grey alpha", clear.convert("LA"), "PNG", icc_profile=GREY_PROFILE)
    add("png animated", small, "PNG", **frames)
    add("webp", photo, "WEBP", quality=70)
    add("webp lossless", clear, "WEBP", lossless=True)
    add("webp told", clear, "WEBP", xmp=xmp, **told)
    add("webp animated", small, "WEBP", **frames)
    for name, image, options in (
        ("tiff", photo, told),
        ("tiff lzw", clear, {"compression": "tiff_lzw"}),
        ("tiff deflate", photo.quantize(16), {"compression": "tiff_adobe_deflate"}),
        ("tiff packbits", grey, {"compression": "packbits"}),
        ("tiff jpeg", photo, {"compression": "jpeg"}),
        ("tiff fax", photo.convert("1"), {"compression": "group4"}),
        ("tiff cmyk", photo.convert("CMYK"), {}),
        ("tiff float", grey.convert("F"), {}),
        ("tiff pages", small, frames),
    ):
        add(name, image, "TIFF", **options)
    add("bmp", photo, "BMP")
    add("bmp palette", photo.quantize(16), "BMP")
    add("bmp alpha", clear, "BMP")
    add("gif", photo, "GIF")
    add("gif clear", photo.quantize(16), "GIF", transparency=3)
    add("gif animated", small, "GIF", **frames)
    add("avif", small, "AVIF", quality=60)
    add("avif told", clear.resize((32, 24)), "AVIF", quality=60, xmp=xmp, **told)
    add("avif animated", small, "AVIF", **frames)
    found["png deep"] = png(deep, 2, iccp(ADOBE_PROFILE))
    points = struct.pack(">8I", 31270, 32900, 64000, 33000, 21000, 71000, 15000, 6000)
    found["png space"] = png(deep, 2, (b"gAMA", struct.pack(">I", round(1e5 / GAMMA))), (b"cHRM", points))
    found["png space hdr"] = png(deep, 2, (b"cICP", bytes([9, 16, 0, 0])))
    add("jpeg space", photo, "JPEG", exif=colour_exif(65535, b"R03\0"))
    found["avif space"] = found["avif"].replace(b"nclx\0\1\0\x0d", b"nclx\0\x09\0\x12")
    ends = struct.pack(
        "<9i", *(round(value * 2**30) for value in (0.68, 0.32, 0, 0.265, 0.69, 0.045, 0.15, 0.06, 0.79))
    )
    found["bmp space"] = bmp(np.asarray(photo), bytes(4), ends, struct.pack("<3I", *[round(GAMMA * 65536)] * 3))
    found["bmp profile"] = bmp(np.asarray(photo), b"MBED", profile=ADOBE_PROFILE)
    found["png deep grey alpha"] = png(np.dstack([deep[..., 0], deep[..., 1]]), 4)
    wide = pyvips.Image.new_from_memory(deep.data, 64, 48, 3, "ushort").copy(interpretation="rgb16")
    found["png deep interlaced"] = wide.pngsave_buffer(interlace=True)
    found["tiff deep lzw"] = wide.tiffsave_buffer(compression="lzw", predictor="horizontal")
    found["tiff deep tiled"] = wide.tiffsave_buffer(tile=True, tile_width=32, tile_height=32, compression="deflate")
    found["avif deep"] = wide.crop(0, 0, 32, 24).heifsave_buffer(compression="av1", bitdepth=10, Q=60)
    planes = np.moveaxis(deep, -1, 0)
    for name, pixels, options in (
        ("tiff deep", deep, {"photometric": "rgb", "byteorder": ">"}),
        ("tiff deep planes", planes, {"photometric": "rgb", "planarconfig": "separate"}),
        ("tiff deep big", deep[..., :1], {"photometric": "minisblack", "bigtiff": True}),
        ("tiff deep lab", deep, {"photometric": "cielab"}),
        ("tiff lab", np.asarray(photo), {"photometric": "cielab"}),
        ("tiff tiled planes", planes, {"photometric": "rgb", "planarconfig": "separate", "tile": (32, 32)}),
        ("tiff wide", deep / 65535, {"photometric": "rgb"}),
    ):
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, pixels, **options)
        found[name] = buffer.getvalue()
    twelve = {"bits": (12, 12, 12), "samples": 3, "photometric": 2, "compression": 1}
    found["tiff twelve bits"] = written(packed(deep >> 4, 12), width=64, height=48, **twelve)
    found |= {path.name: path.read_bytes() for path in sorted((HERE / "data").glob("*.heic"))}
    only = os.environ.get("COZ_FUZZ_ONLY", "")
    return {name: data for name, data in found.items() if only in name}


def mutant(seed: int, index: int) -> tuple[str, bytes]:
    """The name of the original and what became of it; the same for the same numbers."""
    rng = np.random.default_rng((seed, index))
    names = list(originals())
    name = names[index % len(names)]
    data = bytearray(originals()[name])
    for _ in range(int(rng.integers(1, 4))):
        _mutate(data, rng, names)
    return name, _checked(bytes(data)) if data[:4] == b"\x89PNG" and rng.random() < 0.7 else bytes(data)


def _mutate(data: bytearray, rng: np.random.Generator, names: list[str]) -> None:
    if len(data) < 8:
        return
    near = int(rng.integers(0, min(len(data), 256)))  # headers are at the front, a TIFF's at the back
    at = (near, len(data) - 1 - near, int(rng.integers(0, len(data))))[int(rng.integers(0, 3))]
    length = int(rng.integers(1, 1 + len(data) // 4))
    match int(rng.integers(0, 8)):
        case 0:
            data[at] ^= 1 << int(rng.integers(0, 8))
        case 1:
            for place in rng.integers(0, len(data), 8):
                data[place] = int(rng.integers(0, 256))
        case 2 | 3 | 4:
            size, order = (1, 2, 4)[int(rng.integers(0, 3))], (">", "<")[int(rng.integers(0, 2))]
            value = INTERESTING[int(rng.integers(0, len(INTERESTING)))] & ((1 << 8 * size) - 1)
            data[at : at + size] = struct.pack(order + {1: "B", 2: "H", 4: "I"}[size], value)
        case 5:
            del data[at : at + (length if rng.random() < 0.5 else len(data))]
        case 6:
            data[at:at] = data[at : at + length]
        case _:
            other = originals()[names[int(rng.integers(0, len(names)))]]
            start = int(rng.integers(0, len(other)))
            data[at : at + length] = other[start : start + length]


def _checked(data: bytes) -> bytes:
    """A PNG with the check sums of its chunks made right, so that damage reaches the decoder."""
    out, at = data[:8], 8
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        body = data[at + 4 : at + 8 + length]
        out += data[at : at + 4] + body + struct.pack(">I", zlib.crc32(body))
        at += 12 + length
    return out + data[at:]


@dataclass
class Report:
    """What happened to the files: how many of each outcome, and every trouble in one line."""

    files: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    slowest: tuple[float, str] = (0.0, "")
    largest: tuple[int, str] = (0, "")
    troubles: list[str] = field(default_factory=list)


def run(jobs: list[list[str]]) -> Report:
    """Give each list of arguments to a worker of its own, all at once; one that dies goes on after what killed it."""
    report = Report()
    workers = [_Worker(job) for job in jobs]
    for worker in workers:
        worker.collect(report)
    return report


class _Worker:
    def __init__(self, arguments: list[str]) -> None:
        self.arguments = arguments
        self.start(0)

    def start(self, skip: int) -> None:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("COV")}
        environment |= {"MALLOC_ARENA_MAX": "1", "VIPS_CONCURRENCY": "1", "OPENBLAS_NUM_THREADS": "1"}
        command = [sys.executable, "-X", "faulthandler", __file__, "--worker", str(skip), *self.arguments]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=HERE
        )

    def collect(self, report: Report) -> None:
        done = 0
        while len(report.troubles) < 100:
            out, err = self.process.communicate(timeout=3600)
            for line in out.splitlines():
                _note(report, *json.loads(line))
                done += 1
            if err.strip():
                report.troubles.append(f"stderr: {err.strip()[:500]}")
            if self.process.returncode == 0:
                return
            report.troubles.append(f"{self.arguments}: {done} killed the process ({self.process.returncode})")
            done += 1
            self.start(done)


def _note(report: Report, name: str, outcome: str, reason: str, seconds: float, memory: int) -> None:
    report.files += 1
    report.outcomes[outcome] += 1
    report.reasons[reason] += 1
    report.slowest = max(report.slowest, (seconds, name))
    report.largest = max(report.largest, (memory, name))
    if outcome == "trouble":
        report.troubles.append(f"{name}: {reason}")
    if seconds > SECONDS:
        report.troubles.append(f"{name}: {seconds:.1f} s")


def _inputs(arguments: list[str]) -> Iterator[tuple[str, bytes]]:
    seed, start, stop, step = map(int, arguments[:4])
    for path in arguments[4:]:
        yield Path(path).name, Path(path).read_bytes()
    for index in range(start, stop, step):
        name, data = mutant(seed, index)
        yield f"mutant {seed} {index} ({name})", data


def _work(skip: int, arguments: list[str]) -> None:
    for data in originals().values():  # every decoder loaded, before memory is counted
        _outcome(data)
    warnings.simplefilter("error")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (_mapped() + MEMORY, resource.RLIM_INFINITY))
    for number, (name, data) in enumerate(_inputs(arguments)):
        if number < skip:
            continue
        before = resource.getrusage(resource.RUSAGE_SELF)
        signal.setitimer(signal.ITIMER_PROF, 5 * SECONDS)  # its signal ends the process, in C code too
        outcome, reason = _outcome(data)
        after = resource.getrusage(resource.RUSAGE_SELF)
        seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        print(json.dumps([name, outcome, reason, seconds, (after.ru_maxrss - before.ru_maxrss) << 10]), flush=True)
    signal.setitimer(signal.ITIMER_PROF, 0)


def _outcome(data: bytes) -> tuple[str, str]:
    """What became of a file, and why in a word or two."""
    from chain_of_zoom.errors import BadInputError
    from chain_of_zoom.imaging.decode import decode_bytes
    from chain_of_zoom.imaging.images import Picture, render

    try:
        found = render(decode_bytes(data, Path("a")))
        assert isinstance(found, Picture)
        assert found.pixels.ndim == 3
    except BadInputError as error:
        if "\n" in str(error):
            return "trouble", f"message of several lines: {error!r}"
        if error.__cause__:
            return "refused", type(error.__cause__).__name__
        return "refused", re.sub(r"[0-9]+|\(.*", "", str(error))[:50]
    except BaseException as error:
        return "trouble", f"{type(error).__name__}: {error}"
    return "picture", "picture"


def _mapped() -> int:
    """Bytes of address space in use."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def jobs(count: int, seed: int, files: Sequence[str] = (), workers: int = 2) -> list[list[str]]:
    """For `run`: mutants 0 to `count`, and files besides, in equal parts."""
    return [[*map(str, (seed, i, count, workers)), *files[i::workers]] for i in range(workers)]


def main() -> None:
    """Search from the command line, or work for `run`."""
    if sys.argv[1] == "--worker":
        _work(int(sys.argv[2]), sys.argv[3:])
        return
    seed = int(sys.argv[sys.argv.index("--seed") + 1]) if "--seed" in sys.argv else 0
    report = run(jobs(int(sys.argv[1]), seed, workers=os.cpu_count() or 1))
    print(report.files, dict(report.outcomes), "slowest", report.slowest, "largest", report.largest)
    print(*report.reasons.most_common(60), sep="\n")
    print(*report.troubles, sep="\n")
    raise SystemExit(bool(report.troubles))


if __name__ == "__main__":
    main()
