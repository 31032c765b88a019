"""flux2-klein and z-image on tiny random pipelines in the layouts of the published ones."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import PARITY, PHOTO, noise

torch = pytest.importorskip("torch", reason="needs the extra [diffusion]")
diffusers = pytest.importorskip("diffusers", reason="needs the extra [diffusion]")

from emulated_gpu import EmulatedGpus  # noqa: E402
from PIL import Image  # noqa: E402
from transformers import AutoTokenizer, Qwen3Config, Qwen3ForCausalLM, Qwen3Model  # noqa: E402

from chain_of_zoom import MissingError, UsageError, load_backbone, upscale  # noqa: E402
from chain_of_zoom.backbones.base import Backbone  # noqa: E402
from chain_of_zoom.backbones.image_to_image import MODELS  # noqa: E402
from chain_of_zoom.imaging.images import enlarge  # noqa: E402
from chain_of_zoom.weights.catalog import ITEMS  # noqa: E402
from chain_of_zoom.weights.files import count_parameters  # noqa: E402
from chain_of_zoom.weights.hub import locate  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.slow]
NAMES = list(MODELS)
CHAT = "{% for message in messages %}<|im_start|>{{ message.content }}<|im_end|>{% endfor %}"
VAE = {
    "block_out_channels": (4, 4, 4, 8), "norm_num_groups": 4, "layers_per_block": 1, "latent_channels": 4,
    "down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4,
    "mid_block_add_attention": False,
}  # fmt: skip


def make_klein(encoder: dict, tokenizer) -> diffusers.Flux2KleinPipeline:
    transformer = diffusers.Flux2Transformer2DModel(
        in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=3 * 16, timestep_guidance_channels=16, axes_dims_rope=(4, 4, 4, 4), guidance_embeds=False,
    )  # fmt: skip
    return diffusers.Flux2KleinPipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=diffusers.AutoencoderKLFlux2(**VAE),
        text_encoder=Qwen3ForCausalLM(Qwen3Config(num_hidden_layers=27, **encoder)),  # it reads the 27th
        tokenizer=tokenizer,
        transformer=transformer,
        is_distilled=True,
    )


def make_z_image(encoder: dict, tokenizer) -> diffusers.ZImagePipeline:
    transformer = diffusers.ZImageTransformer2DModel(
        in_channels=4, dim=32, n_layers=1, n_refiner_layers=1, n_heads=2, n_kv_heads=2, cap_feat_dim=16,
        axes_dims=[8, 4, 4], axes_lens=[1024, 64, 64],
    )  # fmt: skip
    return diffusers.ZImagePipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=diffusers.AutoencoderKL(shift_factor=0.1, **VAE),
        text_encoder=Qwen3Model(Qwen3Config(num_hidden_layers=2, **encoder)),
        tokenizer=tokenizer,
        transformer=transformer,
    )


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(PARITY / "tiny_qwen")
    tokenizer.chat_template = CHAT
    encoder = {
        "vocab_size": len(tokenizer), "hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2,
        "num_key_value_heads": 1, "head_dim": 8,
    }  # fmt: skip
    folder = tmp_path_factory.mktemp("models")
    for name, make in (("flux2-klein", make_klein), ("z-image", make_z_image)):
        make(encoder, tokenizer).save_pretrained(folder / name)
    return {name: folder / name for name in NAMES}


@pytest.fixture
def load(folders):
    def load(name: str, **options) -> Backbone:
        steps = {"flux2-klein": 1, "z-image": 3}
        backbone = load_backbone(name, **{"base": folders[name], "steps": steps[name], "device": "cpu"} | options)
        backbone.info = replace(backbone.info, min_side=16, halo=4)  # quicker
        return backbone

    return load


@pytest.mark.parametrize("name", NAMES)
def test_it_is_what_diffusers_makes_of_the_enlarged_window(load, folders, name):
    window, backbone = noise(24, 28), load(name)
    pipeline = getattr(diffusers, MODELS[name].pipeline).from_pretrained(folders[name])
    pipeline.set_progress_bar_config(disable=True)
    options = {"strength": 0.375, "guidance_scale": 0.0} if name == "z-image" else {"guidance_scale": 1.0}
    expected = pipeline(
        prompt=f"{MODELS[name].instruction} moss", image=[Image.fromarray(enlarge(window, 4))],
        num_inference_steps=backbone.steps, generator=torch.Generator().manual_seed(5), output_type="np", **options,
    ).images  # fmt: skip
    (result,) = backbone([window], ["moss"], [5])
    assert result.shape == (96, 112, 3)
    np.testing.assert_allclose(result, expected[0], atol=1e-5)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("flux2-klein", [{"steps": 2}, {"instruction": "Repair this."}]),
        ("z-image", [{"steps": 4}, {"instruction": ""}, {"strength": 0.7}]),
    ],
)
def test_prompt_seed_and_every_option_count(load, name, options):
    backbone, window = load(name), [noise(24, 24)]
    (result,) = backbone(window, ["moss"], [1])
    np.testing.assert_array_equal(result, backbone(window, ["moss"], [1])[0])
    others = [backbone(window, ["a red car"], [1])[0], backbone(window, ["moss"], [2])[0]]
    others += [load(name, **option)(window, ["moss"], [1])[0] for option in options]
    for i, one in enumerate(others):
        assert all(not np.array_equal(one, other) for other in [result, *others[:i]])


@pytest.mark.parametrize("name", NAMES)
def test_company_changes_no_bit_and_odd_windows_are_padded(load, name):
    backbone = load(name)
    windows, prompts, seeds = [noise(24, 24), noise(17, 30, 1), noise(24, 24, 2)], ["a", "b", ""], [1, 2, 3]
    together = backbone(windows, prompts, seeds)
    assert together[1].shape == (68, 120, 3)
    for result, window, prompt, seed in zip(together, windows, prompts, seeds, strict=True):
        np.testing.assert_array_equal(result, backbone([window], [prompt], [seed])[0])


def test_a_chain_of_two_steps_says_what_was_used(coz, folders, tmp_path):
    done = coz(
        "zoom", PHOTO, "--backbone", "flux2-klein", "--base", folders["flux2-klein"], "--set", "backbone.steps=1",
        "--device", "cpu", "--prompt", "moss on a stone", "--size", "384x384", "--zoom", "21", "-o", "out",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "out" / "record.json").read_bytes())
    states = [state for state in record["states"] if state["origin"] == "generated"]
    assert len(states) == 2
    assert all(state["prompt_used"] and state["beyond_evidence"] and not state["fallbacks"] for state in states)
    assert record["backbone"]["licence"] == "weights: Apache-2.0"
    assert record["backbone"]["weights_sha256"]
    assert "it/s" not in done.stderr, "libraries are quiet"
    assert "Guidance" not in done.stderr


def test_a_whole_picture_in_tiles_is_the_same_twice(load, astronaut):
    picture = np.ascontiguousarray(astronaut[:30, :60])
    backbone = load("z-image")
    first, second = (upscale(picture, 4, backbone=backbone, tile=40, seed=3).image for _ in range(2))
    assert first.shape == (120, 240, 3)
    np.testing.assert_array_equal(first, second)


def test_a_long_prompt_is_cut_and_said(load):
    notes: list[str] = []
    load("z-image")([noise(24, 24)], ["leaf " * 400], on_fallback=lambda _, note: notes.append(note))
    (note,) = notes
    assert note.startswith("the prompt was cut by ")
    assert note.endswith("tokens, beyond the 512 that the model reads")


def test_on_a_card_that_is_short_of_memory_texts_and_pictures_take_turns(load):
    """One of them, as the other's 27 layers take long on an emulated card."""
    name = "z-image"
    windows, prompts, seeds = [noise(24, 24), noise(24, 24, 1)], ["moss", "fur"], [1, 2]
    expected = load(name)(windows, prompts, seeds)
    with EmulatedGpus({0: 4 * 10**9}):
        staged = load(name, device="cuda", dtype="float32", memory="low")
        results = staged(windows, prompts, seeds)
        assert staged._residence.placement.mode == "low"
        assert staged._residence.swaps == 2, "texts of all windows, then their pictures"
        staged(windows, prompts, seeds)
        assert staged._residence.swaps == 2, "texts of the last call are remembered"
    for result, cpu in zip(results, expected, strict=True):
        np.testing.assert_allclose(result, cpu, atol=0.02)  # the text encoder is in int8


