"""The local vision-language model: the published texts, word for word, and every way a model can be wrong."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("peft")

from conftest import PARITY, noise  # noqa: E402

from chain_of_zoom.errors import BackboneError, BadInputError, MissingError, UsageError  # noqa: E402
from chain_of_zoom.imaging.images import enlarge, load  # noqa: E402
from chain_of_zoom.prompters.base import PromptContext, chat  # noqa: E402
from chain_of_zoom.prompters.vlm import Vlm, generate_answers  # noqa: E402
from chain_of_zoom.runtime import placement  # noqa: E402
from chain_of_zoom.weights.files import file_sha256  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.slow]


QWEN, ADAPTER = PARITY / "tiny_qwen", PARITY / "tiny_qwen_adapter"

TEMPLATE = (
    "{% for m in messages %}{{ m['role'] }}: {% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<image>{% else %}{{ c['text'] }}{% endif %}{% endfor %}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Tiny layers gain nothing from threads, which on a busy machine wait for each other: 0.2 s become 9."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def context(seed: int = 0, side: int = 64) -> PromptContext:
    return PromptContext([noise(side, side, seed)], noise(side, side, seed + 100), 4.0)


def as_one_batch(vlm: Vlm, contexts: list[PromptContext]) -> list[str]:
    return generate_answers(vlm._loaded(), [chat(each) for each in contexts], vlm.max_new_tokens)


@pytest.fixture(scope="module")
def step1() -> PromptContext:
    """Step 1 of the published run: the whole state 0, and the centre of it enlarged."""
    state = load(PARITY / "cases" / "recursive" / "0.png").pixels
    zoomed = enlarge(state[192:320, 192:320], 4)
    np.testing.assert_array_equal(zoomed, load(PARITY / "cases" / "recursive" / "1_input.png").pixels)
    return PromptContext([state], zoomed, 4.0)


@pytest.fixture(scope="module")
def aligned() -> Vlm:
    return Vlm(str(QWEN), ADAPTER)


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A copy of the tiny model, to be damaged."""
    folder = Path(shutil.copytree(QWEN, tmp_path / "model", copy_function=shutil.copyfile))
    folder.chmod(0o755)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "adapter", "multi_scale"),
    [("vlm", ADAPTER, True), ("vlm_base", None, True), ("vlm, one image (recursive)", ADAPTER, False)],
)
def test_the_text_is_that_of_the_published_code(step1, case, adapter, multi_scale):
    expected = json.loads((PARITY / "cases" / "vlm_prompts_step1.json").read_text())[case]
    assert Vlm(str(QWEN), adapter, multi_scale)([step1]) == [expected]


@pytest.mark.slow
def test_alone_and_in_company_the_text_is_the_same_and_in_order(aligned, step1):
    contexts = [context(1), step1, context(2, 96)]
    together = aligned(contexts)
    assert together == [aligned([each])[0] for each in contexts]
    assert len(set(together)) == 3
    assert aligned([]) == []


@pytest.mark.slow
def test_a_batch_as_on_a_gpu_is_padded_on_the_left_and_gives_the_same_texts(aligned):
    """Pictures of different sizes make prompts of different lengths; float sums differ, these texts do not."""
    contexts = [context(1), context(2, 160), context(3, 96)]
    assert as_one_batch(aligned, contexts) == aligned(contexts)
    processor = aligned._loaded().processor
    inputs = processor(
        text=["<|image_pad|>", "<|image_pad|> moss"], images=[[noise(56, 56)]] * 2, padding=True, return_tensors="pt"
    )
    assert inputs["attention_mask"][0, 0] == 0
    assert inputs["attention_mask"][0, -1] == 1


@pytest.mark.slow
def test_a_cache_of_fixed_size_and_a_padded_batch_give_the_same_texts(aligned, monkeypatch):
    """What is compiled on CUDA; here it only runs. The batch is filled up to its one size."""
    model, asked = aligned._loaded().model, []
    residence = aligned._residence
    monkeypatch.setattr(residence, "placement", replace(residence.placement, static=True))
    monkeypatch.setattr(aligned, "_batch", 4)
    generate = model.generate
    monkeypatch.setattr(
        model, "generate", lambda **inputs: asked.append((len(inputs["input_ids"]), inputs)) or generate(**inputs)
    )
    contexts = [context(1), context(2, 160), context(3, 96)]
    texts = aligned(contexts)
    assert [(count, inputs["cache_implementation"]) for count, inputs in asked] == [(4, "static")]
    monkeypatch.undo()
    assert texts == aligned(contexts)


