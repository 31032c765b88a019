"""Memory of an alignment, by hand for one model."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from chain_of_zoom.alignment.training.budget import MemoryBudget, check_memory, estimate_memory  # noqa: E402
from chain_of_zoom.alignment.training.config import resolve  # noqa: E402
from chain_of_zoom.errors import UsageError  # noqa: E402
from chain_of_zoom.networks.vlm.loading import LoadedVlm  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.slow]


LAYERS, HIDDEN, INNER, WORDS = 36, 2048, 11008, 151936
PROMPT, NEW = 700, 32


@pytest.fixture(scope="module")
def papers_model() -> LoadedVlm:
    text = {"hidden_size": HIDDEN, "intermediate_size": INNER, "num_hidden_layers": LAYERS, "vocab_size": WORDS}
    heads = {"num_attention_heads": 16, "num_key_value_heads": 2, "tie_word_embeddings": True}
    vision = {"hidden_size": 1280, "intermediate_size": 3420, "depth": 32, "num_heads": 16, "out_hidden_size": HIDDEN}
    config = transformers.Qwen2_5_VLConfig(
        text_config={**text, **heads}, vision_config=vision, tie_word_embeddings=True
    )
    with torch.device("meta"):
        return LoadedVlm(transformers.AutoModelForImageTextToText.from_config(config), None)


def of(model: LoadedVlm, *, checkpointing: bool = True, critic: int = 0, **changed: int) -> MemoryBudget:
    config = resolve("paper", {"data": "d", "model": "m", "critic": {"name": "c"}}, changed)
    return estimate_memory(config, model, prompt=PROMPT, width=2, checkpointing=checkpointing, critic=critic)


@pytest.mark.slow
def test_the_papers_model_by_hand(papers_model):
    parts = dict(of(papers_model).parts)
    assert parts["weights"] == pytest.approx(2 * 3.75e9, rel=0.02)  # as its card says
    assert parts["adapter, its gradients and optimizer"] == 14_966_784 * (4 + 4 + 8)
    layer = 2 * (10 * HIDDEN + 4 * INNER) + 2 * 4 * (6 * HIDDEN + INNER)
    vision = 4 * PROMPT * (32 * 2 * 1280 + 2 * (10 * 1280 + 4 * 3420))
    logits = 2 * (PROMPT + NEW) * 32_768 * 2  # of all words they are never there at a time
    activations = 2 * (vision + (PROMPT + NEW) * (LAYERS * 2 * HIDDEN + layer)) + logits
    assert parts["activations of 2 texts"] == activations
    assert parts["keys and values"] == 8 * (PROMPT + NEW) * LAYERS * 2 * (2 * 128) * 2
    assert of(papers_model).total == sum(parts.values())


def test_what_costs_what(papers_model):
    plain = of(papers_model).total
    assert of(papers_model, checkpointing=False).total > 3 * plain - 2 * 7.5e9
    assert of(papers_model, batch=3).total - plain == pytest.approx(
        of(papers_model, batch=4).total - of(papers_model, batch=3).total
    )
    assert of(papers_model, critic=16_000_000_000).total == plain + 16_000_000_000
    assert of(papers_model, batch=1, accumulate=2).total < plain


def test_what_fits_is_said(papers_model):
    config = resolve("safe", {"data": "d", "model": "m", "critic": {"name": "c"}})
    needed, single = of(papers_model, batch=8, group=8), of(papers_model, batch=1, accumulate=8)
    check_memory(config, needed, single, needed.total)
    with pytest.raises(UsageError, match=r"for example --set batch=1 --set accumulate=8 \(about 10 GB\)"):
        check_memory(config, needed, single, single.total)
    with pytest.raises(UsageError, match=r"accepted: what fits; for example a smaller --model, or a device with about"):
        check_memory(config, needed, single, 6_000_000_000)
    both = of(papers_model, batch=8, group=8, critic=16_000_000_000)
    with pytest.raises(UsageError, match=r"16 GB critic\).*a critic behind a URL, a smaller --model"):
        check_memory(config, both, both, 24_000_000_000)
