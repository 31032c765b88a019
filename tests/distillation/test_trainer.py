"""Training on tiny random weights: what changes, what comes out, and that a stop changes nothing."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from conftest import PARITY, PHOTO, ROOT
from PIL import Image

torch = pytest.importorskip("torch", reason="needs the extra [train]")
pytest.importorskip("tensorboard", reason="needs the extra [train]")

from distillation.runs import TINY, losses, settings  # noqa: E402

from chain_of_zoom import MissingError, UsageError, load_backbone  # noqa: E402
from chain_of_zoom.distillation import network, order, trainer  # noqa: E402
from chain_of_zoom.distillation.adapters import REGULARISER  # noqa: E402
from chain_of_zoom.distillation.captioning import caption_crops  # noqa: E402
from chain_of_zoom.distillation.captions import Author  # noqa: E402
from chain_of_zoom.distillation.data import open_training_set  # noqa: E402
from chain_of_zoom.distillation.losses import compute_generator_loss, compute_regulariser_loss  # noqa: E402
from chain_of_zoom.distillation.trainer import Trainer  # noqa: E402
from chain_of_zoom.distillation.validation import restore_example  # noqa: E402
from chain_of_zoom.errors import BackboneError, BadInputError, OccupiedError, OutputError  # noqa: E402
from chain_of_zoom.prompters.base import Prompter  # noqa: E402
from chain_of_zoom.weights.checkpoints import read_tensors  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.slow]


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """As in the processes of runs.py: sums in another order differ in their last digits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    with Image.open(PHOTO) as photo:
        for i in range(3):
            photo.crop((150 * i, 100, 150 * i + 150, 250)).save(folder / f"{i}.png")
    return folder


def start(pictures: Path, folder: Path, force: bool = False, **tables: dict) -> Trainer:
    return Trainer(settings(pictures, **tables), folder, force=force, say=lambda line: None)


@pytest.fixture(scope="module")
def whole(pictures, tmp_path_factory) -> Trainer:
    """A run of eight steps, finished."""
    trained = start(pictures, tmp_path_factory.mktemp("whole"), run={"sheet": 4, "published_layout": True})
    trained.run()
    return trained


@pytest.fixture
def begun(pictures, tmp_path) -> Trainer:
    """A run before its first step, whose adapters are past zero, so that all of them get gradients."""
    made = start(pictures, tmp_path / "run")
    torch.manual_seed(0)
    with torch.no_grad():
        for group in made.groups.values():
            for parameter in group.values():
                parameter.add_(torch.randn_like(parameter), alpha=0.01)
    return made


def a_batch(trainer: Trainer):
    return trainer.make_batch(next(order.draw_batches(trainer.data, [[0, 1]], 0)))


def backward(trainer: Trainer) -> dict[str, set[str]]:
    """Which groups have gradients after each of the two losses."""

    def reached() -> set[str]:
        found = {n for n, group in trainer.groups.items() if all(p.grad is not None for p in group.values())}
        trainer.updates.drop_gradients()
        return found

    student, batch = trainer.student, a_batch(trainer)
    z, total, _ = compute_generator_loss(student, batch, trainer.settings.losses, None)
    total.backward()
    by_generator = reached()
    with student.switch.activate(REGULARISER):
        compute_regulariser_loss(student, z, batch).backward()
    return {"generator": by_generator, "regulariser": reached()}


@pytest.mark.slow
def test_each_loss_reaches_its_own_adapters(begun):
    assert backward(begun) == {"generator": {"generator", "encoder"}, "regulariser": {"regulariser"}}


@pytest.mark.slow
def test_a_step_changes_all_adapters_and_no_bit_of_the_base(begun):
    student = begun.student
    ours = {id(p) for group in begun.groups.values() for p in group.values()}
    modules = (student.transformer, student.vae)
    base = {
        f"{i}.{name}": p.clone() for i, m in enumerate(modules) for name, p in m.named_parameters() if id(p) not in ours
    }
    before = {name: [p.clone() for p in group.values()] for name, group in begun.groups.items()}
    begun.take_step(iter([next(order.draw_batches(begun.data, [[0, 1]], 0))]), threading.Event())
    for i, module in enumerate(modules):
        for name, parameter in module.named_parameters():
            if id(parameter) not in ours:
                assert torch.equal(parameter, base[f"{i}.{name}"]), name
                assert not parameter.requires_grad
    for name, group in begun.groups.items():
        assert not any(torch.equal(p, was) for p, was in zip(group.values(), before[name], strict=True)), name


