"""Photos that advance together: the same files as alone, whatever goes wrong with one of them or with the disk."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from batch_files import contents, save
from conftest import PARITY, ROOT, noise

from chain_of_zoom import (
    BackboneError,
    ChainOfZoom,
    OutputError,
    UsageError,
    load_backbone,
    load_prompter,
    zoom_many,
)
from chain_of_zoom.backbones.fake import Fake
from chain_of_zoom.batch import executors as running
from chain_of_zoom.batch.here import ZoomLoop
from chain_of_zoom.batch.many import plan_batch
from chain_of_zoom.batch.run import Batch
from chain_of_zoom.batch.writer import Writer
from chain_of_zoom.chain import run as chain_run
from chain_of_zoom.chain.folder import RunFolder
from chain_of_zoom.chain.request import make_request
from chain_of_zoom.imaging import sheet
from chain_of_zoom.imaging.images import load

FAST = {"backbone": "fake", "size": (24, 16), "magnification": 24}


@pytest.fixture(autouse=True)
def small_sheets(monkeypatch):
    monkeypatch.setattr(sheet, "CELL", 96)


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    """Five of several sizes, so that chains differ in length, and a broken one between."""
    sizes = {"a": (32, 48), "b": (32, 48), "c": (64, 96), "d": (16, 24), "e": (200, 300)}
    made = [save(noise(*size, i), tmp_path / "photos" / f"{name}.png") for i, (name, size) in enumerate(sizes.items())]
    made[1].write_bytes(made[1].read_bytes()[:2000])
    return made


class Counting(Fake):
    """Notes how many windows it is given at a time, and fails for seeds from one on."""

    def __init__(self, bad_seed: int = 10**9) -> None:
        super().__init__()
        self.bad_seed, self.sizes = bad_seed, []

    def _enlarge(self, windows, prompts, seeds):
        self.sizes.append(len(windows))
        if max(seeds) >= self.bad_seed:
            raise RuntimeError("out of nerves")
        return super()._enlarge(windows, prompts, seeds)


@pytest.mark.slow
@pytest.mark.parametrize("together", [2, 16])
def test_the_files_are_those_of_one_after_the_other(tmp_path, photos, together):
    alone = list(zoom_many(photos, out=tmp_path / "alone" / "out", **FAST))
    backbone = Counting()
    outcomes = list(
        zoom_many(photos, out=tmp_path / "many" / "out", together=together, **{**FAST, "backbone": backbone})
    )
    assert [outcome.status for outcome in outcomes] == [outcome.status for outcome in alone]
    assert [outcome.task.name for outcome in outcomes] == list("abcde")
    assert contents(tmp_path / "many" / "out") == contents(tmp_path / "alone" / "out")
    assert max(backbone.sizes) == min(together, 4)
    again = list(zoom_many(photos, out=tmp_path / "many" / "out", together=together, **FAST))
    assert [outcome.status for outcome in again] == ["kept", "failed", "kept", "kept", "kept"]


@pytest.mark.slow
def test_one_failing_pass_is_not_everybodys(tmp_path, photos, monkeypatch):
    lines = [f"{photo},{70 if photo.stem == 'c' else 0}" for photo in photos]
    (tmp_path / "list.csv").write_text("\n".join(["photo,seed", *lines]))
    parted: list[Exception] = []
    monkeypatch.setattr(running.Watcher, "on_group_failed", lambda self, error: parted.append(error))
    backbone = Counting(bad_seed=70)
    settings = {**FAST, "backbone": backbone, "listed": tmp_path / "list.csv", "together": 16}
    outcomes = list(zoom_many(out=tmp_path / "out", **settings))
    assert [outcome.status for outcome in outcomes] == ["done", "failed", "failed", "done", "done"]
    assert isinstance(outcomes[2].error, BackboneError)
    assert len(parted) == 1
    assert "out of nerves" in str(parted[0])
    settings["backbone"] = Counting()
    assert [o.status for o in zoom_many(out=tmp_path / "out", **settings)] == ["kept", "failed", "done", "kept", "kept"]
    list(zoom_many(out=tmp_path / "whole" / "out", **{**settings, "together": 1}))
    assert {k: v for k, v in contents(tmp_path / "out").items() if k.endswith(".png")} == {
        k: v for k, v in contents(tmp_path / "whole" / "out").items() if k.endswith(".png")
    }


@pytest.mark.slow
def test_runs_at_different_steps_go_on_together(tmp_path, photos, monkeypatch):
    list(zoom_many(photos, out=tmp_path / "whole", **FAST))
    real = RunFolder.add
    with monkeypatch.context() as patch:

        def add(self, state):
            if self.path.name == "d" and len(self.record.states) == 2:
                raise KeyboardInterrupt
            return real(self, state)

        patch.setattr(RunFolder, "add", add)
        with pytest.raises(KeyboardInterrupt):
            list(zoom_many(photos, out=tmp_path / "out", together=4, **FAST))
    states = {
        folder.name: len(list(folder.glob("0*.png"))) for folder in (tmp_path / "out").iterdir() if folder.is_dir()
    }
    assert states["d"] == 2
    list(zoom_many(photos, out=tmp_path / "out", together=4, **FAST))
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


@pytest.mark.slow
def test_a_disk_that_cannot_be_written_stops_everything(tmp_path, photos, monkeypatch):
    real = RunFolder._write_state

    def full(self, name, state, data):
        if self.path.name == "c":
            raise OutputError("no space left")
        real(self, name, state, data)

    monkeypatch.setattr(RunFolder, "_write_state", full)
    with pytest.raises(OutputError, match="no space left"):
        list(zoom_many(photos, out=tmp_path / "out", together=4, **FAST))


@pytest.mark.slow
def test_spots_of_one_photo_share_its_pixels(tmp_path, photos, monkeypatch):
    reads = []
    real = ZoomLoop._look
    monkeypatch.setattr(ZoomLoop, "_look", lambda self, task: reads.append(id(found := real(self, task))) or found)
    at = [(0.5, 0.5), (0.1, 0.1), (0.9, 0.9), (0.2, 0.8)]
    outcomes = list(zoom_many(photos[:1], at=at, out=tmp_path / "out", together=4, **FAST))
    assert [outcome.status for outcome in outcomes] == ["done"] * 4
    assert len(set(reads)) == 1


@pytest.mark.slow
def test_with_a_gpu_for_prompts_and_one_for_pixels_they_go_in_two_lanes(tmp_path, photos, monkeypatch):
    chain = ChainOfZoom("fake")
    chain.place()
    chain.residence = SimpleNamespace(placement=SimpleNamespace(is_pipelined=True), as_record=dict)
    lanes: list[int] = []
    monkeypatch.setattr(chain_run, "run_in_lanes", lambda engine, jobs, count: lanes.append(count) or engine.run(jobs))
    tasks = plan_batch(photos, None, [], make_request(size=(24, 16), magnification=20), tmp_path, recursive=False)
    outcomes = list(Batch(chain, tasks, tmp_path / "out", together=4).run())
    assert [outcome.status for outcome in outcomes] == ["done", "failed", "done", "done", "done"]
    assert lanes == [2], "four that were read are two lanes; the last is alone"


def test_how_many_is_a_number_from_one_on(tmp_path, photos):
    with pytest.raises(UsageError, match="together 0; accepted: 1 or more"):
        zoom_many(photos, out=tmp_path / "out", together=0, **FAST)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.parametrize(
    "args", [["random", "12", "7", "3"], ["every", "default", "3"]], ids=["at random", "at every step"]
)
def test_kills(args: list[str]) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("COVERAGE")}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, ROOT / "tests" / "kills.py", *args],
        env=environment, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def write(limit: int, *works, end=lambda: None) -> None:
    with Writer(limit) as writer:
        for work in works:
            writer.put(work)
        end()


def test_a_writer_keeps_the_order_and_stops_at_the_first_error():
    done: list[int] = []
    gate = threading.Event()
    first, second, third = (partial(done.append, number) for number in (1, 2, 3))

    def opened() -> None:
        assert done == [], "put does not wait"
        gate.set()

    with pytest.raises(ZeroDivisionError):
        write(8, lambda: gate.wait(10), first, lambda: 1 // 0, second, end=opened)
    assert done == [1]
    with pytest.raises(ZeroDivisionError):
        write(1, lambda: 1 // 0, second, third, end=lambda: pytest.fail("the second waits for the first, and tells"))
    assert done == [1]
    with pytest.raises(KeyError):
        write(8, second, end=lambda: {}["an error elsewhere"])
    assert done == [1, 2], "what was on its way is let through"


@pytest.mark.slow
def test_the_papers_stack_gives_the_same_prompts_and_states_alone_and_together(tmp_path, monkeypatch):
    pytest.importorskip("diffusers", reason="needs the extra [diffusion]")
    from chain_of_zoom.runtime import placement

    photos = [save(noise(128, 128, seed), tmp_path / f"{seed}.png") for seed in range(3)]

    def run(name: str):
        backbone = load_backbone(
            "osediff-sd3",
            base=PARITY / "tiny_sd3",
            lora=PARITY / "model_tiny.pkl",
            vae_encoder=PARITY / "vae_encoder_tiny.pt",
            t5_tokens=16,
        )
        prompter = load_prompter("vlm", model=PARITY / "tiny_qwen", max_new_tokens=6)
        sizes: list[tuple[int, int]] = []
        refine, ask = type(backbone)._refine, type(prompter)._ask
        monkeypatch.setattr(type(backbone), "_refine", lambda *args: sizes.append((0, len(args[1]))) or refine(*args))
        monkeypatch.setattr(type(prompter), "_ask", lambda *args: sizes.append((1, len(args[1]))) or ask(*args))
        settings = {"size": (64, 64), "magnification": 32, "seed": 3}
        outcomes = list(zoom_many(photos, out=tmp_path / name, backbone=backbone, prompter=prompter, **settings))
        monkeypatch.setattr(type(backbone), "_refine", refine)
        monkeypatch.setattr(type(prompter), "_ask", ask)
        return [outcome.record for outcome in outcomes], sizes, backbone

    alone, sizes, _ = run("alone")
    assert set(sizes) == {(0, 1), (1, 1)}
    monkeypatch.setattr(placement, "measure_free_memory", lambda: {"cpu": 80 * 10**9})
    together, sizes, backbone = run("together")
    assert set(sizes) == {(0, 3), (1, 3)}
    assert backbone._batch == 16
    for one, many in zip(alone, together, strict=True):
        assert [state.prompt for state in one.states] == [state.prompt for state in many.states]
        assert one.states[-1].prompt
        assert many.placement == {
            "memory": "resident",
            "vlm": "cpu float32",
            "clip": "cpu float32",
            "t5": "cpu float32",
            "transformer": "cpu float32",
            "vae": "cpu float32",
        }
        for state in one.states:
            name = Path(one.input.path).stem
            images = [load(tmp_path / which / name / state.file).pixels for which in ("alone", "together")]
            # Float sums in another order, rounded to 8 bits and enlarged again twice.
            assert np.abs(images[0].astype(int) - images[1]).max() <= 2