@pytest.mark.slow
def test_a_compiled_batch_that_does_not_fit_is_halved_and_not_filled_up_again(aligned, monkeypatch):
    model, counts = aligned._loaded().model, []
    residence, generate = aligned._residence, model.generate
    monkeypatch.setattr(residence, "placement", replace(residence.placement, static=True))
    monkeypatch.setattr(aligned, "_batch", 4)

    def generate_two(**inputs):
        counts.append(len(inputs["input_ids"]))
        if counts[-1] > 2:
            raise torch.OutOfMemoryError
        return generate(**inputs)

    monkeypatch.setattr(model, "generate", generate_two)
    contexts = [context(1), context(2), context(3)]
    texts = aligned(contexts)
    assert counts == [4, 1, 1, 1]
    assert aligned.fallbacks() == ["prompter out of GPU memory with 3 at once; 1 at once"]
    monkeypatch.undo()
    assert texts == aligned(contexts)


@pytest.mark.slow
def test_out_of_memory_fewer_are_asked_at_once_and_then_the_rest_leaves_the_gpu(aligned, monkeypatch):
    contexts = [context(1), context(2), context(3)]
    expected = aligned(contexts)
    assert aligned.fallbacks() == []
    room, real, left = 1, aligned._ask, []

    def ask(some):
        if len(some) > room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(some)

    monkeypatch.setattr(aligned, "_ask", ask)
    monkeypatch.setattr(aligned, "_batch", 3)
    assert aligned(contexts) == expected
    assert aligned.fallbacks() == ["prompter out of GPU memory with 3 at once; 1 at once"]

    def offload(stage):
        nonlocal room
        room = 1
        left.append(stage)
        return len(left) == 1

    monkeypatch.setattr(aligned._residence, "offload", offload)
    room = 0
    assert aligned(contexts) == expected
    assert left == ["prompts"]
    assert aligned.fallbacks() == ["out of GPU memory; all models but the prompter's moved off the GPU"]
    room = -1
    with pytest.raises(BackboneError, match="does not fit into the memory of the GPU"):
        aligned(contexts)


def test_with_little_memory_the_weights_are_in_int8(step1):
    low = Vlm(str(QWEN), ADAPTER, memory="low", device="cpu")
    assert len(low([step1])[0]) > 0
    assert low._residence.as_record() == {"memory": "low", "vlm": "cpu float32 with int8 weights"}


