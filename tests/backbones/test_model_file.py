"""Networks in files of the user's own, by a stand-in for spandrel that repeats pixels."""

from __future__ import annotations

import importlib.util
import json
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import PHOTO, noise

torch = pytest.importorskip("torch", reason="needs the extra [diffusion]")

from safetensors.torch import save_file  # noqa: E402

from chain_of_zoom import load_backbone, upscale, zoom  # noqa: E402
from chain_of_zoom.errors import MissingError, UsageError  # noqa: E402
from chain_of_zoom.weights.files import file_sha256  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.slow]


@pytest.fixture(autouse=True)
def spandrel(monkeypatch):
    from backbones import spandrel_double

    find = importlib.util.find_spec
    monkeypatch.setitem(sys.modules, "spandrel", spandrel_double)
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: find("backbones.spandrel_double" if name == "spandrel" else name)
    )


def state(scale: int, channels: int = 3, **facts: int) -> dict[str, torch.Tensor]:
    """Weights that repeat every pixel scale x scale times."""
    weight = torch.eye(channels).repeat_interleave(scale**2, 0)[:, :, None, None].contiguous()
    return {"up.weight": weight, **{key: torch.tensor(float(value)) for key, value in facts.items()}}


def written(path: Path, tensors: object) -> str:
    if path.suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch.save(tensors, path)
    return str(path)


def repeated(window: np.ndarray, scale: int) -> np.ndarray:
    return window.repeat(scale, 0).repeat(scale, 1).astype(np.float32) / np.float32(255)


@pytest.mark.parametrize(("scale", "suffix"), [(2, ".safetensors"), (3, ".pth"), (8, ".PTH"), (4, ".safetensors")])
def test_a_file_enlarges_by_its_own_factor(tmp_path, scale, suffix):
    tensors = state(scale) if suffix == ".safetensors" else {"params": state(scale)}
    name = written(tmp_path / f"my net{suffix}", tensors)
    backbone = load_backbone(name, device="cpu")
    assert (backbone.info.name, backbone.info.factor, backbone.info.text_aware) == ("my net", scale, False)
    assert backbone.info.licence == "as the file's author says"
    assert backbone.weights_sha256() == file_sha256(name)
    window = noise(20, 33)
    np.testing.assert_array_equal(backbone([window])[0], repeated(window, scale))
    assert backbone.runs_on() == "cpu"


def test_windows_are_tiled_and_padded_as_the_network_needs(tmp_path):
    name = written(tmp_path / "net.safetensors", state(2, multiple=8, minimum=32))
    told = []
    window = noise(150, 131)
    backbone = load_backbone(name, device="cpu", tile=100)
    (result,) = backbone([window], on_fallback=lambda index, what: told.append(what))
    np.testing.assert_array_equal(result, repeated(window, 2))
    assert len(told) == 1
    assert "tiles" in told[0]
    whole = load_backbone(written(tmp_path / "whole.safetensors", state(2, tiling=3)), device="cpu", tile=100)
    np.testing.assert_array_equal(whole([window], on_fallback=lambda *_: pytest.fail("tiled"))[0], result)
    with pytest.raises(UsageError, match="tile 90; accepted: from 96"):
        load_backbone(name, tile=90)


@pytest.mark.parametrize("scale", [2, 3, 8])
def test_chains_follow_the_factor(tmp_path, astronaut, scale):
    name = written(tmp_path / "net.safetensors", state(scale))
    result = zoom(astronaut, magnification=40, size=(64, 64), backbone=name, backbone_options={"device": "cpu"})
    made = [s.magnification for s in result.states if s.origin == "generated"]
    ratios = [b / a for a, b in zip([8.0, *made], made, strict=False)]
    assert max(ratios) <= scale
    assert made[-1] == 40
    assert all(s.image.shape == (64, 64, 3) for s in result.states)
    assert all(s.beyond_evidence for s in result.states if s.origin == "generated")


def test_zoom_upscale_and_the_list(tmp_path, coz):
    name = written(tmp_path / "x2.safetensors", state(2))
    done = coz("zoom", PHOTO, "--backbone", name, "--size", "64x64", "--device", "cpu", "-o", "out")
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "out" / "record.json").read_bytes())
    assert record["backbone"]["name"] == "x2"
    assert record["backbone"]["factor"] == 2
    assert record["backbone"]["weights_sha256"] == file_sha256(name)
    picture = noise(70, 90)
    np.testing.assert_array_equal(upscale(picture, 2, backbone=name).image, picture.repeat(2, 0).repeat(2, 1))
    assert "a file ending in .safetensors or .pth" in coz("backbones").stdout
    assert (
        "takes no option steps; accepted: tile, device, dtype"
        in coz("zoom", PHOTO, "--backbone", name, "--set", "backbone.steps=3").stderr
    )
    assert (
        "a file ending in .safetensors, .pth, .param, .bin; did you mean"
        in coz("zoom", PHOTO, "--backbone", "realsrr").stderr
    )


