"""sd-x4 on a tiny random pipeline in the layout of the published one."""

from __future__ import annotations

import json

import numpy as np
import pytest
from conftest import PHOTO, noise

torch = pytest.importorskip("torch", reason="needs the extra [diffusion]")
diffusers = pytest.importorskip("diffusers", reason="needs the extra [diffusion]")

from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer  # noqa: E402

from chain_of_zoom import BackboneError, MissingError, UsageError, load_backbone, upscale  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.slow]


LETTERS = "abcdefghijklmnopqrstuvwxyz"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> str:
    """The parts of diffusers' own test of this pipeline, smaller still."""
    torch.manual_seed(0)
    words = [*LETTERS, *(f"{letter}</w>" for letter in LETTERS), "<|startoftext|>", "<|endoftext|>"]
    tokenizer = CLIPTokenizer({word: i for i, word in enumerate(words)}, [], model_max_length=77)
    text = CLIPTextConfig(
        hidden_size=16, intermediate_size=32, num_attention_heads=2, num_hidden_layers=2, vocab_size=len(words),
        bos_token_id=52, eos_token_id=53, pad_token_id=53,
    )  # fmt: skip
    unet = diffusers.UNet2DConditionModel(
        block_out_channels=(16, 16, 32), layers_per_block=1, in_channels=7, out_channels=4, norm_num_groups=8,
        down_block_types=("DownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
        cross_attention_dim=16, attention_head_dim=8, use_linear_projection=True, num_class_embeds=60,
    )  # fmt: skip
    vae = diffusers.AutoencoderKL(
        block_out_channels=(8, 8, 16), layers_per_block=1, norm_num_groups=4, latent_channels=4, scaling_factor=0.08333,
        down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3,
        mid_block_add_attention=False,
    )  # fmt: skip
    pipeline = diffusers.StableDiffusionUpscalePipeline(
        vae=vae,
        text_encoder=CLIPTextModel(text),
        tokenizer=tokenizer,
        unet=unet,
        low_res_scheduler=diffusers.DDPMScheduler(),
        scheduler=diffusers.DDIMScheduler(prediction_type="v_prediction"),
        max_noise_level=50,
    )
    folder = tmp_path_factory.mktemp("sd-x4")
    pipeline.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def backbone(tiny):
    return load_backbone("sd-x4", base=tiny, steps=2, device="cpu")


def test_prompt_seed_and_every_option_count(tiny, backbone):
    window = [noise(64, 72)]
    (result,) = backbone(window, ["moss"], [1])
    assert result.shape == (256, 288, 3)
    np.testing.assert_array_equal(result, backbone(window, ["moss"], [1])[0])
    others = [backbone(window, ["a red car"], [1])[0], backbone(window, ["moss"], [2])[0]]
    for option in ({"steps": 3}, {"guidance": 1.0}, {"guidance": 2}, {"noise_level": 50}):
        other = load_backbone("sd-x4", **{"base": tiny, "steps": 2, "device": "cpu", **option})
        others.append(other(window, ["moss"], [1])[0])
    for i, one in enumerate(others):
        assert all(not np.array_equal(one, other) for other in [result, *others[:i]])


def test_it_is_what_diffusers_makes(tiny, backbone):
    window = noise(64, 64)
    pipeline = diffusers.StableDiffusionUpscalePipeline.from_pretrained(tiny)
    pipeline.set_progress_bar_config(disable=True)
    image = torch.from_numpy(window).permute(2, 0, 1)[None] / 255
    expected = pipeline(
        prompt=["moss"], image=image, num_inference_steps=2, generator=[torch.Generator().manual_seed(5)],
        output_type="np",
    ).images  # fmt: skip
    np.testing.assert_allclose(backbone([window], ["moss"], [5])[0], expected[0], atol=1e-6)


def test_company_changes_no_bit_and_odd_windows_are_padded(backbone):
    windows, prompts, seeds = [noise(64, 64), noise(30, 41, 1), noise(64, 64, 2)], ["a", "b", ""], [1, 2, 3]
    together = backbone(windows, prompts, seeds)
    assert together[1].shape == (120, 164, 3)
    for each, window, prompt, seed in zip(together, windows, prompts, seeds, strict=True):
        np.testing.assert_array_equal(each, backbone([window], [prompt], [seed])[0])


def test_windows_that_go_together_on_a_gpu_agree_with_those_alone(backbone):
    """A batch rounds otherwise: 1e-4 of 1, where another seed or prompt moves values by tenths."""
    windows, prompts, seeds = [noise(64, 64, i) for i in range(3)], ["moss", "", "fur"], [4, 5, 6]
    options = {"steps": 2, "guidance": 9.0, "noise_level": 20}
    for made, alone in zip(
        backbone.model(windows, prompts, seeds, **options), backbone(windows, prompts, seeds), strict=True
    ):
        np.testing.assert_allclose(made, alone, atol=1e-4)


def test_a_chain_says_that_prompts_were_used(coz, tiny, tmp_path):
    words = " ".join(["leaf"] * 40)
    done = coz(
        "zoom", PHOTO, "--backbone", "sd-x4", "--base", tiny, "--set", "backbone.steps=1", "--device", "cpu",
        "--prompt", words, "--size", "256x256", "--zoom", "32", "-o", "out",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "out" / "record.json").read_bytes())
    states = [state for state in record["states"] if state["origin"] == "generated"]
    assert len(states) == 2
    for state in states:
        assert state["prompt_used"]
        assert state["prompt"] == words
        assert state["beyond_evidence"]
        assert state["fallbacks"] == ["the prompt was cut by 85 tokens, beyond the 77 that the model reads"]
    assert record["backbone"]["text_aware"]
    assert "OpenRAIL++" in record["backbone"]["licence"].replace(" ", "") or "RAIL++-M" in record["backbone"]["licence"]
    assert record["options"]["backbone"] == {"base": tiny, "steps": "1", "device": "cpu"}
    assert "ignores prompts" not in done.stdout


