"""Every way that the paper's stack can lie on cards: no device mixed, no byte beyond the plan, the CPU's results."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from conftest import noise

torch = pytest.importorskip("torch", reason="needs the extra [diffusion]")
pytest.importorskip("diffusers", reason="needs the extra [diffusion]")

from gpus.cards import (  # noqa: E402
    CONTEXTS,
    QWEN,
    SD3,
    SEEDS,
    WINDOWS,
    WORDS,
    cards,
    count_moves,
    load,
    one_thread,  # noqa: F401
    step,
)

from chain_of_zoom.api import ChainOfZoom  # noqa: E402
from chain_of_zoom.chain.engine import Engine  # noqa: E402
from chain_of_zoom.chain.enlargement import ZoomJob  # noqa: E402
from chain_of_zoom.chain.lanes import run_in_lanes  # noqa: E402
from chain_of_zoom.chain.request import ZoomRequest, plan  # noqa: E402
from chain_of_zoom.cli.estimate import estimate_preset  # noqa: E402
from chain_of_zoom.cli.step_times import StepClock, read_times  # noqa: E402
from chain_of_zoom.errors import BackboneError  # noqa: E402
from chain_of_zoom.imaging.images import Picture  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.slow]

ALL = {"prompts", "texts", "image"}


@pytest.fixture(scope="module")
def cpu():
    """What a CPU makes of it."""
    return step(load(device="cpu"))


@pytest.mark.parametrize(
    ("budget", "mode", "pinned", "swaps"),
    [
        (100, "resident", ALL, 0),
        (5.2, "resident", ALL, 0),
        (3.6, "staged", set(), 3),
        (2.7, "low", set(), 3),
    ],
)
def test_whatever_fits_computes_what_a_cpu_computes_within_its_memory(cpu, budget, mode, pinned, swaps):
    with cards(budget) as gpus:
        stack = load(dtype="float32")
        assert (stack.residence.placement.mode, stack.residence.pinned) == (mode, pinned)
        count_moves(gpus)
        gpus.reset_peaks()
        outcome = step(stack)
        assert outcome.notes == [], "nothing went another way than planned"
        assert gpus.cards[0].refused == 0
        assert stack.residence.swaps == swaps
        weights = {stage: stack.residence.placement.parts_of(stage) for stage in ALL}
        entered = sum(part.weights for stage in ALL - pinned for part in weights[stage]) if swaps else 0
        moved = count_moves(gpus)["host to cuda:0"]
        assert entered <= moved <= 1.02 * entered + 600_000, "weights once a step, and little beside them"
        again = step(stack)
        assert again.texts == outcome.texts
        assert again.differs_by(outcome) == 0
    if mode == "low":
        assert outcome.differs_by(cpu) < 0.02  # int8
    else:
        assert outcome.texts == cpu.texts
        assert outcome.differs_by(cpu) < 1e-4  # sums in another order


def test_stages_leave_the_card_as_they_came_and_what_waits_is_page_locked():
    with cards(3.6) as gpus:
        stack = load(dtype="float32")
        assert gpus.cards[0].held < 100, "only the timestep"
        weights = sum(part.weights for part in stack.residence.placement.parts)
        assert weights <= gpus.locked <= 2 * weights  # every tensor starts at a multiple of 512 bytes
        before = {name: tensor.clone() for name, tensor in stack.backbone.model.vae.state_dict().items()}
        step(stack)
        stack.residence.release()
        for name, tensor in stack.backbone.model.vae.state_dict().items():
            assert (tensor.device.type, torch.equal(tensor, before[name])) == ("cpu", True)


def test_two_cards_have_prompts_and_pictures_each(cpu):
    with cards(8, 8) as gpus:
        stack = load(dtype="float32")
        assert stack.residence.placement.is_pipelined
        held = [gpus.cards[number].held for number in (0, 1)]
        assert all(held), "weights on both"
        outcome = step(stack)
        assert (outcome.texts, outcome.notes) == (cpu.texts, [])
        assert outcome.differs_by(cpu) < 1e-4
        assert not any("cuda:0 to cuda:1" in way or "cuda:1 to cuda:0" in way for way in gpus.copies)


def test_lanes_on_two_cards_make_a_cpus_states_and_a_full_card_ends_both():
    """Two threads take turns at the prompter on one card and at the backbone on the other."""
    jobs = []
    for number in range(3):
        picture = noise(112, 112, number)
        _, output, steps = plan(ZoomRequest(zoom=16.0, size=(64, 64)), picture, 4, resampled=False)
        jobs.append(ZoomJob(picture=picture, steps=steps, output=output, seed=number))
    stack = load(device="cpu")
    expected = {(i, state.magnification): state for i, state in Engine(stack.backbone, stack.prompter).run(jobs)}
    with cards(8, 8) as gpus:
        stack = load(dtype="float32")
        engine = Engine(stack.backbone, stack.prompter)
        states = {(i, state.magnification): state for i, state in run_in_lanes(engine, jobs, 2)}
        assert [card.refused for card in gpus.cards.values()] == [0, 0]
        assert not any(way in gpus.copies for way in ("cuda:0 to cuda:1", "cuda:1 to cuda:0"))
        busy = threading.active_count()
        for card in gpus.cards.values():
            card.budget = card.held
        with pytest.raises(BackboneError, match="one picture alone does not fit into the memory of the GPU"):
            list(run_in_lanes(engine, jobs, 2))
        assert threading.active_count() == busy
    assert states.keys() == expected.keys()
    for key, state in states.items():
        assert (state.prompt, state.fallbacks) == (expected[key].prompt, expected[key].fallbacks)
        assert np.abs(state.image.astype(int) - expected[key].image).max() <= 1


@pytest.mark.parametrize(("capability", "short"), [((8, 9), "bfloat16"), ((7, 5), "float16")])
def test_short_numbers_are_those_that_the_card_has(cpu, capability, short):
    with cards(100, capability=capability, dtype=getattr(torch, short)):
        stack = load()
        outcome = step(stack)
        places = stack.residence.as_record()
    assert {places[name] for name in ("vlm", "clip", "t5", "transformer")} == {f"cuda:0 {short}"}
    assert places["vae"] == f"cuda:0 {'bfloat16' if short == 'bfloat16' else 'float32'}"
    assert outcome.notes == []
    assert outcome.differs_by(cpu) < 0.3  # networks of random weights amplify what is rounded


@pytest.mark.parametrize("budget", [100, 2.85])
def test_nan_in_bfloat16_is_computed_again_in_float32_for_all_pictures_at_once(cpu, budget):
    with cards(budget, nan=[torch.bfloat16], dtype=torch.bfloat16):
        stack = load(dtype="bfloat16")
        assert stack.residence.placement.mode == ("resident" if budget == 100 else "staged")
        notes: list[str] = []
        swaps = stack.residence.swaps
        pictures = stack.backbone(WINDOWS, WORDS, SEEDS, on_fallback=lambda _, note: notes.append(note))
        if budget < 100:
            assert stack.residence.swaps - swaps <= 4, "texts, pictures; and both once more"
        assert {part.dtype for part in stack.backbone.model.transformer.parameters()} == {torch.bfloat16}
    assert notes == ["came out unusable in bfloat16; computed again in float32"] * 3
    for ours, exact in zip(pictures, cpu.pictures, strict=True):
        assert abs(ours - exact).max() < 0.05  # weights were rounded on loading


def test_a_card_that_is_fuller_than_it_said_makes_fewer_at_once_and_in_the_end_says_what_to_do(cpu):
    with cards(100) as gpus:
        stack = load(dtype="float32")
        card = gpus.cards[0]
        card.budget = card.held + 1_700_000  # another program came
        outcome = step(stack)
        assert any("at once" in note for note in outcome.notes)
        assert outcome.differs_by(cpu) < 1e-4
        assert outcome.texts == cpu.texts
        card.budget = card.held + 500_000
        outcome = step(stack)
        assert any(note.endswith("moved off the GPU") for note in outcome.notes)
        card.budget = 400_000
        with pytest.raises(BackboneError, match="one picture alone does not fit"):
            stack.backbone(WINDOWS[:1], ["stone"], [1])
        with pytest.raises(BackboneError, match="does not fit"):
            stack.prompter(CONTEXTS)


def test_what_leaves_while_all_is_in_float32_is_not_held_and_comes_back_short():
    with cards(100, dtype=torch.bfloat16) as gpus:
        stack = load(dtype="bfloat16")
        model = stack.backbone.model
        with model.in_float32():
            assert model.transformer.pos_embed.pos_embed.dtype == torch.float32
            stack.residence.offload("prompts")
            vlm = stack.residence.placement.parts_of("prompts")[0].weights
            assert gpus.cards[0].held < 1.05 * vlm, "nothing of the transformer is left"
        assert {tensor.dtype for tensor in (*model.transformer.parameters(), *model.transformer.buffers())} == {
            torch.bfloat16
        }


def test_a_prompter_that_gives_nan_in_float16_goes_on_in_bfloat16_and_in_bfloat16_it_is_an_error():
    with cards(100, capability=(7, 5), nan=[torch.float16], dtype=torch.float16):
        stack = load()
        texts = stack.prompter(CONTEXTS)
        assert stack.prompter.fallbacks() == ["prompter came out unusable in float16; in bfloat16 from there on"]
        assert stack.residence.as_record()["vlm"] == "cuda:0 bfloat16"
        assert all(texts)
        assert stack.prompter(CONTEXTS) == texts
    with (
        cards(100, nan=[torch.bfloat16], dtype=torch.bfloat16),
        pytest.raises(BackboneError, match="computed NaN in bfloat16; accepted: .*--dtype float32"),
    ):
        load().prompter(CONTEXTS)


def test_a_run_on_a_card_is_remembered_and_the_estimate_for_that_card_says_it(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    options = {"dtype": "float32"}
    with cards(100):
        chain = ChainOfZoom("osediff-sd3", "vlm", backbone_options=SD3 | options, prompter_options=QWEN | options)
        run, clock = chain.plan(Picture.of_pixels(noise(64, 64)), ZoomRequest(zoom=16, size=(32, 32))), StepClock()
        with run.open(tmp_path / "run") as folder:
            for state in run.states():
                clock.add("zoom", folder.add(state))
        clock.remember("paper", chain)
        clock.remember("paper-vlm-base", chain)
        clock.remember("paper", chain)
    times, problem = read_times()
    assert ([time.preset for time in times], problem) == (["paper", "paper-vlm-base"], None)
    assert times[0].placement["vlm"] == "cuda:0 float32"
    card = {"name": "emulated 0", "memory": 24 * 10**9}
    last = estimate_preset("paper", None, [card])["measured"]
    assert (last["seconds"], last["steps"], last["devices"]) == (times[0].seconds, 1, ("emulated 0",))
    assert estimate_preset("paper", None, [card | {"name": "another"}])["measured"] is None
    assert "measured" not in estimate_preset("paper", [24.0], [])