def test_generator_encoder_and_regulariser_are_clipped_each_to_its_own_norm(begun):
    """As published: a large gradient of the encoder leaves the small one of the generator as it is."""
    norms = {"generator": 0.5, "encoder": 40.0, "regulariser": 3.0}
    for name, norm in norms.items():
        weights = list(begun.groups[name].values())
        count = sum(weight.numel() for weight in weights)
        for weight in weights:
            weight.grad = torch.full_like(weight, norm / count**0.5)
    assert begun.updates.apply()
    for name, norm in norms.items():
        state = begun.updates.optimizers[name].state
        clipped = torch.cat([state[weight]["exp_avg"].flatten() for weight in begun.groups[name].values()]) / 0.1
        assert float(clipped.norm()) == pytest.approx(min(norm, 1.0), rel=1e-4)


@pytest.mark.slow
def test_the_switch_makes_three_networks_of_one(begun):
    student, batch = begun.student, a_batch(begun)
    z = torch.randn(2, *student.latent_shape(64))
    time = student.timesteps[batch.noise.matching_time]
    made = {}
    with torch.no_grad():
        for adapter in ("generator", REGULARISER, None):
            with student.switch.activate(adapter):
                made[adapter] = student.velocity(z, time, batch.texts)
    assert student.switch.active == "generator"
    assert not torch.equal(made["generator"], made[REGULARISER])
    from diffusers import SD3Transformer2DModel

    plain = SD3Transformer2DModel.from_pretrained(TINY / "transformer").eval()
    with torch.no_grad():
        original = plain(z, batch.texts[0], batch.texts[1], time, return_dict=False)[0]
    assert torch.equal(made[None], original)


@pytest.mark.slow
def test_the_regulariser_learns_what_the_generator_makes(begun):
    student, batch = begun.student, a_batch(begun)
    with torch.no_grad():
        z = student.generate(batch.low, batch.noise.posterior, batch.texts)
    found = []
    for _ in range(12):
        with student.switch.activate(REGULARISER):
            loss = compute_regulariser_loss(student, z, batch)
            loss.backward()
        begun.updates.optimizers["regulariser"].step()
        begun.updates.drop_gradients()
        found.append(float(loss.detach()))
    assert found == sorted(found, reverse=True)  # a dozen steps, each of them better


