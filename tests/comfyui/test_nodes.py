"""The nodes of ComfyUI, run by a stand-in of it: the workflow that is shipped, and each node alone."""

from __future__ import annotations

import importlib.util
import json
import sys
import tomllib

import numpy as np
import pytest
import torch
from conftest import ROOT, noise
from PIL import Image
from stand_in import InterruptProcessingException, install, load_nodes, run_workflow

from chain_of_zoom import upscale, zoom

pytestmark = [pytest.mark.torch, pytest.mark.slow]

FOLDER = ROOT / "comfyui"
SPOT = {"x": 0.4, "y": 0.6, "width": 24, "height": 16, "find": "", "prompt": "", "seed": 3}


@pytest.fixture
def comfy(monkeypatch):
    return install(monkeypatch)


@pytest.fixture
def nodes(comfy, monkeypatch):
    spec = importlib.util.spec_from_file_location(
        "coz_nodes", FOLDER / "__init__.py", submodule_search_locations=[str(FOLDER)]
    )
    package = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "coz_nodes", package)
    spec.loader.exec_module(package)
    yield load_nodes(package)
    sys.modules.pop("coz_nodes.nodes", None)


def image(*pictures):
    return torch.from_numpy(np.stack(pictures).astype(np.float32) / np.float32(255))


def test_the_workflow_that_is_shipped_runs(comfy, nodes):
    workflow = json.loads((FOLDER / "example_workflows" / "zoom.json").read_text())
    zoom_node = next(entry for entry in workflow["nodes"] if entry["type"] == "CoZZoom")
    zoom_node["widgets_values"][3:5] = [32, 32]  # it is shipped for 512 px and zoom
    for entry in workflow["nodes"]:
        if entry["type"] in ("CoZBackbone", "CoZAnimation"):
            entry["widgets_values"][0] = {"zoom": "fake", 4: 0.2}[entry["widgets_values"][0]]
    saved = []

    def keep(entry, images):
        saved.append(images)
        return ()

    photo = image(noise(64, 64))
    builtin = {"LoadImage": lambda entry: (photo, None), "PreviewImage": keep, "SaveImage": keep}
    results = run_workflow(workflow, nodes, builtin)
    last, states, sheet, _, record, _ = results[zoom_node["id"]]
    assert [tuple(batch.shape[1:3]) for batch in (last, states)] == [(32, 32)] * 2
    assert len(saved) == 3
    assert all(batch.dtype == torch.float32 and batch.min() >= 0 and batch.max() <= 1 for batch in saved)
    assert sheet.shape[1] > 100
    described = json.loads(record)
    assert described["backbone"] == "fake"
    assert [state["origin"] for state in described["zooms"][0]][:: len(states) - 1] == ["measured", "generated"]


def test_a_zoom_gives_what_python_gives_for_every_picture_of_a_batch(comfy, nodes):
    photos = noise(48, 64, 1), noise(48, 64, 2)
    [backbone] = nodes["CoZBackbone"].execute("fake", "{}").result
    last, states, _, words, _, _ = (
        nodes["CoZZoom"]
        .execute(image(*photos), magnification=16.0, **{**SPOT, "prompt": "moss"}, backbone=backbone)
        .result
    )
    expected = [
        zoom(
            photo,
            at=(0.4, 0.6),
            magnification=16,
            size=(24, 16),
            seed=3,
            backbone="fake",
            prompt="moss",
            prompter="text",
        )
        for photo in photos
    ]
    assert torch.equal(last, image(*(result.states[-1].image for result in expected)))
    assert torch.equal(states, image(*(state.image for result in expected for state in result.states)))
    assert set(words.splitlines()) == {"moss"}
    assert [report[:2] for report in comfy.reports] == [(n + 1, len(states)) for n in range(len(states))]
    assert comfy.reports[-1][2].size == (24, 16)


def test_cancelling_stops_between_states(comfy, nodes):
    comfy.cancel_after = 2
    with pytest.raises(InterruptProcessingException):
        nodes["CoZZoom"].execute(image(noise(48, 64)), magnification=256.0, **SPOT)
    assert len(comfy.reports) == 2


def test_whole_pictures_and_an_alpha_channel(comfy, nodes):
    photo = noise(20, 24)
    [backbone] = nodes["CoZBackbone"].execute("fake", "").result
    with_alpha = torch.cat([image(photo), torch.ones(1, 20, 24, 1)], -1)
    [larger] = nodes["CoZUpscale"].execute(with_alpha, 4.0, 0, backbone).result
    assert torch.equal(larger, image(upscale(photo, 4, backbone="fake").image))


def test_a_prompter_and_words_that_it_cannot_find(comfy, nodes):
    [prompter] = nodes["CoZPrompter"].execute("remote", "tiny", "http://127.0.0.1:1/v1").result
    assert (prompter.name, prompter.model) == ("remote", "tiny")
    with pytest.raises(ValueError, match="needs a model that looks"):
        nodes["CoZZoom"].execute(image(noise(48, 64)), magnification=4.0, **{**SPOT, "find": "a clock"})


def test_every_input_says_what_it_is_and_versions_agree(comfy, nodes):
    for node in nodes.values():
        schema = node.define_schema()
        assert schema.description
        for entry in schema.inputs:
            assert entry.tooltip or entry.id in ("image", "states")
            if entry.default is not None:
                entry.check(entry.default)
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    project = tomllib.loads((FOLDER / "pyproject.toml").read_text())["project"]
    assert project["dependencies"] == [f"chain-of-zoom=={version}"] == (FOLDER / "requirements.txt").read_text().split()


def test_the_picture_of_the_workflow_holds_the_workflow():
    folder = FOLDER / "example_workflows"
    with Image.open(folder / "zoom.png") as picture:
        assert json.loads(picture.text["workflow"]) == json.loads((folder / "zoom.json").read_text())