def test_half_precision_is_for_gpus_and_what_overflows_there_is_made_again(tmp_path):
    plain = load_backbone(written(tmp_path / "a.safetensors", state(2)), device="cpu")
    half = load_backbone(written(tmp_path / "b.safetensors", state(2, half=1)), device="cpu")
    gpu, cpu = torch.device("cuda"), torch.device("cpu")
    assert [half._choose_precision(gpu), half._choose_precision(cpu)] == [torch.float16, torch.float32]
    assert plain._choose_precision(gpu) == torch.float32
    half.dtype = "bfloat16"
    with pytest.raises(UsageError, match="dtype bfloat16 overflows in Repeat; accepted: float32"):
        half._choose_precision(gpu)
    with pytest.raises(UsageError, match="on a CPU"):
        load_backbone(str(tmp_path / "b.safetensors"), device="cpu", dtype="float16").load()

    weak = load_backbone(written(tmp_path / "c.safetensors", state(2, half=1, overflows=1)), device="cpu")
    weak.load()
    weak.network.to(torch.float16)  # as on a GPU
    told = []
    (result,) = weak([noise(20, 20)], on_fallback=lambda *note: told.append(note))
    np.testing.assert_array_equal(result, repeated(noise(20, 20), 2))
    assert told == [(0, "made in float32: float16 overflowed")]
    assert weak.network.dtype == torch.float16


class Harmful:
    def __reduce__(self):
        return (open, ("harm.txt", "w"))


def test_nothing_in_a_pth_is_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in (tmp_path / "zipped.pth", tmp_path / "old.pth"):
        if path.stem == "zipped":
            torch.save({"up.weight": Harmful()}, path)
        else:
            path.write_bytes(pickle.dumps(Harmful()))
        with pytest.raises(MissingError, match="nothing in it was run"):
            load_backbone(str(path))
    assert not (tmp_path / "harm.txt").exists()


@pytest.mark.parametrize(
    ("content", "error", "says"),
    [
        (None, MissingError, "model file .* is not there"),
        (b"nonsense", MissingError, "damaged"),
        ({"other": torch.zeros(2)}, UsageError, "of no architecture that spandrel knows"),
        (state(1), UsageError, "does not enlarge pictures"),
        (state(2, channels=1), UsageError, "takes 1 channels and makes 1; accepted: 3 and 3"),
        ([torch.zeros(2)], UsageError, "holds no state dict"),
        ({"up.weight": torch.zeros(13, 3, 2, 2)}, MissingError, "is damaged"),
    ],
)
def test_a_file_that_will_not_do_is_one_typed_error(tmp_path, content, error, says):
    path = tmp_path / "net.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        written(path, content)
    with pytest.raises(error, match=says):
        load_backbone(str(path))


def test_without_spandrel_the_command_that_brings_it_is_named(tmp_path, coz, monkeypatch):
    name = written(tmp_path / "net.safetensors", state(2))
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda n: None if n == "spandrel" else find(n))
    done = coz("zoom", PHOTO, "--backbone", name)
    assert done.returncode == 5
    assert (
        "needs spandrel, torch and a torchvision that fits that torch; type: pip install 'chain-of-zoom[models]'"
        in (done.stderr)
    )
    assert not (tmp_path / "astronaut_16x").exists()


def test_a_spandrel_that_does_not_import_is_named(tmp_path, monkeypatch):
    name = written(tmp_path / "net.safetensors", state(2))
    monkeypatch.setitem(sys.modules, "spandrel", None)
    with pytest.raises(MissingError, match="spandrel cannot be imported .*pip install"):
        load_backbone(name)


def test_coz_eval_measures_files_beside_the_built_in_ones(coz, tmp_path):
    path = written(tmp_path / "net.safetensors", state(4))
    methods = f"mine={path},mine-direct={path}:direct,nearest"
    done = coz("eval", "--data", PHOTO, "--scales", "4,16", "--metrics", "psnr", "--methods", methods, "-o", "out")
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "out" / "results.json").read_bytes())
    assert [method["name"] for method in found["methods"]] == ["mine", "mine-direct", "nearest"]
    assert not found["failures"]
