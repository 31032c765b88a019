"""Adapters in the old and the new key layout, on a tiny Qwen2.5-VL and, by shape alone, on the full-size one."""

from __future__ import annotations

import copy
import json
import pickle
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
peft = pytest.importorskip("peft")

from conftest import PARITY  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration  # noqa: E402

from chain_of_zoom.errors import MissingError  # noqa: E402
from chain_of_zoom.networks.vlm.adapters import Adapter, attach, inject, merge, read_adapter, rename_keys  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.slow]


KINDS = ("q_proj", "o_proj", "gate_proj", "down_proj", "k_proj", "up_proj", "v_proj")
OLD_TARGETS = rf"^(model).*\.({'|'.join(KINDS)})$"
NEW_TARGETS = rf"^model\.language_model\..*\.({'|'.join(KINDS)})$"
NEW, OLD = "base_model.model.model.language_model.", "base_model.model.model."

TINY = Qwen2_5_VLConfig(
    text_config={
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 48,
        "vocab_size": 50,
        "rope_scaling": {"type": "mrope", "mrope_section": [2, 1, 1]},
        "bos_token_id": 1,
        "eos_token_id": 2,
    },
    vision_config={"depth": 1, "hidden_size": 16, "intermediate_size": 24, "num_heads": 2, "out_hidden_size": 32},
    tie_word_embeddings=True,
)
# Qwen2.5-VL-3B-Instruct, as its config.json states it.
FULL = Qwen2_5_VLConfig(
    text_config={
        "hidden_size": 2048,
        "num_hidden_layers": 36,
        "num_attention_heads": 16,
        "num_key_value_heads": 2,
        "intermediate_size": 11008,
        "vocab_size": 151936,
        "max_position_embeddings": 128000,
        "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]},
    },
    vision_config={
        "depth": 32,
        "hidden_size": 1280,
        "intermediate_size": 3420,
        "num_heads": 16,
        "out_hidden_size": 2048,
    },
    tie_word_embeddings=True,
)


@pytest.fixture(scope="module")
def tiny() -> Any:
    torch.manual_seed(0)
    return Qwen2_5_VLForConditionalGeneration(TINY).eval()


@pytest.fixture
def model(tiny: Any) -> Any:
    return copy.deepcopy(tiny)


@pytest.fixture(scope="module")
def made(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter on the language model as today's PEFT saves it, with values that matter."""
    return _save(tiny, tmp_path_factory.mktemp("adapters") / "new", NEW_TARGETS)


@pytest.fixture
def new(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "new"))


@pytest.fixture
def old(new: Path) -> Path:
    """The same adapter as transformers 4.49 laid it out."""
    _edit(new, lambda key: key.replace(NEW, OLD), target_modules=OLD_TARGETS)
    return new


def _save(tiny: Any, folder: Path, targets: Any) -> Path:
    torch.manual_seed(1)
    config = peft.LoraConfig(r=4, lora_alpha=16, target_modules=targets, init_lora_weights=False)
    with warnings.catch_warnings(action="ignore"):
        peft.get_peft_model(copy.deepcopy(tiny), config).save_pretrained(folder)
    return folder


def _edit(folder: Path, rename: Any = None, tensors: Any = None, **config: Any) -> None:
    weights = folder / "adapter_model.safetensors"
    if rename:
        save_file({rename(key): value for key, value in load_file(weights).items()}, weights)
    if tensors:
        save_file(tensors(load_file(weights)), weights)
    if config:
        path = folder / "adapter_config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **config}))


def _logits(model: Any) -> Any:
    with torch.inference_mode():
        return model(input_ids=torch.arange(3, 23)[None]).logits


def _weights(model: Any) -> dict[str, Any]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def _same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_merged_is_unmerged_and_neither_is_the_base(model, tiny, old):
    unmerged = _logits(attach(copy.deepcopy(model), read_adapter(old)))
    merged = _logits(merge(model, read_adapter(old)))
    torch.testing.assert_close(merged, unmerged, rtol=0, atol=1e-5)
    assert (merged - _logits(tiny)).abs().max() > 0.1


