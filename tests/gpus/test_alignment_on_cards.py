"""A step of alignment on cards that are not there: the CPU's adapter, within the memory that was promised."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the extra [train]")
pytest.importorskip("trl", reason="needs the extra [train]")

from alignment.tiny_alignment import Likes, example, make_pairs, run, settings  # noqa: E402
from emulated_gpu import EmulatedGpus  # noqa: E402
from gpus.cards import MB, one_thread  # noqa: E402, F401
from trl.kernels import chunked_logprob  # noqa: E402

from chain_of_zoom.alignment.rewards.critic import Critic  # noqa: E402
from chain_of_zoom.alignment.training import align as aligning  # noqa: E402
from chain_of_zoom.alignment.training import budget  # noqa: E402
from chain_of_zoom.alignment.training.run_folder import find_last_checkpoint  # noqa: E402
from chain_of_zoom.errors import UsageError  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.slow]


@pytest.fixture(scope="module", autouse=True)
def _tiny_world() -> Iterator[None]:
    """A critic that needs no server, no memory but the plan's, and logits without a compiler."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(aligning, "make_critic", lambda name, *, cache, **_: Critic(Likes(), name, cache=cache))
        patch.setattr(budget, "RUNTIME", 0)
        patch.setattr(chunked_logprob, "_TRITON_AVAILABLE", False)
        yield


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    with aligning.silence_libraries():
        example().make_model(folder)
    return folder


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pairs(tmp_path_factory.mktemp("pairs"), train=2, held_out=1)


def step(model: Path, pairs: Path, out: Path, device: str = "cuda", **changed: Any) -> dict[str, torch.Tensor]:
    """Take one step with two texts about one pair; the tensors of the adapter."""
    tiny = {"steps": 1, "group": 2, "batch": 2, "max_new_tokens": 3, "samples": 1, "lora": {"dropout": 0.0}}
    critic = {"critic": {"name": "http://likes/v1"}, "weights": {"critic": 1.0}}
    config = settings(
        pairs, model, **{**tiny, **critic, "device": device, "dtype": "float32", "checkpointing": True, **changed}
    )
    return run(config, out)


@pytest.fixture(scope="module")
def cpu(model: Path, pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, torch.Tensor], str]:
    """The adapter that a CPU makes, and the texts before and after."""
    out = tmp_path_factory.mktemp("cpu")
    return step(model, pairs, out, "cpu"), (out / "samples.json").read_text()


def require_equal(adapter: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert any(tensor.any() for name, tensor in adapter.items() if "lora_B" in name), "it learned something"
    assert adapter.keys() == expected.keys()
    for name, tensor in adapter.items():
        torch.testing.assert_close(tensor, expected[name], atol=1e-5, rtol=1e-4)


def test_a_step_is_a_cpus_and_stays_within_the_promised_memory(cpu, model, pairs, tmp_path, monkeypatch):
    promised: list[budget.MemoryBudget] = []
    check = budget.check_memory

    def check_and_note(config: Any, needed: budget.MemoryBudget, smaller: Any, available: int) -> None:
        promised.append(needed)
        check(config, needed, smaller, available)

    monkeypatch.setattr(budget, "check_memory", check_and_note)
    with EmulatedGpus({0: 100 * MB}) as gpus:
        adapter = step(model, pairs, tmp_path / "gpu")
        (card,) = gpus.cards.values()
        assert card.refused == 0
        assert 0.5 * promised[0].total < card.peak <= promised[0].total
        assert card.held == 0, "nothing stays"
    require_equal(adapter, cpu[0])
    assert (tmp_path / "gpu" / "samples.json").read_text() == cpu[1]


def test_what_is_free_counts_and_not_what_the_card_has(model, pairs, tmp_path):
    with EmulatedGpus({0: 20 * MB}) as gpus:
        others = torch.zeros(10 * MB, dtype=torch.uint8, device="cuda")
        with pytest.raises(UsageError, match=r"about 1\d MB of memory are needed .* and 10 MB are there.*batch=1"):
            step(model, pairs, tmp_path / "full")
        assert gpus.cards[0].held == others.nbytes
        assert not (tmp_path / "full" / "checkpoints").exists()


def test_a_card_that_is_fuller_than_it_said_ends_it_with_what_fits(cpu, model, pairs, tmp_path, monkeypatch):
    monkeypatch.setattr(budget, "require_memory", lambda *_: None)
    with EmulatedGpus({0: 12 * MB}) as gpus:
        with pytest.raises(UsageError, match=r"memory of cuda.* is used up .*batch=1 --set accumulate=2 --force"):
            step(model, pairs, tmp_path / "run")
        assert gpus.cards[0].refused == 1
        assert find_last_checkpoint(tmp_path / "run") is None
    with EmulatedGpus({0: 12 * MB}):
        adapter = step(model, pairs, tmp_path / "anew", batch=1, accumulate=2)
    require_equal(adapter, cpu[0])
