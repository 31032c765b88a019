"""Large weights are hashed once, and again when they change."""

from __future__ import annotations

import hashlib
import os

import pytest

from chain_of_zoom.weights import hashes


@pytest.fixture
def weights(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(hashes, "LARGE", 10)
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"a" * 1000)
    return path


@pytest.fixture
def reads(monkeypatch):
    paths: list[str] = []
    compute = hashes.file_sha256
    monkeypatch.setattr(hashes, "file_sha256", lambda path: paths.append(path.name) or compute(path))
    return paths


def test_an_unchanged_file_is_read_once_by_any_name(weights, reads, tmp_path):
    expected = hashlib.sha256(weights.read_bytes()).hexdigest()
    (tmp_path / "link").symlink_to(weights)
    assert [hashes.remember_sha256(path) for path in (weights, str(weights), tmp_path / "link")] == [expected] * 3
    assert reads == [weights.name]


def test_a_change_of_the_same_length_with_its_old_time_is_noticed(weights, reads):
    times = (weights.stat().st_atime_ns, weights.stat().st_mtime_ns)
    first = hashes.remember_sha256(weights)
    weights.write_bytes(b"b" * 1000)
    os.utime(weights, ns=times)
    assert hashes.remember_sha256(weights) == hashlib.sha256(b"b" * 1000).hexdigest() != first
    assert len(reads) == 2


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"a": 1}'])
def test_a_damaged_memory_is_none(weights, reads, content):
    hashes.find_memory().parent.mkdir(parents=True)
    hashes.find_memory().write_bytes(content)
    assert hashes.remember_sha256(weights) == hashes.remember_sha256(weights)
    assert len(reads) == 1


def test_where_nothing_can_be_written_the_hash_is_computed_each_time(weights, reads):
    hashes.find_memory().parent.parent.write_bytes(b"a file where the folder would be")
    assert hashes.remember_sha256(weights) == hashes.remember_sha256(weights)
    assert len(reads) == 2


def test_small_files_are_read_and_leave_nothing_behind(weights, monkeypatch):
    monkeypatch.setattr(hashes, "LARGE", 10_000)
    hashes.remember_sha256(weights)
    assert not hashes.find_memory().exists()
