"""Runs the self-test of `coz doctor`: one fixed picture at 16x, and a zip of the results for a report."""

from __future__ import annotations

import io
import json
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from chain_of_zoom.api import ChainOfZoom
from chain_of_zoom.chain.request import ZoomRequest
from chain_of_zoom.cli.step_times import StepClock
from chain_of_zoom.errors import OutputError
from chain_of_zoom.files import write_atomic
from chain_of_zoom.imaging.images import RGB8, Picture
from chain_of_zoom.weights.presets import Preset, find_preset, resolve

if TYPE_CHECKING:
    from chain_of_zoom.chain.record import Record

PICTURE = "selftest.png"
SIDE = 512
ZOOM = 16.0


def run_selftest(
    name: str, target: Path, describe_machine: Callable[[], dict[str, Any]], say: Callable[[str], None]
) -> dict[str, Any]:
    """Zoom 16x into the fixed picture with a preset and write the zip; returns what was timed.

    describe_machine: returns what the zip says of the machine. say: receives a line for each state.
    Raises one MissingError for what the preset lacks, and OutputError, before anything is computed.
    """
    preset = find_preset(name)
    backbone, prompter = resolve(name)
    _check_writable(target)
    start = time.perf_counter()
    chain = ChainOfZoom(preset.backbone, preset.prompter, backbone_options=backbone, prompter_options=prompter)
    chain.load()
    timings: dict[str, Any] = {"load": round(time.perf_counter() - start, 3), "states": []}
    request = ZoomRequest(protocol="paper", zoom=ZOOM, mode=preset.settings["mode"])
    run = chain.plan(Picture.of_pixels(selftest_picture(), PICTURE), request)
    files: dict[str, bytes] = {}
    clock = StepClock()
    with tempfile.TemporaryDirectory() as scratch:
        folder = run.open(Path(scratch))
        for state in run.states():
            entry = folder.add(state)
            clock.add(PICTURE, entry)
            files[entry.file] = (folder.path / entry.file).read_bytes()
            timings["states"].append({"file": entry.file, "seconds": round(entry.seconds, 3)})
            say(f"{entry.file}: {entry.seconds:.1f} s, prompt {entry.prompt!r}")
    clock.remember(name, chain)
    timings["total"] = round(time.perf_counter() - start, 3)
    files["record.json"] = _record_without_paths(folder.record, preset)
    files["versions.json"] = _json({"preset": name, **describe_machine()})
    files["timings.json"] = _json(timings | _peak_memory())
    write_atomic(target, _zip(files))
    return {"preset": name, "zip": str(target), **timings}


def selftest_picture() -> RGB8:
    """Draw the fixed picture, 512 x 512, in whole numbers only, so that it is the same everywhere."""
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.int64)
    u, v = x - SIDE // 2, y - SIDE // 2
    rings = (u * u + v * v) // 24 % 256
    stripes = np.where((x + 2 * y) // 6 % 2 == 0, 230, 40)
    blocks = ((x // 32) * 53 + (y // 32) * 91) % 256
    grain = (x * 7919 + y * 104729 + x * y * 31) % 29 - 14
    planes = [(rings + blocks) // 2, np.where(u * v > 0, stripes, rings), (x + y) * 255 // (2 * SIDE - 2)]
    return np.stack([np.clip(plane + grain, 0, 255) for plane in planes], axis=-1).astype(np.uint8)


def _check_writable(target: Path) -> None:
    """Raise OutputError now rather than after the run, for a file that cannot be written."""
    if target.is_dir():
        raise OutputError(f"{target} is a folder; accepted: a file to write; type: -o {target / 'selftest.zip'}")
    try:
        with tempfile.TemporaryFile(dir=target.parent):
            pass
    except OSError as error:
        raise OutputError(f"cannot write {target} ({error.strerror or error}); name another file with -o") from error


def _record_without_paths(record: Record, preset: Preset) -> bytes:
    """Return the record with names of the catalog where the user's paths were."""
    items = {"backbone": preset.backbone_items, "prompter": preset.prompter_items}
    options = {kind: {**values, **items[kind]} for kind, values in record.options.items()}
    photo = msgspec.structs.replace(record.input, path=PICTURE)
    return msgspec.structs.replace(record, options=options, input=photo, complete=True).to_json()


def _peak_memory() -> dict[str, int]:
    torch = sys.modules.get("torch")
    return {"gpu_peak_bytes": torch.cuda.max_memory_allocated()} if torch and torch.cuda.is_available() else {}


def _json(value: object) -> bytes:
    return json.dumps(value, indent=2).encode() + b"\n"


def _zip(files: dict[str, bytes]) -> bytes:
    """Make a zip with the same date in every entry, so that it says nothing but its contents."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return buffer.getvalue()
