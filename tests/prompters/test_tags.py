from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from conftest import PARITY, noise

from chain_of_zoom.errors import MissingError, UsageError
from chain_of_zoom.imaging.images import load
from chain_of_zoom.prompters import tags
from chain_of_zoom.prompters.base import PromptContext
from chain_of_zoom.prompters.tags import Dape

pytestmark = [pytest.mark.torch, pytest.mark.slow]


TINY = PARITY / "tiny_ram"
RAM, DAPE = TINY / "ram_tiny.pth", TINY / "dape_tiny.pth"
LISTS = (TINY / "ram_tag_list.txt", TINY / "ram_tag_list_threshold.txt")


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Three tags with thresholds, and a file that is there but is not read."""
    contents = {"ram": "weights", "tags": "leaf\nred moss\nstone\n", "thresholds": "0.5\n0.65\n1\n"}
    for role, content in contents.items():
        (tmp_path / f"{role}.txt").write_text(content)
    return {role: tmp_path / f"{role}.txt" for role in contents}


def context() -> PromptContext:
    picture = load(PARITY / "cases" / "recursive" / "1_input.png").pixels
    return PromptContext([noise(8, 8)], picture, 4.0)


@pytest.mark.parametrize(("name", "lora"), [("ram", None), ("dape", DAPE)])
def test_tags_are_those_of_the_published_code(name: str, lora: Path | None, monkeypatch: pytest.MonkeyPatch):
    expected = json.loads((PARITY / "cases" / "tags_step1.json").read_text())[name]
    prompter = Dape(RAM, *LISTS, lora, device="cpu")
    assert prompter.name == name
    assert prompter([context()]) == [expected]
    # the same in a batch, whatever is beside it, and in two batches
    small = PromptContext([noise(8, 8)], noise(50, 40), 4.0)
    batch = prompter([small, context(), context()])
    assert batch[1:] == [expected] * 2
    assert batch[0] != expected
    monkeypatch.setattr(prompter, "_batch", 2)
    assert prompter([small, context(), context()]) == batch


def test_the_zoomed_picture_is_looked_at_and_nothing_else():
    texts = Dape(RAM, *LISTS, device="cpu")(
        [
            PromptContext([noise(8, 8)], noise(64, 64), 4.0),
            PromptContext([noise(64, 64, 1)] * 2, noise(64, 64), 16.0),
            PromptContext([noise(8, 8)], noise(64, 64, 2), 4.0),
        ]
    )
    assert texts[0] == texts[1] != texts[2]


def test_weights_are_read_once_and_late(monkeypatch: pytest.MonkeyPatch):
    reads = []
    original = tags.load_ram
    monkeypatch.setattr(tags, "load_ram", lambda *paths: (reads.append(paths), original(*paths))[1])
    prompter = Dape(RAM, *LISTS, DAPE)
    assert reads == []
    prompter.load()
    prompter.load()
    assert prompter([]) == []
    assert reads == [(RAM, DAPE)]


def test_nothing_above_its_threshold_is_the_empty_text(tmp_path: Path):
    (tmp_path / "ones.txt").write_text("1\n" * len(LISTS[0].read_text().splitlines()))
    assert Dape(RAM, LISTS[0], tmp_path / "ones.txt", device="cpu")([context()]) == [""]


def test_lists_of_another_length_than_the_weights(files: dict[str, Path]):
    prompter = Dape(RAM, files["tags"], files["thresholds"])
    with pytest.raises(MissingError, match=r"ram_tiny\.pth knows 127 tags but tags\.txt lists 3"):
        prompter.load()


def test_the_constructor_reads_the_lists_and_leaves_the_weights_alone(files: dict[str, Path]):
    prompter = Dape(**files)
    assert prompter.tags == ["leaf", "red moss", "stone"]
    assert prompter.thresholds == [0.5, 0.65, 1.0]
    assert prompter.device.type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(MissingError, match="damaged"):
        prompter.load()


def test_weights_sha256(files: dict[str, Path]):
    expected = {role: hashlib.sha256(path.read_bytes()).hexdigest() for role, path in files.items()}
    assert Dape(**files).weights_sha256() == expected
    with_lora = Dape(**files, dape=files["tags"]).weights_sha256()
    assert with_lora == expected | {"dape": expected["tags"]}


@pytest.mark.parametrize("role", ["ram", "tags", "thresholds", "dape"])
def test_a_file_that_is_not_there(files: dict[str, Path], role: str, tmp_path: Path):
    with pytest.raises(MissingError, match=f"^{role} file .*nowhere is not there; accepted: .*; check the path"):
        Dape(**files | {role: tmp_path / "nowhere"})


@pytest.mark.parametrize(
    ("role", "content", "message"),
    [
        ("tags", b"leaf\nmoss\n", "2 tags in tags.txt but 3 thresholds in thresholds.txt"),
        ("tags", b"leaf\n\nmoss\n", "tags.txt has an empty line"),
        ("tags", b"", "tags.txt has an empty line, or none at all"),
        ("tags", b"\xff\xfe\x00", "tags.txt cannot be read"),
        ("thresholds", b"0.5\nhalf\n1\n", "thresholds.txt holds 'half'; accepted: one number from 0 to 1"),
        ("thresholds", b"0.5\nnan\n1\n", "holds 'nan'"),
        ("thresholds", b"0.5\n1.5\n1\n", "holds '1.5'"),
    ],
)
def test_lists_that_make_no_sense(files: dict[str, Path], role: str, content: bytes, message: str):
    files[role].write_bytes(content)
    with pytest.raises(MissingError, match=message):
        Dape(**files)


@pytest.mark.parametrize("device", ["gpu", "cuda:99", ""])
def test_a_device_that_is_not_there(files: dict[str, Path], device: str):
    with pytest.raises(UsageError, match="accepted: auto, cpu"):
        Dape(**files, device=device)
