"""The script that compares a self-test with what the published code makes of its picture."""

from __future__ import annotations

import importlib.util
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, noise
from PIL import Image


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("compare_selftest", ROOT / "benchmarks" / "compare_selftest.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def write_zip(path: Path, states: list[np.ndarray], prompts: list[str]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for number, pixels in enumerate(states):
            archive.writestr(f"{number:02}_{4**number}x.png", png(pixels))
        rows = [{"prompt": None}, *({"prompt": prompt} for prompt in prompts)]
        archive.writestr("record.json", json.dumps({"states": rows}))
        times = [{"seconds": 1.0 + number} for number in range(len(states))]
        archive.writestr("timings.json", json.dumps({"states": times, "gpu_peak_bytes": 20_000_000_000}))
    return path


def test_states_prompts_and_facts_are_compared_with_the_published_folder_and_with_a_zip(script, tmp_path, capsys):
    states = [noise(8, 8, seed) // 2 for seed in range(2)]
    path = write_zip(tmp_path / "a.zip", states, ["moss"])
    sample = tmp_path / "theirs" / "per-sample" / "00_1x"
    (sample / "txt").mkdir(parents=True)
    changed = states[1].copy()
    changed[:4] += 3
    for name, pixels in (("0", states[0]), ("1", changed), ("1_input", states[0])):
        (sample / f"{name}.png").write_bytes(png(pixels))
    (sample / "txt" / "0.txt").write_text("fern")
    script.main([str(path), str(tmp_path / "theirs")])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "state 0: 100.00% of values within 2 levels, 0.00 levels apart"
    assert lines[1] == "state 1: 50.00% of values within 2 levels, 1.50 levels apart; prompts differ: 'moss' and 'fern'"
    assert lines[-1] == "GB of GPU memory at most: 20.0"
    script.main([str(path), str(path)])
    assert "state 1: 100.00% of values within 2 levels, 0.00 levels apart; same prompt" in capsys.readouterr().out
