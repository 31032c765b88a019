"""`coz doctor --estimate`: what a card does with the paper's stack, by arithmetic."""

from __future__ import annotations

import json

import pytest
from conftest import invoke

from chain_of_zoom.cli import doctor as cli
from chain_of_zoom.errors import BackboneError, ShortageError, UsageError
from chain_of_zoom.runtime import estimate
from chain_of_zoom.runtime.plan import plan


@pytest.fixture
def card(monkeypatch):
    """Puts one card into this machine, by name and GB."""

    def put(name: str, gigabytes: float) -> None:
        monkeypatch.setattr(
            cli, "machine_facts", lambda: {"gpus": [{"name": name, "memory": int(gigabytes * 1e9)}], "memory": 64e9}
        )

    return put


def test_a_card_of_24_gb_copies_nothing_and_one_of_16_says_what_it_copies():
    large = json.loads(invoke("doctor", "--estimate", "paper", "--vram", "24", "--json"))
    assert large["placement"]["t5"] == "cuda:0 bfloat16 with int8 weights"
    assert (large["copied_bytes"], large["waiting_bytes"], large["passes"]["image"]) == (0, 0, 8)
    small = json.loads(invoke("doctor", "--estimate", "paper", "--vram", "16", "--json"))
    assert small["placement"]["memory"] == "staged"
    assert small["copied_bytes"] == small["waiting_bytes"] == pytest.approx(23.06e9, rel=0.01)
    text = invoke("doctor", "--estimate", "paper", "--vram", "16")
    assert "23 GB copied in a step for all 16: about 0.9 s from page-locked memory, 3.8 s from other memory" in text
    assert "nothing is copied" in invoke("doctor", "--estimate", "paper", "--vram", "24", "--vram", "24")


def test_this_machines_card_has_a_floor_where_its_maker_states_a_speed(card):
    card("NVIDIA GeForce RTX 4090", 24)
    found = json.loads(invoke("doctor", "--estimate", "paper", "--json"))
    # 18.7 TFLOP at 165 TFLOP/s, and 31 words that read 6.2 GB at 1.01 TB/s for 8 pictures.
    assert found["floor_seconds"] == pytest.approx(18.75 / 165 + 31 * 6.172 / 1010 / 8, rel=0.01)
    assert "at least 0.14 s a picture and step" in invoke("doctor", "--estimate", "paper")
    card("Unheard of", 24)
    assert "the speed of this card is not known here" in invoke("doctor", "--estimate", "paper")


def test_what_cannot_run_is_refused_with_what_to_do(card, monkeypatch):
    with pytest.raises(BackboneError, match=r"need 6\.\d GB at once.*type: --device cpu"):
        invoke("doctor", "--estimate", "paper", "--vram", "4")
    with pytest.raises(UsageError, match="paper-dape cannot be estimated; accepted: paper, "):
        invoke("doctor", "--estimate", "paper-dape", "--vram", "24")
    with pytest.raises(UsageError, match="--vram without --estimate"):
        invoke("doctor", "--vram", "24")
    with pytest.raises(UsageError, match="accepted: GB of a card above 0"):
        invoke("doctor", "--estimate", "paper", "--vram", "nan")
    card("RTX 3080", 12)
    from chain_of_zoom.cli import estimate as words

    monkeypatch.setattr(words, "lack_of_memory", lambda needed: f"{needed} needed" if needed > 1e10 else None)
    with pytest.raises(ShortageError, match="wait outside the GPU"):
        invoke("doctor", "--estimate", "paper")


def test_without_a_prompter_only_the_backbone_counts():
    found = json.loads(invoke("doctor", "--estimate", "paper-null", "--vram", "24", "--json"))
    assert set(found["placement"]) == {"memory", "clip", "t5", "transformer", "vae"}
    step = estimate.estimate_step(plan({}, estimate.list_needs(prompts=False)))
    assert (step.copied, step.passes) == (0, {"texts": 1, "image": 1})
    assert step.waiting > 30e9, "on a CPU all of it, in float32"


@pytest.mark.torch
@pytest.mark.slow
def test_work_is_what_the_loaders_say(tmp_path):
    pytest.importorskip("transformers", reason="needs the extra [diffusion]")
    from chain_of_zoom.backbones.onestep import sd3_parts
    from chain_of_zoom.prompters.vlm import vlm_part

    for part in (vlm_part(tmp_path), *sd3_parts(tmp_path)):
        planned = estimate.PARTS[part.name]
        assert (planned.stage, planned.work, planned.dtype) == (part.stage, part.work, part.dtype)
