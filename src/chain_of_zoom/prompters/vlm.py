"""The paper's prompter: a vision-language model on this machine that says what is in the pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from chain_of_zoom.errors import BackboneError, BadInputError, UsageError
from chain_of_zoom.networks.vlm.loading import DEFAULT_MODEL, LoadedVlm, load_vlm, local_folder
from chain_of_zoom.prompters.base import Messages, PromptContext, chat
from chain_of_zoom.prompters.local import LocalPrompter
from chain_of_zoom.runtime.int8 import to_int8
from chain_of_zoom.runtime.placement import choose_device, choose_dtype, find_dtype
from chain_of_zoom.runtime.plan import NetworkPart
from chain_of_zoom.runtime.precision import cast
from chain_of_zoom.runtime.residence import Residence
from chain_of_zoom.runtime.retry import name_dtype
from chain_of_zoom.weights.files import count_parameters, is_quantisable
from chain_of_zoom.weights.hashes import remember_sha256
from chain_of_zoom.weights.hub import find_model

_LEFT_FLOAT16 = "prompter came out unusable in float16; in bfloat16 from there on"


class NumberWatch:
    """Watches the scores of every word that a model writes; to transformers it is a processor of logits."""

    def __init__(self) -> None:
        self._is_nan: torch.Tensor | None = None

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Look for NaN, without waiting for the device; return the scores as they are."""
        is_nan = scores.isnan().any()
        self._is_nan = is_nan if self._is_nan is None else self._is_nan | is_nan
        return scores

    def has_seen_nan(self) -> bool:
        """Tell whether any score was NaN, from which words follow that mean nothing."""
        return self._is_nan is not None and bool(self._is_nan)


class Vlm(LocalPrompter):
    """Words from a vision-language model (paper, section 3.2), with or without the aligned adapter (section 3.3).

    model: a folder, or a name in the Hugging Face cache; nothing is downloaded. adapter: a PEFT LoRA folder, merged.
    multi_scale: show the previous state, whole, before the zoomed window (AR-2), not the window alone.
    device, dtype, memory: "auto" is CUDA with bfloat16 where there is one, else CPU with float32, and int8 weights only
    where nothing else fits (docs/performance.md, Placement). Out of memory, fewer pictures are shown at once; where
    scores of words are NaN in float16, which ends before the model's own bfloat16, it goes on in that, and says so.
    The text depends on the pictures alone; whether it is sampled is up to the model's own generation config.
    Raises UsageError for options. Weights are read by `load`, or the first call.
    """

    name = "vlm"

    def __init__(
        self,
        model: str = DEFAULT_MODEL,
        adapter: str | Path | None = None,
        multi_scale: bool = True,
        max_new_tokens: int = 32,
        device: str = "auto",
        dtype: str = "auto",
        memory: str = "auto",
    ) -> None:
        super().__init__(device, dtype, memory)
        if max_new_tokens < 1:
            raise UsageError(f"max_new_tokens is {max_new_tokens}; accepted: 1 or more; the paper's is 32")
        self.model = str(model)
        self.adapter = adapter
        self.multi_scale = multi_scale
        self.max_new_tokens = max_new_tokens
        self.device = choose_device(device)
        self.dtype = choose_dtype(dtype, self.device)
        self._parts: LoadedVlm | None = None
        self._has_left_float16 = False
        self._sha256: dict[str, str] | None = None

    def weights_sha256(self) -> dict[str, str]:
        """Return the SHA-256 of every safetensors file of a local model and of the adapter; computed once."""
        if self._sha256 is None:
            folders = {"model": local_folder(self.model), "adapter": Path(self.adapter) if self.adapter else None}
            self._sha256 = {
                f"{role}/{file.name}": remember_sha256(file)
                for role, folder in folders.items()
                if folder is not None
                for file in sorted(folder.expanduser().glob("*.safetensors"))
            }
        return dict(self._sha256)

    def _list_parts(self) -> tuple[NetworkPart, ...]:
        return (vlm_part(find_model(self.model) or Path(self.model)),)

    def _read(self, residence: Residence) -> None:
        self.dtype, self.device = find_dtype(residence.dtype("vlm")), torch.device(residence.device("prompts"))
        parts = load_vlm(self.model, self.adapter, torch.device("cpu"), self.dtype)
        if residence.int8("vlm"):
            to_int8(parts.model)
        residence.add("prompts", parts.model)
        self._parts = parts

    def _loaded(self) -> LoadedVlm:
        self.load()
        assert self._parts
        return self._parts

    def ask(self, conversations: Sequence[Messages]) -> list[str]:
        """Return one answer per conversation (see `chat`), in order. Raises the errors of a call."""
        return self._ask_together(conversations, self._answer)

    def _ask(self, contexts: Sequence[PromptContext]) -> list[str]:
        return self._answer([chat(context, multi_scale=self.multi_scale) for context in contexts])

    def _answer(self, conversations: Sequence[Messages]) -> list[str]:
        vlm = self._loaded()
        assert self._residence
        count = len(conversations)
        # With a cache of fixed size transformers compiles the decoding, on CUDA.
        cache: dict[str, Any] = {"cache_implementation": "static"} if self._residence.placement.static else {}
        if cache:  # a power of two, so that few shapes are compiled; never more than was found to fit
            conversations = [*conversations, *[conversations[-1]] * ((1 << (count - 1).bit_length()) - count)]
        watch = NumberWatch()
        options = cache | {"device": self.device, "dtype": self.dtype, "logits_processor": [watch]}
        with self._residence.using("prompts"):
            answers = generate_answers(vlm, conversations, self.max_new_tokens, **options)
        if watch.has_seen_nan():
            if self.dtype != torch.float16:
                raise BackboneError(
                    f"{self.model} computed NaN in {name_dtype(self.dtype)}; accepted: another precision, or another "
                    "prompter; type: --dtype float32, or --prompter null"
                )
            self._leave_float16(vlm)
            return self._answer(conversations)[:count]
        return answers[:count]

    def fallbacks(self) -> list[str]:
        """Return how the last call made do with little memory, and with which numbers."""
        return super().fallbacks() + ([_LEFT_FLOAT16] if self._has_left_float16 else [])

    def _leave_float16(self, vlm: LoadedVlm) -> None:
        """Go on in bfloat16, whose numbers are as large as those of float32; cards before Ampere emulate it."""
        assert self._residence
        self._residence.release()  # or weights would come back from the host as they were
        cast(vlm.model, torch.bfloat16)
        self.dtype = torch.bfloat16
        self._residence.changed["vlm"] = f"{self._residence.device('prompts')} bfloat16"
        self._has_left_float16 = True


