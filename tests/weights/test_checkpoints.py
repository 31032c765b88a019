from __future__ import annotations

import os
import pickle
import zipfile

import pytest

torch = pytest.importorskip("torch", reason="needs the extra [diffusion]")

from safetensors.torch import save_file  # noqa: E402

from chain_of_zoom.errors import MissingError  # noqa: E402
from chain_of_zoom.weights.checkpoints import read_tensors  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.slow]


class Evil:
    """Unpickled in the ordinary way it makes a folder."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


@pytest.mark.parametrize("form", ["plain pickle", "torch file", "inside a list"])
def test_a_malicious_pickle_is_refused_and_not_run(tmp_path, form):
    evil = Evil(tmp_path / "was here")
    path = tmp_path / "model.pkl"
    if form == "plain pickle":
        path.write_bytes(pickle.dumps(evil))
    else:
        torch.save([torch.zeros(1), evil] if form == "inside a list" else evil, path)
    with pytest.raises(MissingError, match="nothing in it was run"):
        read_tensors(path)
    assert not (tmp_path / "was here").exists()
    pickle.loads(pickle.dumps(evil))
    assert (tmp_path / "was here").exists(), "the file was harmless, so the test showed nothing"


def test_tensors_come_back(tmp_path):
    torch.save([torch.ones(2), torch.zeros(3)], tmp_path / "a.pkl")
    assert [len(t) for t in read_tensors(tmp_path / "a.pkl")] == [2, 3]
    save_file({"x": torch.ones(2)}, tmp_path / "a.safetensors")
    assert set(read_tensors(tmp_path / "a.safetensors")) == {"x"}


@pytest.mark.parametrize("name", ["a.pkl", "a.pt", "a.safetensors"])
@pytest.mark.parametrize("damage", ["empty", "cut", "text"])
def test_damaged_files_are_one_typed_error(tmp_path, name, damage):
    path = tmp_path / name
    if name.endswith("safetensors"):
        save_file({"x": torch.ones(200)}, path)
    else:
        torch.save({"x": torch.ones(200)}, path)
        assert zipfile.is_zipfile(path)
    data = path.read_bytes()
    path.write_bytes({"empty": b"", "cut": data[: len(data) // 2], "text": b"hello, I am text"}[damage])
    with pytest.raises(MissingError, match="damaged"):
        read_tensors(path)


def test_a_missing_file(tmp_path):
    with pytest.raises(MissingError, match="not there"):
        read_tensors(tmp_path / "none.pkl")
