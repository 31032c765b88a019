"""Whole pictures, lanes and training on cards that are not there: what a CPU computes, and nothing across devices."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from conftest import PHOTO, noise
from PIL import Image

torch = pytest.importorskip("torch", reason="needs the extra [train]")
pytest.importorskip("tensorboard", reason="needs the extra [train]")

from distillation.runs import settings  # noqa: E402
from emulated_gpu import EmulatedGpus  # noqa: E402
from gpus.cards import MB, SD3, cards, count_moves, one_thread  # noqa: E402, F401

from chain_of_zoom import load_backbone  # noqa: E402
from chain_of_zoom.distillation import network  # noqa: E402
from chain_of_zoom.distillation.captions import Author, Caption, write_captions  # noqa: E402
from chain_of_zoom.distillation.estimate import estimate  # noqa: E402
from chain_of_zoom.distillation.trainer import Trainer  # noqa: E402
from chain_of_zoom.errors import ShortageError  # noqa: E402
from chain_of_zoom.imaging.geometry import Size  # noqa: E402
from chain_of_zoom.networks.sd import tiled_smooth  # noqa: E402
from chain_of_zoom.weights.files import file_sha256  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.slow]


def enlarge(backbone, picture: np.ndarray) -> tuple[np.ndarray, list[str]]:
    notes: list[str] = []
    words = ["moss"] * len(backbone.tiles(Size(64, 32), tile=16, overlap=8))
    pieces = backbone.enlarge_whole(
        picture, words, 3, tile=16, overlap=8, on_fallback=lambda _, note: notes.append(note)
    )
    return np.concatenate([pixels for _, pixels in pieces]), notes


def test_a_whole_picture_is_that_of_a_cpu_and_a_full_card_takes_fewer_tiles_and_samples(monkeypatch):
    picture = noise(4, 8).repeat(8, 0).repeat(8, 1)
    backbone = load_backbone("osediff-sd3", **SD3, device="cpu")
    expected, _ = enlarge(backbone, picture)
    with monkeypatch.context() as patch:
        little = partial(tiled_smooth.SmoothPicture, room=tiled_smooth.LITTLE_ROOM)
        patch.setattr(tiled_smooth, "SmoothPicture", little)
        of_fewer, _ = enlarge(backbone, picture)
    with cards(100) as gpus:
        backbone = load_backbone("osediff-sd3", **SD3, dtype="float32")
        result, notes = enlarge(backbone, picture)
        assert notes == []
        np.testing.assert_allclose(result, expected, atol=1e-4)
        card = gpus.cards[0]
        card.budget = int(card.held + 0.62 * (card.peak - card.held))
        result, notes = enlarge(backbone, picture)
        assert {f"out of GPU memory; the picture {way} in tiles" for way in ("encoded", "decoded")} < {*notes}
        assert "out of GPU memory; norms shared from 4 samples, not from 8" in notes
        assert any("at once" in note for note in notes)
        np.testing.assert_allclose(result, of_fewer, atol=1e-4)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """Three pictures, and their captions beside them."""
    folder = tmp_path_factory.mktemp("pictures")
    with Image.open(PHOTO) as photo:
        for number in range(3):
            photo.crop((150 * number, 100, 150 * number + 80, 180)).save(folder / f"{number}.png")
    return folder


def train(pictures: Path, folder: Path, device: str, captions: Path, dtype: str = "float32") -> tuple[dict, Trainer]:
    data = {"captions": str(captions)}
    trainer = Trainer(
        settings(pictures, data=data, run={"steps": 2, "device": device, "dtype": dtype}), folder, say=lambda _: None
    )
    return dict(trainer.run().losses), trainer


def test_training_computes_a_cpus_losses_and_its_text_encoders_come_only_to_embed(pictures, tmp_path, monkeypatch):
    lines = [
        Caption(name=path.name, sha256=file_sha256(path), text=f"picture {path.stem}")
        for path in sorted(pictures.iterdir())
    ]
    write_captions(tmp_path / "captions.jsonl", Author(prompter="vlm"), lines)
    expected, _ = train(pictures, tmp_path / "cpu", "cpu", tmp_path / "captions.jsonl")
    monkeypatch.setattr(network, "MAX_EMBEDDED", 2)  # of three captions: encoders wait in main memory
    with EmulatedGpus({0: 100 * MB}) as gpus:
        losses, trainer = train(pictures, tmp_path / "gpu", "cuda", tmp_path / "captions.jsonl")
        assert not trainer.texts.freed
        encoders = trainer.texts._encoders()
        assert {tensor.device.type for encoder in encoders for tensor in encoder.parameters()} == {"cpu"}
        size = sum(tensor.nbytes for encoder in encoders for tensor in encoder.parameters())
        assert count_moves(gpus)["host to cuda:0"] >= 2 * size
    assert losses == pytest.approx(expected, rel=1e-3, abs=1e-6)


def test_training_fits_into_its_estimate_and_a_fuller_card_goes_on_with_less_at_a_time(pictures, tmp_path):
    def start(folder: str, device: str, **optimizer: int) -> Trainer:
        run, model = {"steps": 2, "device": device, "dtype": "float32"}, {"checkpointing": True}
        tables = settings(pictures, run=run, model=model, optimizer=optimizer)
        return Trainer(tables, tmp_path / folder, say=lambda _: None)

    cpu = start("cpu", "cpu")
    expected = dict(cpu.run().losses)
    promised = next(row.bytes for row in estimate(cpu.settings) if row.part == "on the device")
    with EmulatedGpus({0: promised}) as gpus:
        losses = dict(start("gpu", "cuda").run().losses)
        assert gpus.cards[0].refused == 0
        assert gpus.cards[0].peak > 0.8 * promised
    assert losses == pytest.approx(expected, rel=1e-3, abs=1e-6)
    with EmulatedGpus({0: int(0.7 * promised)}):
        with pytest.raises(ShortageError, match=r"memory of cuda.* is used up .*--batch 1 --accumulate 2, the same"):
            start("full", "cuda").run()
        losses = dict(start("full", "cuda", batch=1, accumulate=2).run().losses)
    assert losses == pytest.approx(expected, rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_training_in_short_numbers_stays_near(pictures, tmp_path, dtype):
    captions = tmp_path / "captions.jsonl"
    lines = [Caption(name=path.name, sha256=file_sha256(path), text="moss") for path in sorted(pictures.iterdir())]
    write_captions(captions, Author(prompter="vlm"), lines)
    expected, _ = train(pictures, tmp_path / "cpu", "cpu", captions)
    with EmulatedGpus({0: 100 * MB}):
        losses, trainer = train(pictures, tmp_path / "gpu", "cuda", captions, dtype)
        assert trainer.texts.freed
    assert losses["generator"] == pytest.approx(expected["generator"], rel=0.02)