def vlm_part(folder: Path) -> NetworkPart:
    """Return the size of a vision-language model; its work is for two pictures of 512 x 512 px and 32 words."""
    count, large = (count_parameters(folder, counts) for counts in (bool, is_quantisable))
    return NetworkPart(name="vlm", stage="prompts", parameters=count, quantisable=large, work=400_000_000)


def generate_answers(
    vlm: LoadedVlm,
    conversations: Sequence[Messages],
    max_new_tokens: int,
    *,
    greedy: bool = False,
    device: torch.device | None = None,
    dtype: torch.dtype | None = None,
    **options: Any,
) -> list[str]:
    """Return a model's answer to each conversation, as one batch; by its own generation config, unless greedy.

    device, dtype: of its inputs; the model's own by default. options: of its `generate`.
    Raises BadInputError for pictures that the model cannot be shown.
    """
    model, processor = vlm
    try:
        inputs = processor.apply_chat_template(
            [convert_pictures(messages) for messages in conversations],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"padding": True},
        ).to(device or model.device, dtype=dtype or model.dtype)
    except ValueError as error:
        raise BadInputError(
            f"{model.name_or_path} cannot be shown these pictures ({str(error)[:120]}); accepted: windows of usual "
            "proportions; choose another prompter, such as null"
        ) from error
    # Some models sample: a seed of its own makes the text repeatable and leaves other random numbers alone.
    chosen = {"do_sample": False} if greedy else {}
    with torch.inference_mode(), torch.random.fork_rng(range(torch.cuda.device_count())):
        torch.manual_seed(0)
        tokens = model.generate(**inputs, max_new_tokens=max_new_tokens, **chosen, **options)
    if not model.config.is_encoder_decoder:
        tokens = tokens[:, inputs["input_ids"].shape[1] :]
    texts: list[str] = processor.tokenizer.batch_decode(
        tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False
    )
    return texts


def convert_pictures(messages: Messages) -> Messages:
    """Put PIL pictures in place of arrays, whose channel axis processors would have to guess."""
    return [
        {
            "role": message["role"],
            "content": [
                {**part, "image": Image.fromarray(part["image"])} if part["type"] == "image" else part
                for part in message["content"]
            ],
        }
        for message in messages
    ]
