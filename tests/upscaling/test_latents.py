"""osediff-sd3 on tiny random weights through the whole way: stopped, resumed, one prompt edited."""

from __future__ import annotations

import json

import numpy as np
import pytest
from conftest import PARITY

pytest.importorskip("diffusers", reason="needs the extra [diffusion]")

from chain_of_zoom import load_backbone, upscale
from chain_of_zoom.imaging.decode import decode
from upscaling.doubles import picture

pytestmark = [pytest.mark.torch, pytest.mark.slow]


@pytest.fixture(autouse=True)
def one_thread():
    """Weights this small are ten times slower on threads that wait for one another."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.slow
def test_a_stopped_run_goes_on_and_an_edited_prompt_changes_only_what_it_reaches(tmp_path):
    backbone = load_backbone(
        "osediff-sd3",
        base=PARITY / "tiny_sd3",
        lora=PARITY / "model_tiny.pkl",
        vae_encoder=PARITY / "vae_encoder_tiny.pt",
        device="cpu",
        t5=False,
    )
    photo, out = picture(16, 100), tmp_path / "a.png"
    settings = {"backbone": backbone, "prompt": "leaf", "tile": 8, "overlap": 2}

    def stop(progress):
        if progress.stage == "tiles" and progress.done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        upscale(photo, 4, out=out, on_progress=stop, **settings)
    resumed = upscale(photo, 4, out=out, **settings).record
    whole = upscale(photo, 4, **settings).image
    assert resumed.steps[0].kept > 0
    assert resumed.device == "cpu"
    before = decode(out).colour
    assert before.shape == (64, 400, 3)
    np.testing.assert_array_equal(before, whole)

    prompts = json.loads((tmp_path / "a.png.prompts.json").read_bytes())
    tiles = prompts["steps"][0]["tiles"]
    assert {tile["prompt"] for tile in tiles} == {"leaf"}
    tiles[0]["prompt"] = "moss on stones"
    (tmp_path / "mine.json").write_text(json.dumps(prompts))
    edited = upscale(photo, 4, out=out, prompts_from=tmp_path / "mine.json", **settings).record
    after = decode(out).colour
    assert 0 < edited.steps[0].kept < len(tiles)
    assert (before[:32, :32] != after[:32, :32]).any()
    np.testing.assert_array_equal(before[:, -64:], after[:, -64:])  # two tiles away
