"""Headers of weight files, as strangers might write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from chain_of_zoom.errors import MissingError
from chain_of_zoom.weights.files import ABOUT, count_parameters, read_header, trained_about
from chain_of_zoom.weights.hub import _is_whole


def write(path: Path, header: Any, *, data: bytes = b"", length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + data)
    return path


def tensor(shape: Any = (2,), offsets: Any = (0, 8)) -> dict[str, Any]:
    return {"dtype": "F32", "shape": shape, "data_offsets": offsets}


def test_a_sound_header_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "model.safetensors", {"__metadata__": {"a": "b"}, "w": tensor()}, data=bytes(8))
    assert read_header(path) == ({"w": (2,)}, {"a": "b"})
    assert _is_whole(path)
    assert count_parameters(tmp_path) == 2


DEEP = b"[" * 100_000 + b"]" * 100_000


@pytest.mark.parametrize(
    ("header", "length"),
    [
        (b"", 0),
        ({}, 2**63),
        ({}, 100_000_001),
        ({"w": tensor()}, 10),
        (b'{"w":' + DEEP + b"}", None),
        (b'{"__metadata__":' + DEEP + b"}", None),
        (b'{"w":{"shape":[1],"data_offsets":[0,8],"more":' + DEEP + b"}}", None),
        ([], None),
        ({"w": 1}, None),
        ({"w": tensor(shape=[-2])}, None),
        ({"w": tensor(shape=[10**9] * 40)}, None),
        ({"w": tensor(shape=[2.5])}, None),
        ({"w": tensor(offsets=[0, "8"])}, None),
        ({"w": tensor(offsets=[8])}, None),
        ({"w": tensor(offsets=[8, 0])}, None),
        ({"w": tensor(offsets=[0, 10**30])}, None),
        ({"w": tensor(offsets=[-8, 0])}, None),
        ({"w": tensor(), "v": tensor(offsets=[0, None])}, None),
        (b'{"w":{"shape":[1e999],"data_offsets":[0,8]}}', None),
        ({"__metadata__": {"a": {}}}, None),
        (b"\xff\xfe", None),
    ],
)
def test_a_header_that_does_not_add_up_is_damage(tmp_path: Path, header: Any, length: int | None) -> None:
    path = write(tmp_path / "model.safetensors", header, data=bytes(8), length=length)
    with pytest.raises(ValueError, match="."):
        read_header(path)
    assert not _is_whole(path)
    assert count_parameters(tmp_path) == 0
    with pytest.raises(MissingError, match="is damaged"):
        trained_about(path)


def test_texts_nested_too_deeply_are_damage(tmp_path: Path) -> None:
    path = write(tmp_path / "model.safetensors", {"__metadata__": {ABOUT: DEEP.decode()}})
    with pytest.raises(MissingError, match="is damaged"):
        trained_about(path)


@pytest.mark.parametrize("header", [b'{"w":' + DEEP + b"}", {"w": tensor(offsets=[0, 10**18])}, {"w": 1}])
def test_weights_of_such_a_file_are_missing(tmp_path: Path, header: Any) -> None:
    pytest.importorskip("torch", reason="needs the extra [diffusion]")
    from chain_of_zoom.weights.checkpoints import read_tensors

    with pytest.raises(MissingError, match="is damaged"):
        read_tensors(write(tmp_path / "w.safetensors", header))