def test_merging_is_w_plus_scale_b_a_on_every_language_linear_and_nothing_else(model, tiny, old):
    before, after = _weights(tiny), _weights(merge(model, read_adapter(old)))
    lora = load_file(old / "adapter_model.safetensors")
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {key.replace(OLD, "model.language_model.")[: -len(".lora_A.weight")] + ".weight" for key in lora}
    assert len(changed) == 2 * len(KINDS)
    for name in changed:
        key = OLD + name.removeprefix("model.language_model.").removesuffix(".weight")
        delta = 16 / 4 * lora[f"{key}.lora_B.weight"] @ lora[f"{key}.lora_A.weight"]
        torch.testing.assert_close(after[name], before[name] + delta, rtol=0, atol=1e-6)


def test_old_and_new_layout_give_the_same_weights(model, made, old):
    assert _same(_weights(merge(copy.deepcopy(model), read_adapter(old))), _weights(merge(model, read_adapter(made))))


def test_an_old_adapter_that_also_trained_the_vision_tower(model, tiny, tmp_path):
    folder = _save(tiny, tmp_path / "both", ["q_proj", "gate_proj", "qkv"])
    as_new = _weights(merge(copy.deepcopy(model), read_adapter(folder)))
    _edit(folder, lambda key: key.replace(NEW, OLD).replace("model.model.visual.", "model.visual."))
    assert any(key.startswith("base_model.model.visual.") for key in load_file(folder / "adapter_model.safetensors"))
    assert _same(_weights(merge(model, read_adapter(folder))), as_new)


def test_keys_that_fit_are_left_alone_and_strange_ones_are_not_guessed_at():
    modules = {"model.language_model.layers.0.q", "model.text_model.layers.0.q", "model.visual.v"}
    fits = ["base_model.model.model.text_model.layers.0.q.lora_A.weight", f"{NEW}layers.0.q.lora_B.weight"]
    strange = ["base_model.model.model.layers.7.q.lora_A.weight"]
    assert rename_keys(fits + strange, modules) == {key: key for key in fits + strange}
    assert rename_keys([f"{OLD}layers.0.q.lora_A.weight"], modules) == {
        f"{OLD}layers.0.q.lora_A.weight": f"{NEW}layers.0.q.lora_A.weight"
    }


def test_an_adapter_of_a_model_with_more_layers_names_the_first_keys(model, old):
    extra = {f"{OLD}layers.{i}.mlp.up_proj.lora_A.weight": torch.zeros(4, 32) for i in (2, 3, 4, 5)}
    _edit(old, tensors=lambda tensors: tensors | extra)
    with pytest.raises(MissingError, match=r"fit no module.*layers\.2\.mlp\.up_proj\.lora_A\.weight, .* and 1 more"):
        merge(model, read_adapter(old))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"r": 8}, r"wrong shape .*\[4, 32\] instead of \[8, 32\]"),
        ({"tensors": lambda t: {k: v[:, :-1].contiguous() for k, v in t.items()}}, "wrong shape"),
        ({"tensors": lambda t: {k: v for k, v in t.items() if "layers.1.mlp" not in k}}, "no values for some"),
        ({"tensors": lambda t: {k: v / 0 for k, v in t.items()}}, "not numbers"),
        ({"tensors": lambda t: t | {k.replace(OLD, NEW): v.clone() for k, v in t.items()}}, "two keys for one weight"),
        ({"rename": lambda key: key.replace("q_proj", "query")}, r"fit no module .*query\.lora_A"),
        ({"rename": lambda key: key.replace("lora_A", "lora_C")}, "no layer uses .*lora_C"),
        ({"layers_to_transform": [0], "target_modules": list(KINDS)}, "does not fit this model .*layers_to_transform"),
    ],
)
def test_an_adapter_that_does_not_fit_is_refused(model, old, change, message):
    _edit(old, **change)
    with pytest.raises(MissingError, match=message) as caught:
        merge(model, read_adapter(old))
    assert "\n" not in str(caught.value)


