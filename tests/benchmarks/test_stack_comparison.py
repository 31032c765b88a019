"""The comparison with the published scripts: full-size networks without memory, and all of it on tiny ones."""

from __future__ import annotations

import json
import sys
import warnings

import pytest
from conftest import ROOT

torch = pytest.importorskip("torch", reason="needs the extra [diffusion]")
pytest.importorskip("diffusers", reason="needs the extra [diffusion]")

from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

sys.path.insert(0, str(ROOT / "benchmarks"))
import paper_configs  # noqa: E402
import paper_floor  # noqa: E402
import paper_stack  # noqa: E402
from paper_errors import stage_errors  # noqa: E402
from published_stack import PublishedStack  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.slow]


# Counted from the published weights: the files of Stable Diffusion 3 medium and of Qwen2.5-VL-3B-Instruct.
PUBLISHED = {
    "transformer": 2_028_328_000,
    "vae": 83_819_683,
    "clip_l": 123_650_304,
    "clip_g": 694_659_840,
    "t5": 4_762_310_656,
    "qwen": 3_754_622_976,
}
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    with warnings.catch_warnings():  # peft asks transformers for an attribute by its old name
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)
        return paper_configs.write(tmp_path_factory.mktemp("tiny"), "tiny", CPU)


@pytest.mark.parametrize("part", paper_configs.PARTS)
def test_full_size_is_the_published_size(part):
    assert paper_configs.parameters(part, "full") == PUBLISHED[part]


def test_the_floor_of_an_h100():
    """At 790 TFLOP/s and 3 TB/s, worked out by hand from the configurations; 5% for what is counted or left out."""
    found = paper_floor.floor("full", 790e12, 3e12)
    by_hand = {"VAE encode": 1.4, "VAE decode": 3.2, "T5": 6.1, "CLIPs": 0.5, "transformer": 3.2, "Qwen vision": 4.3}
    by_hand |= {"Qwen prefill": 5.1, "Qwen, 31 more words": 64, "both": 88}
    for name, milliseconds in by_hand.items():
        assert found[name] * 1e3 == pytest.approx(milliseconds, rel=0.05, abs=0.05), name
    assert found["sr"] + found["prompt"] == pytest.approx(found["both"])
    assert paper_floor.floor("full", 790e12, 3e12, batch=16)["both"] == pytest.approx(28e-3, rel=0.05)
    published = paper_floor.published_floor(790e12, 3e12)
    assert published["prompt"] == pytest.approx(found["prompt"])
    assert published["sr"] * 1e3 == pytest.approx(6.6 + 2.56e15 / 53.5e12 + 3.63e15 / 395e12, rel=0.03)


def test_operations_counted_by_formula_are_those_of_torch():
    with torch.device("meta"):
        for part, tokens in (("t5", 512), ("clip_l", 77), ("clip_g", 77)):
            model = paper_configs.build(part, "tiny")
            with FlopCounterMode(display=False) as counter:
                model(input_ids=torch.zeros((1, tokens), dtype=torch.long))
            assert paper_floor._encoder(model, tokens) == pytest.approx(counter.get_total_flops(), rel=0.02), part


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_networks_are_made_in_16_bits_as_full_size_is(dtype):
    for part in paper_configs.PARTS:
        network = paper_configs._random(part, "tiny", CPU, dtype)
        assert {p.dtype for p in network.parameters()} == {dtype}
        assert all(p.isfinite().all() for p in network.parameters())


def test_both_sides_compute_the_same(tiny, tmp_path):
    """Adapters beside their layers or merged; without the posterior's noise, which each draws in its own way."""
    published, ours = PublishedStack(tiny, CPU, tmp_path), paper_stack.Ours(tiny, CPU).chain
    model = ours.backbone.model
    pixels = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        encoded = [vae.encode(pixels).latent_dist.mode() for vae in (published.vae, model.vae)]
        torch.testing.assert_close(*encoded, atol=1e-4, rtol=1e-4)
        latent = encoded[0] * 1.5
        denoised = published._denoise(latent, "moss"), model.denoise(latent, ["moss"])
        torch.testing.assert_close(*denoised, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(published._decode(latent), model.decode(latent), atol=1e-4, rtol=1e-4)
    plain = paper_configs.build("transformer", "tiny")
    assert any(module._forward_hooks for module in published.transformer.modules())
    assert not any(module._forward_hooks for module in plain.modules())


def test_errors_of_half_precision_by_stage(tiny):
    found = stage_errors(tiny, CPU, side=64)
    for stage in ("VAE encode", "transformer", "VAE decode"):
        assert found[stage]["float32"] < 1e-6
        assert 1e-4 < found[stage]["bfloat16"] < 0.2  # 8 bits of mantissa: 4e-3 at every rounding
    assert found["together"]["transformer alone"] < found["together"]["everything"] < 0.3


def test_the_whole_comparison_on_tiny_networks(capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    plan = ("--pictures", "1", "--steps", "1", "--repeats", "1", "--whole", "0", "--json", "-")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)
        paper_stack.main(plan)
    found = json.loads(capsys.readouterr().out)
    for side in ("published", "ours"):
        assert all(found[side][name] > 0 for name in ("first", "sr", "prompt", "both", "rate"))
        assert found[side]["memory"] is None
        assert "whole" not in found[side]
    assert found["ratios"]["both"] == pytest.approx(found["published"]["both"] / found["ours"]["both"])
    assert found["ratios"]["rate"] == pytest.approx(found["ours"]["rate"] / found["published"]["rate"])
    assert found["ours"]["prompts"] == 1
    lines = paper_stack.report(found)
    assert lines[0].startswith("**Tiny random networks")
    assert sum(line.startswith("| ") for line in lines) == 1 + len(paper_stack.ROWS)
    with pytest.raises(SystemExit, match="full size needs a GPU"):
        paper_stack.main(["--size", "full", "--device", "cpu"])
