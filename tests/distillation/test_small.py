"""The small network: chains as in a zoom, a run that a kill does not change, and files that zoom without torch."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import PHOTO, ROOT, invoke
from PIL import Image

torch = pytest.importorskip("torch", reason="needs the extra [train]")
pytest.importorskip("tensorboard", reason="needs the extra [train]")

from chain_of_zoom import BadInputError, MissingError, UsageError, load_backbone  # noqa: E402
from chain_of_zoom.distillation.networks import make_trainer, read_training  # noqa: E402
from chain_of_zoom.distillation.small.chains import draw_chain  # noqa: E402
from chain_of_zoom.distillation.small.losses import charbonnier, compute_chain_loss, make_chain_batch  # noqa: E402
from chain_of_zoom.distillation.small.settings import SmallLossSettings  # noqa: E402
from chain_of_zoom.errors import OccupiedError, OutputError  # noqa: E402
from chain_of_zoom.networks.rrdb.ncnn_weights import read_network  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.slow]

TINY = [
    "--network", "small", "--size", 64, "--batch", 2, "--steps", 8, "--save", 3, "--workers", 0, "--device", "cpu",
    "--set", "model.width=4", "--set", "data.chain=[1, 2]", "--set", "data.window=8", "--lr", 0.003,
]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """As in the process that is killed: sums in another order differ in their last digits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    with Image.open(PHOTO) as photo:
        for i in range(3):
            photo.crop((150 * i, 100, 150 * i + 80, 180)).save(folder / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def whole(pictures, tmp_path_factory) -> Path:
    """The folder of eight steps, in one go."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    said = invoke("train", "--data", pictures, *TINY, "-o", folder, "--validation", pictures)
    assert "3 pictures, 2 a step, 8 steps" in said
    assert "no captions" not in said
    assert f"steps 1 to 8; use it: coz zoom PHOTO --backbone {folder / 'small.param'}" in said
    return folder


def read_losses(folder: Path) -> list[str]:
    path = folder / "losses.csv"
    return path.read_text().splitlines()[1:] if path.exists() else []


def list_weights(param: Path, weights: Path) -> list[np.ndarray]:
    return [value for layer in read_network(param, weights) for value in layer.weights]


def test_what_a_run_leaves(whole):
    assert {path.name for path in whole.iterdir()} == {
        "checkpoint.safetensors", "losses.csv", "settings.toml", "sheets", "small.bin", "small.param", "tensorboard",
        "validation.csv",
    }  # fmt: skip
    assert [line.split(",")[0] for line in read_losses(whole)] == [str(step) for step in range(1, 9)]
    header, *lines = (whole / "validation.csv").read_text().splitlines()
    assert header == "step,bicubic 4x,bicubic 16x,area 4x,area 16x"
    assert [line.split(",")[0] for line in lines] == ["0", "8"]
    assert read_training({"model": {"network": "small"}}, {"data": {"source": "x"}}).steps == 2000


def test_a_killed_run_goes_on_as_if_it_had_not_been(whole, pictures, tmp_path):
    folder = tmp_path / "killed"
    args = [str(arg) for arg in ("train", "--data", pictures, *TINY, "-o", folder, "--validation", pictures)]
    slow = "import time, chain_of_zoom.distillation.small.trainer as t; f = t.compute_chain_loss; "
    slow += "t.compute_chain_loss = lambda *a: (time.sleep(0.3), f(*a))[1]; import sys; sys.argv = sys.argv[:1] + "
    code = f"import torch; torch.set_num_threads(1); {slow}{args!r}; from chain_of_zoom.cli.app import main; main()"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL)
    while len(read_losses(folder)) < 5:
        assert process.poll() is None, "it ended by itself"
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert read_losses(folder)[:5] == read_losses(whole)[:5]
    said = invoke(*args)
    assert "going on after step 3" in said
    assert read_losses(folder) == read_losses(whole)  # to the last digit
    for name in ("small.param", "small.bin", "validation.csv"):
        assert (folder / name).read_bytes() == (whole / name).read_bytes(), name


def test_what_was_trained_zooms_without_torch(whole, tmp_path, coz, monkeypatch):
    import safetensors.torch

    from chain_of_zoom.networks.rrdb.span import SpanNet

    window = np.asarray(Image.open(PHOTO).convert("RGB"))[80:112, 200:232]
    average = SpanNet(4)
    tensors = safetensors.torch.load_file(whole / "checkpoint.safetensors")
    state = {name.removeprefix("average/"): value for name, value in tensors.items() if name.startswith("average/")}
    average.load_state_dict(state, strict=False)
    planes = torch.tensor(window).permute(2, 0, 1)[None].float() / 255
    expected = average(planes)[0].permute(1, 2, 0).detach().numpy()
    monkeypatch.setitem(sys.modules, "torch", None)
    for name in ("small.param", "small.bin"):
        backbone = load_backbone(str(whole / name), device="cpu")
        backbone.load()
        made = backbone._compute(window)
        assert np.abs(made - expected).max() < 0.01 * np.abs(expected).max()  # the files hold fp16
    done = coz("zoom", PHOTO, "--zoom", 16, "--size", "64x64", "--backbone", whole / "small.param", "-o", "z")
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "z" / "record.json").read_bytes())
    assert record["backbone"]["name"] == "small"
    assert all(state["beyond_evidence"] for state in record["states"] if state["origin"] == "generated")


def test_from_nothing_it_learns(pictures, tmp_path):
    """From random weights the loss falls to less than half in 30 steps of a tiny network, in its average, too."""
    invoke(
        "train", "--data", pictures, *TINY, "--steps", 30, "--lr", 0.01, "--set", "data.chain=[1]",
        "--set", "optimizer.warmup=1", "--validation", pictures, "-o", tmp_path / "run", "-q",
    )  # fmt: skip
    losses = [float(line.split(",")[1]) for line in read_losses(tmp_path / "run")]
    assert np.mean(losses[-3:]) < 0.5 * losses[0]
    first, last = ((tmp_path / "run" / "validation.csv").read_text().splitlines()[row].split(",")[1] for row in (1, 2))
    assert float(last) > float(first) + 3  # dB


def test_it_begins_with_the_shipped_weights_and_stays_there(pictures, tmp_path):
    """At a learning rate of next to nothing what comes out is what went in, to the digits of fp16."""
    invoke(
        "train", "--data", pictures, *TINY, "--init", "span", "--lr", 1e-12, "--steps", 1, "-o", tmp_path / "a", "-q"
    )
    span = list_weights(*load_backbone("span").find_files())
    assert all(map(np.array_equal, list_weights(tmp_path / "a" / "small.param", tmp_path / "a" / "small.bin"), span))
    # The folder of a run is as good a start.
    invoke("train", "--data", pictures, *TINY, "--init", tmp_path / "a", "--lr", 1e-12, "--steps", 1,
           "-o", tmp_path / "b", "-q", "--set", "model.teacher=span")  # fmt: skip
    assert all(map(np.array_equal, list_weights(tmp_path / "b" / "small.param", tmp_path / "b" / "small.bin"), span))


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_a_chain_is_a_zoom_into_the_crop(astronaut, steps):
    """Every window, reduced by area, is a part of the truth of the step before, to a rounding."""
    crop = astronaut[:256, 100:356]
    seen = set()
    for seed in range(40):
        chain = draw_chain(crop, steps, 12, np.random.default_rng(seed))
        seen.add(chain.reduction)
        assert len(chain.truths) == steps
        assert len(chain.corners) == steps - 1
        side = min(12, 256 // 4**steps)
        assert chain.start.shape == (side, side, 3)
        if chain.reduction != "area" or steps == 1:
            continue
        window = chain.start
        for step, truth in enumerate(chain.truths):
            pooled = truth.reshape(len(window), 4, len(window), 4, 3).mean((1, 3))
            assert np.abs(pooled - window).max() <= 1
            if step < steps - 1:
                (row, column), side = chain.corners[step], min(12, len(truth))
                window = truth[row : row + side, column : column + side]
    assert seen == {"bicubic", "area", "lanczos", "camera"}


def test_the_loss_walks_the_chain(astronaut):
    """A network that repeats pixels: no loss on one colour, and a gradient from the last step back to the first."""
    flat = np.full((64, 64, 3), 99, np.uint8)
    chains = [draw_chain(flat, 2, 8, np.random.default_rng(seed)) for seed in range(4)]
    batch = make_chain_batch(chains, torch.device("cpu"))
    gain = torch.ones((), requires_grad=True)

    def repeat(planes: torch.Tensor) -> torch.Tensor:
        return gain * planes.repeat_interleave(4, 2).repeat_interleave(4, 3)

    losses = compute_chain_loss(
        repeat, batch, SmallLossSettings(parent=0.5, teacher=2), lambda planes: repeat(planes) + 0.25
    )
    losses = {name: value.detach() for name, value in losses.items()}
    nothing = float(charbonnier(torch.zeros(1), torch.zeros(1)))
    assert float(losses["pixel"]) == pytest.approx(nothing)
    assert float(losses["parent"]) == pytest.approx(nothing)
    share = len(batch.by_bicubic) / 4
    assert 0 < share < 1
    assert float(losses["teacher"]) == pytest.approx(share * 0.25, rel=1e-3)
    parts = float(losses["pixel"] + 0.5 * losses["parent"] + 2 * losses["teacher"])
    assert float(losses["total"]) == pytest.approx(parts)
    chains = [draw_chain(astronaut[:64, :64], 2, 8, np.random.default_rng(seed)) for seed in range(4)]
    batch = make_chain_batch(chains, torch.device("cpu"))
    compute_chain_loss(repeat, batch, SmallLossSettings(), None)["total"].backward()
    assert gain.grad is not None
    assert float(gain.grad.abs()) > 0


@pytest.mark.parametrize(
    ("args", "error", "told"),
    [
        (["--network", "big"], UsageError, "network 'big'; accepted: sd3, small"),
        (["--network", "small", "--size", 96], UsageError, "multiples of 64 from 128, for chains of 3 steps"),
        (["--network", "small", "--stage", "bicubic"], UsageError, "stage"),
        (["--network", "small", "--base", "x"], UsageError, "base"),
        (["--network", "small", "--estimate"], UsageError, "leave it out"),
        (["--network", "small", "--size", 128, "--init", "realsr"], UsageError, "--init 'realsr'; accepted: span"),
        (["--network", "small", "--size", 128, "--init", "no.param"], MissingError, "no.param is not there"),
        (["--network", "small"], BadInputError, "at least 512x512"),
    ],
)
def test_mistakes_are_one_typed_error(args, error, told, pictures, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    large = tmp_path / "pictures"
    large.mkdir()
    Image.open(PHOTO).crop((0, 0, 200, 200)).save(large / "a.png")
    with pytest.raises(error, match=told):
        invoke("train", "--data", large, "-o", "out", *args)
    assert not (tmp_path / "out").exists()


def test_a_name_is_the_shipped_network_wherever_one_is(pictures, tmp_path, monkeypatch):
    """A folder called span is no start, and the run goes on from another place."""
    data = {"source": str(pictures), "size": 64, "workers": 0, "chain": [1], "window": 8}
    run = {"steps": 1, "init": "span", "device": "cpu"}
    settings = read_training({"data": data}, {"model": {"network": "small"}, "run": run})
    for place in ("a", "b"):
        (tmp_path / place / "span").mkdir(parents=True)
        monkeypatch.chdir(tmp_path / place)
        trainer = make_trainer(settings, tmp_path / "run", force=False, say=lambda line: None)
        trainer.run()
    assert trainer.step == 1


def test_another_run_is_not_overwritten(whole, pictures, tmp_path):
    shutil.copytree(whole, tmp_path / "run")
    with pytest.raises(OccupiedError, match=r"optimizer.lr was 0.003, is 0.1.*--force"):
        invoke("train", "--data", pictures, *TINY, "--lr", 0.1, "-o", tmp_path / "run")


def test_a_full_disk_is_said_and_the_files_before_stay(pictures, tmp_path, monkeypatch):
    settings = read_training(
        {"data": {"source": str(pictures), "size": 64, "workers": 0, "chain": [1], "window": 8}},
        {"model": {"network": "small", "width": 4}, "run": {"steps": 7, "save": 3, "device": "cpu"}},
    )
    trainer = make_trainer(settings, tmp_path / "run", force=False, say=lambda line: None)
    real = os.fsync

    def full(handle: int) -> None:
        if trainer.step >= 6:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left on device"):
        trainer.run()
    monkeypatch.undo()
    assert not list((tmp_path / "run").glob(".*.tmp"))
    assert load_backbone(str(tmp_path / "run" / "small.param"), device="cpu").info.name == "small"
    assert make_trainer(settings, tmp_path / "run", force=False, say=lambda line: None).step == 3


def test_without_the_extra_it_says_what_to_type(pictures, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "chain_of_zoom.distillation.small.trainer", None)
    with pytest.raises(MissingError, match=r"pip install 'chain-of-zoom\[train\]'"):
        invoke("train", "--data", pictures, *TINY, "-o", tmp_path / "y")


def test_the_example_of_the_page_trains_exports_and_zooms(tmp_path, monkeypatch):
    page = (ROOT / "docs" / "training.md").read_text()
    block = page.partition("## A small network")[2].partition("```sh\n")[2].partition("```")[0]
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    lines = [line.partition("#")[0].split() for line in block.splitlines()]
    assert [words[:2] for words in lines] == [["coz", "train"], ["coz", "zoom"]]
    for words in lines:
        invoke(*words[1:], "-q")
    assert (tmp_path / "small" / "small.bin").stat().st_size > 800_000
    assert (tmp_path / "small-zoom" / "sheet.png").is_file()