def test_a_new_adapter_whose_regex_misses_some_of_its_keys_is_refused(model, new):
    _edit(new, target_modules=NEW_TARGETS.replace("|v_proj", ""))
    with pytest.raises(MissingError, match=r"no layer uses .*v_proj"):
        merge(model, read_adapter(new))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"peft_type": "IA3"}, "accepted: LORA"),
        ({"peft_type": "NONSENSE"}, "cannot be read"),
        ({"peft_type": None}, "cannot be read"),
    ],
)
def test_other_kinds_of_adapter_are_refused(new, config, message):
    if config["peft_type"] == "IA3":
        (new / "adapter_config.json").write_text('{"peft_type": "IA3", "target_modules": ["q_proj"]}')
    else:
        _edit(new, **config)
    with pytest.raises(MissingError, match=message):
        read_adapter(new)


def test_damaged_and_absent_files(new, tmp_path):
    with pytest.raises(MissingError, match="is not there; accepted: a PEFT LoRA folder"):
        read_adapter(tmp_path / "nowhere")
    weights, config = new / "adapter_model.safetensors", new / "adapter_config.json"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(MissingError, match="damaged"):
        read_adapter(new)
    weights.unlink()
    with pytest.raises(MissingError, match=r"adapter_model\.safetensors are not there"):
        read_adapter(new)
    config.write_text("{not json")
    with pytest.raises(MissingError, match="cannot be read"):
        read_adapter(new)
    config.unlink()
    with pytest.raises(MissingError, match=r"has no adapter_config\.json"):
        read_adapter(new)


class _Trap:
    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return Path.touch, (self.file,)


def test_a_pickled_adapter_is_not_opened(new, tmp_path):
    (new / "adapter_model.safetensors").unlink()
    (new / "adapter_model.bin").write_bytes(pickle.dumps(_Trap(tmp_path / "sprung")))
    with pytest.raises(MissingError, match="convert it to safetensors"):
        read_adapter(new)
    assert not (tmp_path / "sprung").exists()


def test_the_published_configuration_fits_the_full_size_model_key_for_key():
    """Every one of 36 x 7 Linears of the language model gets its A and its B, and no other module gets anything."""
    with torch.device("meta"):
        model = Qwen2_5_VLForConditionalGeneration(FULL)
    linears = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and name.startswith("model.language_model.")
    }
    assert sum(p.numel() for p in model.parameters()) == 3_754_622_976
    assert len(linears) == 36 * 7
    config = peft.PeftConfig.from_pretrained(str(PARITY / "tiny_qwen_adapter"))
    assert config.target_modules == OLD_TARGETS
    tensors = {}
    for name, linear in linears.items():
        key = OLD + name.removeprefix("model.language_model.")
        tensors[f"{key}.lora_A.weight"] = torch.empty(8, linear.in_features, device="meta")
        tensors[f"{key}.lora_B.weight"] = torch.empty(linear.out_features, 8, device="meta")
    wrapped, mapped = inject(model, Adapter(Path("published"), config, tensors))
    layers = [name for name, module in wrapped.named_modules() if isinstance(module, peft.tuners.lora.LoraLayer)]
    assert layers == ["base_model.model." + name for name in linears]
    assert sorted(mapped) == sorted(f"{layer}.lora_{half}.weight" for layer in layers for half in "AB")
    assert len(mapped) == len(tensors) == 504


def test_the_keys_made_up_for_the_full_size_model_are_in_the_layout_of_the_published_code():
    keys = load_file(PARITY / "tiny_qwen_adapter" / "adapter_model.safetensors").keys()
    parts = {
        f"self_attn.{kind}" if kind in ("q_proj", "k_proj", "v_proj", "o_proj") else f"mlp.{kind}" for kind in KINDS
    }
    assert set(keys) == {
        f"{OLD}layers.{i}.{part}.lora_{half}.weight" for i in range(3) for part in parts for half in "AB"
    }