@pytest.mark.parametrize(
    ("name", "option", "error", "says"),
    [
        ("z-image", {"base": "nowhere"}, MissingError, "base model nowhere cannot be loaded"),
        ("z-image", {"steps": 0}, UsageError, "steps 0; accepted: 1 to 100; type: --set backbone.steps=8"),
        ("z-image", {"steps": 8, "strength": 0.1}, UsageError, "strength 0.1 of 8 steps; accepted: at least one step"),
        ("z-image", {"steps": 8, "strength": 1.5}, UsageError, "strength 1.5 of 8 steps"),
        ("z-image", {"strength": "much"}, UsageError, "strength='much'"),
        ("flux2-klein", {"strength": 0.5}, UsageError, "flux2-klein sees the picture in every step; leave it out"),
    ],
)
def test_bad_options_and_weights_are_one_typed_error(load, name, option, error, says):
    with pytest.raises(error, match=says):
        load(name, **option).load()


def test_models_of_another_kind_and_damaged_or_pickled_ones_are_refused(load, folders, tmp_path):
    with pytest.raises(MissingError, match="accepted: one with a Flux2Transformer2DModel; type: coz models"):
        load("flux2-klein", base=folders["z-image"]).load()
    shutil.copytree(folders["z-image"], tmp_path / "model")
    (weights,) = (tmp_path / "model" / "transformer").glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(MissingError, match=r"cannot be loaded .* type: coz models"):
        load("z-image", base=tmp_path / "model").load()
    weights.unlink()
    torch.save({"w": torch.zeros(1)}, weights.with_suffix(".bin"))
    with pytest.raises(MissingError, match=r"cannot be loaded .* type: coz models"):
        load("z-image", base=tmp_path / "model").load()


@pytest.mark.parametrize("name", NAMES)
def test_a_downloaded_folder_counts_as_whole(folders, name, monkeypatch, tmp_path):
    monkeypatch.setenv("COZ_MODELS", str(folders[name].parent))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert locate(ITEMS[name]) == folders[name]
    assert count_parameters(folders[name] / "text_encoder") > 0


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_downloaded(monkeypatch, tmp_path, name):
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("asked the network"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(MissingError, match=r"cannot be loaded .* coz models"):
        load_backbone(name).load()
