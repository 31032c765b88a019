"""Small photos of many kinds, and a look at what a batch left."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from chain_of_zoom.batch.summary import Summary
from chain_of_zoom.chain.record import Record
from chain_of_zoom.imaging.images import RGB8


def save(pixels: RGB8, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.ascontiguousarray(pixels)).save(path)
    return path


LEFT_OUT = ("seconds", "done", "kept", "torch", "transformers", "diffusers")


def contents(folder: Path) -> dict[str, object]:
    """Every file of a folder, as it is to be however often the work was stopped: JSON without times.

    Nor with packages that other tests of a process loaded: a record names them, and they change nothing here.
    """
    return {
        path.relative_to(folder).as_posix(): _untimed(json.loads(path.read_bytes()))
        if path.suffix == ".json"
        else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _untimed(value: Any) -> Any:
    if isinstance(value, dict):
        value = {key: _untimed(each) for key, each in value.items() if key not in LEFT_OUT}
        return value | ({"status": "done"} if value.get("status") == "kept" else {})
    return [_untimed(each) for each in value] if isinstance(value, list) else value


def check_unfinished(folder: Path, whole: dict[str, object]) -> None:
    """A stopped batch: whatever has its final name is whole, and nothing lies there that the end will not have."""
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_dir() or (path.name.startswith(".") and path.name.endswith(".tmp")):
            continue  # a process that is killed cannot clear up; the next one does
        assert name in whole, name
        data = path.read_bytes()
        if path.name == "record.json":
            record = Record.from_json(data)
            for entry in record.states:
                assert hashlib.sha256((path.parent / entry.file).read_bytes()).hexdigest() == entry.sha256
            assert not record.complete or (path.parent / "sheet.png").is_file()
        elif path.name == "summary.json":
            for run in Summary.from_json(data).runs:
                for state in run.states:
                    assert (folder / state.file).is_file()
                    assert state.thumbnail is None or (folder / state.thumbnail).is_file()
        elif path.name == "index.html":
            assert data.endswith(b"</html>\n") or data.endswith(b"</html>")
        else:
            assert data == whole[name], f"{name} is not what it will be"
