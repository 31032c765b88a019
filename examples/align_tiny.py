"""An alignment from beginning to end in minutes, on a CPU and offline: python examples/align_tiny.py OUT

It makes a tiny vision-language model of random numbers, pairs from one photo, and a stand-in for the critic that likes
texts about space, behind the same kind of server that a real one would have. Then it calls `coz align`. What is learned
is as plain as the critic; that the reward rises, and that texts change, is what there is to see: OUT/report.html.
"""

from __future__ import annotations

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import torch
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLImageProcessorPil,
)
from transformers.utils.logging import disable_progress_bar

from chain_of_zoom.cli.app import main
from chain_of_zoom.prompters.base import MULTI_SCALE

PHOTO = Path(__file__).parent / "astronaut.png"
SPACE = ["astronaut", "helmet", "orbit", "rocket", "shuttle", "space", "suit", "visor"]
OTHERS = [
    *("bark", "brick", "cloth", "feather", "flag", "fur", "glass", "grass", "hair", "leaf", "metal", "moss", "paint"),
    *("paper", "petal", "rust", "sand", "skin", "smile", "stone", "stripe", "thread", "water", "wood"),
]
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>"]
SPECIAL += ["<|video_pad|>", "<|unknown|>"]
TEMPLATE = (
    "{% for turn in messages %}<|im_start|> {{ turn.role }} {% for part in turn.content %}{% if part.type == 'image' %}"
    "<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part.text }}{% endif %}{% endfor %} <|im_end|> "
    "{% endfor %}{% if add_generation_prompt %}<|im_start|> assistant {% endif %}"
)


def make_model(folder: Path, seed: int = 0) -> None:
    """A Qwen2.5-VL of 100,000 random numbers that knows forty words."""
    disable_progress_bar()
    asked = ["system", "user", "assistant", *MULTI_SCALE.replace(".", " ").replace(",", " ").replace("?", " ").split()]
    words = list(dict.fromkeys([*SPECIAL, *SPACE, *OTHERS, *asked]))
    place = {word: index for index, word in enumerate(words)}
    inner = Tokenizer(models.WordLevel(place, unk_token="<|unknown|>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner,
        unk_token="<|unknown|>",
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=SPECIAL,
        chat_template=TEMPLATE,
    )
    tokenizer.save_pretrained(folder)
    Qwen2VLImageProcessorPil(patch_size=14, merge_size=2).save_pretrained(folder)
    width = {"hidden_size": 32, "intermediate_size": 48}
    config = Qwen2_5_VLConfig(
        text_config={
            **{**width, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2},
            **{"vocab_size": len(words), "tie_word_embeddings": False, "max_position_embeddings": 2048},
            "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [1, 1, 2]},
            **dict.fromkeys(("pad_token_id", "bos_token_id"), place["<|endoftext|>"]),
            **{"eos_token_id": place["<|im_end|>"], "initializer_range": 0.25},  # so that one word can win over others
        },
        vision_config={
            **{**width, "depth": 1, "num_heads": 2, "out_hidden_size": 32, "fullatt_block_indexes": [0]},
            "patch_size": 14,
        },
        image_token_id=place["<|image_pad|>"],
        video_token_id=place["<|video_pad|>"],
        vision_start_token_id=place["<|vision_start|>"],
        vision_end_token_id=place["<|vision_end|>"],
    )
    torch.manual_seed(seed)
    model = Qwen2_5_VLForConditionalGeneration(config)
    model.generation_config.eos_token_id = place["<|im_end|>"]
    model.generation_config.pad_token_id = place["<|endoftext|>"]
    model.save_pretrained(folder)


class Critic(BaseHTTPRequestHandler):
    """Rates a description by the share of its words that are about space."""

    def do_GET(self) -> None:
        """The list of models."""
        self._send({"data": [{"id": "likes-space"}]})

    def do_POST(self) -> None:
        """A rating."""
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        question = request["messages"][-1]["content"][-1]["text"]
        words = question.split("Description: ")[1].split("\nRating")[0].split()
        share = sum(word in SPACE for word in words) / max(len(words), 1)
        self._send({"choices": [{"message": {"content": f"Rating: {round(100 * share)}"}}]})

    def _send(self, answer: object) -> None:
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing on the terminal."""


def coz(*arguments: object) -> None:
    """`coz` as typed."""
    sys.argv = ["coz", *map(str, arguments)]
    print("$", *sys.argv)
    try:
        main()
    except SystemExit as end:
        if end.code:
            raise


def run(out: Path, steps: int = 60) -> None:
    """All of it, in a folder; the same again goes on or finds it done."""
    quarters = out / "photos"
    quarters.mkdir(parents=True, exist_ok=True)
    with Image.open(PHOTO) as photo:  # photos are held out as a whole, so one is cut into four
        for index, box in enumerate([(0, 0, 256, 256), (256, 0, 512, 256), (0, 256, 256, 512), (256, 256, 512, 512)]):
            photo.crop(box).save(quarters / f"quarter{index}.png")
    make_model(out / "model")
    coz("align", "pairs", quarters, "-o", out / "pairs", "--side", 64)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Critic)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    settings = {"learning_rate": 0.01, "batch": 16, "max_new_tokens": 8, "critic.concurrency": 2, "save_every": 20}
    details = [text for key, value in settings.items() for text in ("--set", f"{key}={value}")]
    url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    coz(
        *("align", "--data", out / "pairs", "--model", out / "model", "--critic", url, "--steps", steps),
        *("-o", out / "aligned", *details),
    )


if __name__ == "__main__":
    run(Path(sys.argv[1] if len(sys.argv) > 1 else "align-tiny"))
