"""Compare a self-test's zip with what the published code, or another machine, makes of the same picture.

python benchmarks/compare_selftest.py selftest.zip OTHER

OTHER: another zip of `coz doctor --selftest`, or the output folder of the published script for 00_1x.png of the zip:
python inference_coz.py -i 00_1x.png -o OTHER --rec_type recursive_multiscale --prompt_type vlm --save_prompts
"""

from __future__ import annotations

import argparse
import io
import json
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

LEVELS = 2


class Run(NamedTuple):
    """states: pictures from 1x on. prompts: of each but the first. facts: seconds and bytes, where they are known."""

    states: list[np.ndarray]
    prompts: list[str]
    facts: dict[str, float]


def read_zip(path: Path) -> Run:
    with zipfile.ZipFile(path) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".png"))
        states = [np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("RGB")) for name in names]
        record = json.loads(archive.read("record.json"))
        timings = json.loads(archive.read("timings.json"))
    prompts = [state["prompt"] or "" for state in record["states"][1:]]
    facts = {f"seconds of state {number}": state["seconds"] for number, state in enumerate(timings["states"])}
    if "gpu_peak_bytes" in timings:
        facts["GB of GPU memory at most"] = timings["gpu_peak_bytes"] / 1e9
    return Run(states, prompts, facts)


def read_published(folder: Path) -> Run:
    """Of per-sample/NAME: 0.png and so on, and txt/0.txt and so on."""
    (sample,) = (path for path in (folder / "per-sample").iterdir() if path.is_dir())
    pictures = sorted((path for path in sample.glob("*.png") if path.stem.isdecimal()), key=lambda path: int(path.stem))
    texts = sorted((sample / "txt").glob("*.txt"), key=lambda path: int(path.stem))
    states = [np.asarray(Image.open(path).convert("RGB")) for path in pictures]
    return Run(states, [path.read_text() for path in texts], {})


def compare(one: Run, other: Run) -> list[str]:
    """A line for each state that both have, and for each fact."""
    lines = []
    for number, (a, b) in enumerate(zip(one.states, other.states, strict=False)):
        if a.shape != b.shape:
            lines.append(f"state {number}: sizes differ, {a.shape} and {b.shape}")
            continue
        difference = np.abs(a.astype(int) - b)
        within = float((difference <= LEVELS).mean())
        line = f"state {number}: {within:.2%} of values within {LEVELS} levels, {difference.mean():.2f} levels apart"
        if number and number <= min(len(one.prompts), len(other.prompts)):
            texts = one.prompts[number - 1].strip(), other.prompts[number - 1].strip()
            line += "; same prompt" if texts[0] == texts[1] else f"; prompts differ: {texts[0]!r} and {texts[1]!r}"
        lines.append(line)
    for name in one.facts:
        values = [f"{run.facts[name]:.1f}" for run in (one, other) if name in run.facts]
        lines.append(f"{name}: {', '.join(values)}")
    return lines


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("zip", type=Path)
    parser.add_argument("other", type=Path)
    chosen = parser.parse_args(arguments)
    other = read_published(chosen.other) if chosen.other.is_dir() else read_zip(chosen.other)
    print("\n".join(compare(read_zip(chosen.zip), other)))


if __name__ == "__main__":
    main()