def test_a_whole_picture_in_tiles(backbone, astronaut):
    """Each tile is a picture of its own, from the same prompt and seed."""
    picture = np.ascontiguousarray(astronaut[:80, :110])
    whole, tiled = (upscale(picture, 4, backbone=backbone, tile=side).image for side in (120, 96))
    assert whole.shape == tiled.shape == (320, 440, 3)
    assert not np.array_equal(whole, tiled)


def test_a_pipeline_of_another_kind_is_refused(tiny, tmp_path):
    other = diffusers.StableDiffusionUpscalePipeline.from_pretrained(tiny)
    other.vae = diffusers.AutoencoderKL(
        block_out_channels=(8, 8), layers_per_block=1, norm_num_groups=4, latent_channels=4, scaling_factor=0.08333,
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
    )  # fmt: skip
    other.save_pretrained(tmp_path)
    with pytest.raises(MissingError, match="does not enlarge 4x; accepted: Stable Diffusion x4 upscaler"):
        load_backbone("sd-x4", base=tmp_path, device="cpu").load()


@pytest.mark.parametrize(
    ("option", "error", "says"),
    [
        ({"base": "nowhere"}, MissingError, "base model nowhere cannot be loaded"),
        ({"noise_level": 51}, UsageError, "noise_level 51; accepted by this model: 0 to 50"),
        ({"noise_level": 351}, UsageError, "noise_level 351; accepted: whole numbers, 0 to 350"),
        ({"steps": 0}, UsageError, "steps 0; accepted: whole numbers, 1 to 1000"),
        ({"steps": "many"}, UsageError, "steps='many'"),
        ({"guidance": -1}, UsageError, "guidance -1; accepted: 0 to 100"),
        ({"device": "abacus"}, UsageError, "device 'abacus'"),
        ({"dtype": "float16"}, UsageError, "on a CPU"),
    ],
)
def test_bad_options_and_weights_are_one_typed_error(tiny, option, error, says):
    with pytest.raises(error, match=says):
        load_backbone("sd-x4", **{"base": tiny, "device": "cpu", **option}).load()


def test_nothing_is_downloaded(monkeypatch, tmp_path):
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("asked the network"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(MissingError, match=r"stable-diffusion-x4-upscaler cannot be loaded .* coz models"):
        load_backbone("sd-x4").load()


def test_out_of_memory_fewer_windows_at_once_and_then_an_error(tiny, backbone, monkeypatch):
    windows, words, seeds = [noise(64, 64, i) for i in range(3)], ["a", "b", "c"], [1, 2, 3]
    expected = backbone(windows, words, seeds)
    real, room, said = backbone.model.__class__.__call__, 1, []

    def call(self, some, *args, **options):
        if len(some) > room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(self, some, *args, **options)

    monkeypatch.setattr(backbone.model.__class__, "__call__", call)
    monkeypatch.setattr(backbone, "_batch", 3)
    made = backbone(windows, words, seeds, on_fallback=lambda *note: said.append(note))
    for ours, theirs in zip(made, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert said == [(i, "out of GPU memory with 3 at once; 1 at once") for i in range(3)]
    room = 0
    with pytest.raises(BackboneError, match="does not fit into the memory of the GPU"):
        backbone(windows, words, seeds)