@pytest.mark.slow
def test_the_picture_is_rounded_to_multiples_of_28_and_the_question_is_a_system_turn(aligned, step1, monkeypatch):
    model, processor = aligned._loaded()
    seen: dict[str, Any] = {}
    generate = model.generate
    monkeypatch.setattr(model, "generate", lambda **inputs: seen.update(inputs) or generate(**inputs))
    aligned([step1])
    assert seen["image_grid_thw"].tolist() == [[1, 36, 36]] * 2
    text = processor.tokenizer.decode(seen["input_ids"][0])
    assert text.replace("<|image_pad|>", "").endswith(
        "<|im_end|>\n<|im_start|>user\n<|vision_start|><|vision_end|><|vision_start|><|vision_end|><|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    question = chat(step1)[0]["content"][0]["text"]
    assert text.startswith(processor.tokenizer.decode(processor.tokenizer(f"<|im_start|>system\n{question}").input_ids))
    assert not seen.keys() & {"do_sample", "temperature", "top_p", "top_k", "repetition_penalty", "generation_config"}
    assert seen["max_new_tokens"] == 32


@pytest.mark.slow
def test_a_model_that_samples_is_repeatable_and_leaves_random_numbers_alone(step1):
    vlm = Vlm(str(QWEN), max_new_tokens=12)
    greedy = vlm([step1])
    config = vlm._loaded().model.generation_config
    config.do_sample, config.temperature = True, 5.0
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    sampled = vlm([step1])
    torch.testing.assert_close(torch.rand(3), expected, rtol=0, atol=0)
    assert vlm([context(4), step1])[1] == sampled[0] != greedy[0]


@pytest.mark.slow
def test_the_number_of_new_tokens(aligned, step1):
    assert aligned([step1])[0].startswith(Vlm(str(QWEN), ADAPTER, max_new_tokens=4)([step1])[0])
    assert len(Vlm(str(QWEN), ADAPTER, max_new_tokens=4)([step1])[0].split()) == 4


def test_a_picture_of_extreme_proportions(aligned):
    strip = PromptContext([noise(8, 2400)], noise(8, 2400), 4.0)
    with pytest.raises(BadInputError, match="cannot be shown these pictures"):
        aligned([strip])


def test_sha256_of_local_weights():
    model, adapter = file_sha256(QWEN / "model.safetensors"), file_sha256(ADAPTER / "adapter_model.safetensors")
    assert Vlm(str(QWEN), ADAPTER).weights_sha256() == {
        "model/model.safetensors": model,
        "adapter/adapter_model.safetensors": adapter,
    }
    assert Vlm(adapter=ADAPTER).weights_sha256() == {"adapter/adapter_model.safetensors": adapter}
    assert Vlm().weights_sha256() == {}


@pytest.fixture(scope="module")
def llava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another family of models, made up here: CLIP and Llama, a tokenizer of words without a padding token."""
    from tokenizers import Tokenizer, pre_tokenizers
    from tokenizers import models as kinds

    folder = tmp_path_factory.mktemp("llava")
    words = ["[UNK]", "</s>", "<image>", "assistant", "system", "user", ":", "moss", "fur", "bark", "leaf", "sand"]
    raw = Tokenizer(kinds.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    raw.add_special_tokens(["<image>"])
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=raw, unk_token="[UNK]", eos_token="</s>")
    pictures = transformers.models.clip.CLIPImageProcessorPil(size={"shortest_edge": 28}, crop_size=28)
    transformers.LlavaProcessor(
        pictures,
        tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=TEMPLATE,
    ).save_pretrained(folder)
    width = {
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "initializer_range": 0.5,
    }
    torch.manual_seed(0)
    transformers.LlavaForConditionalGeneration(
        transformers.LlavaConfig(
            vision_config=transformers.CLIPVisionConfig(**width, image_size=28, patch_size=14),
            text_config=transformers.LlamaConfig(**width, vocab_size=len(words), eos_token_id=1, bos_token_id=None),
            image_token_index=2,
        )
    ).save_pretrained(folder)
    return folder


@pytest.mark.slow
def test_another_family_of_models(llava):
    vlm = Vlm(str(llava), max_new_tokens=5)
    black, white = (
        PromptContext([np.full_like(noise(64, 64), v)], np.full_like(noise(64, 64), v), 4.0) for v in (0, 255)
    )
    texts = vlm([black, white])
    assert texts == [vlm([black])[0], vlm([white])[0]] == as_one_batch(vlm, [black, white])
    assert texts[0] != texts[1]
    assert all(0 < len(text.split()) <= 5 for text in texts)


@pytest.mark.slow
def test_making_one_reads_nothing():
    vlm = Vlm("/no/such/folder", "/no/such/adapter")
    assert (vlm.name, vlm.multi_scale, vlm.max_new_tokens) == ("vlm", True, 32)
    code = "import sys; from chain_of_zoom.prompters.vlm import Vlm; Vlm(); sys.exit('transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.skipif(torch.cuda.is_available(), reason="about machines without CUDA")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"memory": "little"}, "memory 'little'; accepted: auto, low"),
        ({"dtype": "bfloat16"}, "dtype bfloat16 on a CPU"),
        ({"dtype": "float16", "device": "cpu"}, "dtype float16 on a CPU"),
        ({"dtype": "int8"}, "accepted: auto, float32"),
        ({"device": "tpu"}, "accepted: auto, cpu, gpu, cuda"),
        ({"device": "cuda"}, "device cuda is not there"),
        ({"max_new_tokens": 0}, "accepted: 1 or more"),
    ],
)
def test_options(options, message, monkeypatch):
    monkeypatch.setattr(placement, "cpu_has_bfloat16", lambda: False)
    with pytest.raises(UsageError, match=message):
        Vlm(**options)
    assert Vlm().dtype == Vlm(dtype="float32").dtype == torch.float32


@pytest.mark.parametrize(("capability", "dtype"), [((8, 6), torch.bfloat16), ((7, 5), torch.float16)])
def test_on_cuda_auto_is_the_short_type_that_the_card_computes_in(monkeypatch, capability, dtype):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    vlm = Vlm()
    assert (vlm.device.type, vlm.dtype) == ("cuda", dtype)


def fails(model: object, message: str, adapter: Path | None = None) -> None:
    with pytest.raises(MissingError, match=message) as caught:
        Vlm(str(model), adapter)([context()])
    assert "\n" not in str(caught.value)
    assert "accepted: " in str(caught.value)


def test_a_folder_that_is_not_there_or_empty(tmp_path):
    fails(tmp_path / "nowhere", "model folder .*nowhere is not there")
    fails(tmp_path, "cannot be loaded")
    with pytest.raises(MissingError, match="is not there"):
        Vlm(str(tmp_path / "nowhere")).weights_sha256()


def no_network(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:

    def refuse(*_: object, **__: object) -> None:
        pytest.fail("asked the network")  # no Exception, so no library swallows it

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    monkeypatch.setenv("HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_a_hub_name_without_a_cache_asks_no_network(tmp_path, monkeypatch):
    no_network(tmp_path, monkeypatch)
    fails(
        "Qwen/Qwen2.5-VL-3B-Instruct",
        r"not on this machine.*type: coz models get qwen \(about 7\.5 GB; .*non-commercial research licence",
    )
    fails("OpenGVLab/InternVL3-2B-hf", "type: hf download OpenGVLab/InternVL3-2B-hf")


@pytest.mark.slow
def test_a_hub_name_in_the_cache_is_found_there_without_network(tmp_path, monkeypatch, step1):
    no_network(tmp_path, monkeypatch)
    entry = tmp_path / "models--Qwen--Qwen2.5-VL-3B-Instruct"
    (entry / "refs").mkdir(parents=True)
    (entry / "refs" / "main").write_text("a" * 40)
    (entry / "snapshots").mkdir()
    (entry / "snapshots" / ("a" * 40)).symlink_to(QWEN)
    assert Vlm(max_new_tokens=4)([step1]) == Vlm(str(QWEN), max_new_tokens=4)([step1])


def test_a_model_that_is_no_vlm():
    fails(PARITY / "tiny_sd3" / "text_encoder", "is a clip_text_model, no vision-language model")


def test_a_model_with_code_of_its_own_is_for_a_server(tmp_path):
    (tmp_path / "config.json").write_text('{"auto_map": {"AutoConfig": "a.B"}, "model_type": "internvl_chat"}')
    fails(tmp_path, "comes with code of its own, which is never run here; .* vllm serve .* --trust-remote-code")


@pytest.mark.slow
def test_damaged_models(broken):
    weights = broken / "model.safetensors"
    tensors = weights.read_bytes()
    weights.write_bytes(tensors[:5000])
    fails(broken, "cannot be loaded")
    weights.unlink()
    fails(broken, "cannot be loaded")
    (broken / "pytorch_model.bin").write_bytes(tensors)
    fails(broken, "cannot be loaded .*safetensors")
    (broken / "vocab.json").unlink()
    (broken / "merges.txt").unlink()
    fails(broken, "cannot be loaded|has no chat template")
    (broken / "config.json").write_text("{nothing")
    fails(broken, "cannot be loaded")


def test_a_model_without_some_of_its_weights(broken):
    from safetensors.torch import load_file, save_file

    weights = broken / "model.safetensors"
    tensors = load_file(weights)
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, weights, {"format": "pt"})
    fails(broken, r"lacks 1 of its weights \(model\.language_model\.layers\.1\.mlp\.up_proj\.weight\)")


def test_a_model_without_a_chat_template_or_with_code_of_its_own(broken):
    template = broken / "chat_template.json"
    template.unlink()
    fails(broken, "has no chat template")
    config = json.loads((broken / "config.json").read_text())
    (broken / "config.json").write_text(
        json.dumps({**config, "model_type": "mine", "auto_map": {"AutoConfig": "mine.Mine"}})
    )
    (broken / "mine.py").write_text(f"open({str(broken / 'ran')!r}, 'w')")
    fails(broken, "comes with code of its own, which is never run here")
    assert not (broken / "ran").exists()


def test_a_wrong_adapter_is_found_before_the_weights_are_read(broken, tmp_path):
    (broken / "model.safetensors").unlink()
    fails(broken, "adapter folder .*elsewhere is not there", tmp_path / "elsewhere")