@pytest.mark.slow
def test_checkpointing_changes_no_gradient(begun):
    def gradients() -> list[torch.Tensor]:
        student, batch = begun.student, a_batch(begun)
        z, total, _ = compute_generator_loss(student, batch, begun.settings.losses, None)
        total.backward()
        with student.switch.activate(REGULARISER):
            compute_regulariser_loss(student, z, batch).backward()
        found = [p.grad for group in begun.groups.values() for p in group.values()]
        begun.updates.drop_gradients()
        return found

    without = gradients()
    begun.student.transformer.enable_gradient_checkpointing()
    begun.student.vae.enable_gradient_checkpointing()
    for one, other in zip(without, gradients(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)


@pytest.mark.slow
def test_one_picture_is_learnt(pictures, tmp_path):
    """Weights are random and few are trained, so it is about colours; L2 falls to 0.35 of what it was in 20 steps."""
    (tmp_path / "one").mkdir()
    with Image.open(pictures / "0.png") as picture:
        picture.crop((0, 0, 64, 64)).save(tmp_path / "one" / "a.png")
    made = start(
        tmp_path / "one", tmp_path / "out", optimizer={"lr": 3e-2}, losses={"matching": 0.0},
        data={"stage": "bicubic"}, run={"steps": 20},
    )  # fmt: skip
    first: list[float] = []
    ended = made.run(lambda step, steps, found: first.append(found["l2"]))
    assert ended.steps == 20
    assert np.mean(first[-2:]) < 0.45 * np.mean(first[:2])


class Brightness(Prompter):
    """Says how bright a picture is."""

    name = "brightness"

    def __call__(self, contexts):
        return [f"{context.zoomed.mean():.2f}" for context in contexts]


@pytest.mark.slow
def test_captions_of_crops_are_embedded_as_they_come(pictures, tmp_path, monkeypatch):
    """Each with the very crop, a few at a time; a file of too few says how many it takes."""
    out = tmp_path / "captions.jsonl"
    data = open_training_set(pictures, size=64, stage=None, seed=123)
    caption_crops(data, 5, out, Brightness(), Author(prompter="brightness"))
    tables = {"data": {"captions": str(out)}, "run": {"steps": 3, "sheet": 1}}
    with pytest.raises(BadInputError, match="missing .*: 1, .*--crops 6 --size 64 --seed 123"):
        start(pictures, tmp_path / "run", **tables)
    caption_crops(data, 6, out, Brightness(), Author(prompter="brightness"))
    monkeypatch.setattr(network, "MAX_EMBEDDED", 3)
    trained = start(pictures, tmp_path / "run", **tables)
    asked: list[str] = []
    embed = trained.texts._embed
    monkeypatch.setattr(trained.texts, "_embed", lambda texts: (asked.extend(texts), embed(texts)))
    trained.run()
    crops = [trained.data.example(index, epoch).hr for epoch, index in map(data.find_place, range(6))]
    assert not trained.texts.freed
    assert set(asked) == {f"{crop.mean():.2f}" for crop in crops}


@pytest.mark.slow
def test_what_a_run_leaves(whole):
    names = {path.name for path in whole.folder.iterdir()}
    assert names == {
        "SR_LoRA", "SR_VAE", "checkpoint.safetensors", "losses.csv", "pytorch_lora_weights.safetensors",
        "settings.toml", "sheets", "tensorboard",
    }  # fmt: skip
    assert [line.split(",")[0] for line in losses(whole.folder)] == [str(i) for i in range(1, 9)]
    sheets = sorted(path.name for path in (whole.folder / "sheets").iterdir())
    assert sheets == ["step_000000.png", "step_000004.png", "step_000008.png"]
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    curves = EventAccumulator(str(whole.folder / "tensorboard"))
    curves.Reload()
    written = [float(line.split(",")[4]) for line in losses(whole.folder)]
    assert [event.value for event in curves.Scalars("loss/generator")] == pytest.approx(written)


@pytest.mark.slow
def test_the_backbone_makes_what_the_trainer_made(whole):
    """Merged and unmerged weights round in another order; a grey level where 8 bits are cut."""
    example = whole.sheet_examples[0]
    expected = restore_example(whole.student, whole.texts, example, 0, 0)
    backbone = load_backbone("osediff-sd3", base=TINY, lora=whole.folder, device="cpu")
    backbone.load()
    assert (backbone.shift_in, backbone.t5, backbone.t5_tokens) == (True, True, 16)
    made = np.rint(backbone.model.refine(example.lr[None], [""], [0])[0] * 255)
    assert np.abs(made - expected).max() <= 1
    untrained = load_backbone("osediff-sd3", base=TINY, device="cpu", shift_in=True, t5_tokens=16)
    untrained.load()
    assert np.abs(untrained.model.refine(example.lr[None], [""], [0])[0] * 255 - expected).max() > 5


@pytest.mark.slow
def test_the_published_layout_says_the_same_in_half_precision(whole):
    files = {
        "lora": whole.folder / "SR_LoRA" / "model_8.pkl",
        "vae_encoder": whole.folder / "SR_VAE" / "vae_encoder_8.pt",
    }
    ours, published = read_tensors(files["lora"]), read_tensors(PARITY / "model_tiny.pkl")
    assert [tensor.shape for tensor in ours] == [tensor.shape for tensor in published]
    ours, published = read_tensors(files["vae_encoder"]), read_tensors(PARITY / "vae_encoder_tiny.pt")
    assert [(k, v.shape, v.dtype) for k, v in ours.items()] == [(k, v.shape, v.dtype) for k, v in published.items()]
    window = np.asarray(Image.open(PHOTO).convert("RGB"))[100:116, 200:216]
    one = load_backbone("osediff-sd3", base=TINY, device="cpu", shift_in=True, t5_tokens=16, **files)
    other = load_backbone("osediff-sd3", base=TINY, device="cpu", lora=whole.folder)
    np.testing.assert_allclose(one([window], [""], [0])[0], other([window], [""], [0])[0], atol=0.02)


@pytest.mark.slow
def test_diffusers_reads_the_adapters_of_the_transformer(whole):
    from diffusers import SD3Transformer2DModel

    plain = SD3Transformer2DModel.from_pretrained(TINY / "transformer").eval()
    tensors = read_tensors(whole.folder / "pytorch_lora_weights.safetensors")
    plain.load_lora_adapter({k: v for k, v in tensors.items() if k.startswith("transformer.")})
    batch, student = a_batch(whole), whole.student
    z, time = torch.randn(2, *student.latent_shape(64)), student.step.expand(2)
    with torch.no_grad():
        theirs = plain(z, batch.texts[0], batch.texts[1], time, return_dict=False)[0]
        torch.testing.assert_close(theirs, student.velocity(z, time, batch.texts), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_files_that_do_not_fit_are_refused(whole, tmp_path):
    with pytest.raises(UsageError, match="leave vae_encoder out"):
        load_backbone("osediff-sd3", base=TINY, lora=whole.folder, vae_encoder=PARITY / "vae_encoder_tiny.pt")
    with pytest.raises(MissingError, match="are not there"):
        load_backbone("osediff-sd3", base=TINY, lora=tmp_path)
    from chain_of_zoom.networks.sd.lora import merge_trained

    student = whole.student
    tensors = read_tensors(whole.folder / "pytorch_lora_weights.safetensors")
    from diffusers import AutoencoderKL, SD3Transformer2DModel

    transformer = SD3Transformer2DModel.from_pretrained(TINY / "transformer")
    encoder = AutoencoderKL.from_pretrained(TINY / "vae").encoder
    first = f"transformer.{student.layers[0]}.lora_A.weight"
    for wrong in (
        {k: v for k, v in tensors.items() if k != first},
        {k: v for k, v in tensors.items() if k != "vae.encoder.conv_in.lora_A.weight"},
        tensors | {"more": torch.zeros(1)},
        tensors | {first: torch.zeros(2, 2)},
        list(tensors.values()),
    ):
        with pytest.raises(MissingError):
            merge_trained(transformer, encoder, wrong)
    merge_trained(transformer, encoder, tensors)


@pytest.mark.slow
def test_killed_resumed_divided_and_whole_are_one_run(whole, pictures, tmp_path):
    script = [sys.executable, str(ROOT / "tests" / "distillation" / "runs.py"), str(pictures), str(tmp_path)]
    done = subprocess.run(script, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    killed = tmp_path / "killed"
    assert losses(killed) == losses(whole.folder)[:5]
    resumed = start(pictures, killed)
    assert resumed.step == 3
    resumed.run()
    assert losses(killed) == losses(whole.folder)  # to the last digit
    for name, group in whole.groups.items():
        for parameter, other in zip(group.values(), resumed.groups[name].values(), strict=True):
            assert torch.equal(parameter, other)
    # Two processes average the gradients of one picture each: the same up to the order of sums.
    for one, other in zip(losses(tmp_path / "shared"), losses(whole.folder), strict=False):
        assert np.allclose([float(v) for v in one.split(",")], [float(v) for v in other.split(",")], rtol=1e-4)
    assert len(losses(tmp_path / "shared")) == 3


@pytest.mark.slow
def test_a_finished_run_goes_on_with_more_steps_and_no_other_settings(whole, pictures, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(whole.folder, folder)
    again = start(pictures, folder).run()
    assert (again.steps, dict(again.losses)) == (8, {})
    assert start(pictures, folder, run={"steps": 9}, optimizer={"batch": 1, "accumulate": 2}).run().steps == 9
    with pytest.raises(OccupiedError, match=r"optimizer.lr was 0.001, is 0.1.*--force"):
        start(pictures, folder, optimizer={"lr": 0.1})
    assert start(pictures, folder, force=True, optimizer={"lr": 0.1}).step == 0
    assert not losses(folder)


@pytest.mark.slow
def test_the_second_stage_begins_where_the_first_ended(whole, pictures, tmp_path):
    second = start(pictures, tmp_path / "second", data={"stage": "bicubic"}, run={"init": str(whole.folder)})
    assert second.step == 0
    for name, group in whole.groups.items():
        for parameter, other in zip(group.values(), second.groups[name].values(), strict=True):
            assert torch.equal(parameter, other)
    with pytest.raises(MissingError, match="--init .* has no checkpoint that fits"):
        start(pictures, tmp_path / "third", run={"init": str(pictures)})


@pytest.mark.slow
def test_a_loss_that_is_no_number_stops_and_keeps_the_last_whole_step(pictures, tmp_path, monkeypatch):
    made = start(pictures, tmp_path / "run", losses={"network": "none"})
    real = trainer.compute_generator_loss

    def bad(student, batch, weights, perceptual):
        z, total, parts = real(student, batch, weights, perceptual)
        return (z, total * float("nan"), parts) if made.step == 2 else (z, total, parts)

    monkeypatch.setattr(trainer, "compute_generator_loss", bad)
    with pytest.raises(BackboneError, match="generator became no number in step 3; what step 2 left is kept"):
        made.run()
    monkeypatch.undo()
    resumed = start(pictures, tmp_path / "run")
    assert resumed.step == 2
    assert all(torch.isfinite(p).all() for group in resumed.groups.values() for p in group.values())


@pytest.mark.slow
def test_ctrl_c_ends_after_the_step_and_keeps_it(whole, pictures, tmp_path):
    made = start(pictures, tmp_path / "run")

    def interrupt(step: int, steps: int, found: object) -> None:
        if step == 2:
            os.kill(os.getpid(), 2)

    with pytest.raises(KeyboardInterrupt):
        made.run(interrupt)
    resumed = start(pictures, tmp_path / "run")
    assert resumed.step == 2
    resumed.run()
    assert losses(tmp_path / "run") == losses(whole.folder)


@pytest.mark.slow
def test_a_full_disk_is_said_and_the_checkpoint_before_stays(pictures, tmp_path, monkeypatch):
    made = start(pictures, tmp_path / "run", run={"steps": 7})
    real = os.fsync

    def full(handle: int) -> None:
        if made.step >= 6:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left on device"):
        made.run()
    monkeypatch.undo()
    assert not list((tmp_path / "run").glob(".*.tmp"))
    assert start(pictures, tmp_path / "run").step == 3


@pytest.mark.slow
def test_pictures_that_do_not_serve_are_named(pictures, tmp_path):
    shutil.copytree(pictures, tmp_path / "set")
    (tmp_path / "set" / "broken.png").write_bytes(b"no picture")
    Image.new("RGB", (40, 200)).save(tmp_path / "set" / "small.png")
    whole_file = (pictures / "0.png").read_bytes()
    (tmp_path / "set" / "torn.png").write_bytes(whole_file[: len(whole_file) // 2])  # only decoding shows it
    ended = start(tmp_path / "set", tmp_path / "run", run={"steps": 3}).run()
    assert sorted(name for name, _ in ended.skipped) == ["broken.png", "small.png", "torn.png"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInputError, match="no picture to train on"):
        start(tmp_path / "empty", tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.slow
def test_captions_are_embedded_once_and_reach_the_network(pictures, tmp_path, monkeypatch):
    from chain_of_zoom.distillation.captions import Author, Caption, write_captions
    from chain_of_zoom.weights.files import file_sha256

    lines = [
        Caption(name=path.name, sha256=file_sha256(path), text=f"picture {path.stem}")
        for path in sorted(pictures.iterdir())
    ]
    write_captions(tmp_path / "captions.jsonl", Author(prompter="vlm"), lines)
    data = {"captions": str(tmp_path / "captions.jsonl")}
    made = start(pictures, tmp_path / "run", data=data, run={"steps": 1})
    assert made.texts.freed
    assert made.texts.pipeline.text_encoder is None
    assert {"picture 0", "picture 1", "picture 2"} <= set(made.texts.embeddings)
    freed = made.run().losses
    assert freed != start(pictures, tmp_path / "without", run={"steps": 1}).run().losses
    monkeypatch.setattr(network, "MAX_EMBEDDED", 1)  # more captions than are kept: the encoders stay, the losses, too
    made = start(pictures, tmp_path / "stay", data=data, run={"steps": 1})
    assert not made.texts.freed
    assert made.run().losses == freed
    assert len(made.texts.embeddings) == 1
