"""Alignments from beginning to end on tiny models: what is learned, what changes, and what survives a stop."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from statistics import mean
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("trl", reason="needs the extra [train]")

import msgspec  # noqa: E402
from conftest import PARITY, ROOT  # noqa: E402
from tiny_alignment import WORD, Likes, example, make_pairs, run, settings  # noqa: E402

from chain_of_zoom import plugins  # noqa: E402
from chain_of_zoom.alignment.pairs.read import read_pairs  # noqa: E402
from chain_of_zoom.alignment.rewards.base import Reward, Sample, Unscored  # noqa: E402
from chain_of_zoom.alignment.training import align as aligning  # noqa: E402
from chain_of_zoom.alignment.training.align import align, silence_libraries  # noqa: E402
from chain_of_zoom.alignment.training.config import resolve  # noqa: E402
from chain_of_zoom.alignment.training.policy import TARGETS, find_targets, make_context, make_dataset, make_lora_config  # noqa: E402
from chain_of_zoom.alignment.training.run_folder import UNSCORED, AlignFolder, HeldOutSample, find_last_checkpoint  # noqa: E402
from chain_of_zoom.errors import BadInputError, DownError, MissingError, OccupiedError, UsageError  # noqa: E402
from chain_of_zoom.networks.vlm.adapters import read_adapter  # noqa: E402
from chain_of_zoom.networks.vlm.loading import load_vlm  # noqa: E402
from chain_of_zoom.prompters.base import chat  # noqa: E402
from chain_of_zoom.prompters.critic import Critic  # noqa: E402
from chain_of_zoom.prompters.vlm import Vlm, convert_pictures  # noqa: E402
from chain_of_zoom.settings import format_toml  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.slow]


CPU = torch.device("cpu")


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    with silence_libraries():
        example().make_model(folder)
    return folder


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pairs(tmp_path_factory.mktemp("pairs"))


@pytest.fixture
def critic(monkeypatch: pytest.MonkeyPatch) -> Likes:
    """In place of a critic by name."""
    likes = Likes()

    def made(name: str, *, cache: Path, say: Any, patience: float, **_: Any) -> Critic:
        return Critic(likes, name, cache=cache, patience=patience, say=say)

    monkeypatch.setattr(aligning, "make_critic", made)
    return likes


def logged(out: Path) -> list[dict[str, float]]:
    checkpoint = find_last_checkpoint(out)
    assert checkpoint
    lines = json.loads((checkpoint / "trainer_state.json").read_text())["log_history"]
    return [line for line in lines if "reward" in line]


def rises(lines: list[dict[str, float]], key: str) -> tuple[float, float]:
    """Means of the first and the last eight steps."""
    return mean(line[key] for line in lines[:8]), mean(line[key] for line in lines[-8:])


@pytest.fixture(scope="module")
def aligned(model: Path, pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """36 steps with a critic that likes one word, the paper's rewards and a plugin-like text reward."""
    patch = pytest.MonkeyPatch()
    out = tmp_path_factory.mktemp("aligned")
    likes = Likes()
    patch.setattr(aligning, "make_critic", lambda name, *, cache, **_: Critic(likes, name, cache=cache))
    changed = {"steps": 36, "batch": 8, "group": 8, "samples": 2, "loggers": ["tensorboard"], "save_every": 20}
    weights = {"critic": 1.0, "phrase": 0.5, "repetition": 0.5, "validity": 0.0}
    try:
        done = align(settings(pairs, model, **changed, critic={"name": "http://likes/v1"}, weights=weights), out)
    finally:
        patch.undo()
    assert done
    assert (done.steps, done.resumed, done.skipped, done.unscored) == (36, 0, (), 0)
    assert done.last["step"] == 36
    return out


@pytest.mark.slow
def test_reward_rises_and_its_parts_respond(aligned):
    lines = logged(aligned)
    assert len(lines) == 36
    before, after = rises(lines, "rewards/critic/mean")
    assert after > before + 0.15, (before, after)  # it hovers at 0.02 by chance
    before, after = rises(lines, "reward")
    assert after > before + 0.1
    assert rises(lines, "rewards/repetition/mean")[1] <= 0  # one word again and again costs
    assert all(0.5 < line["rewards/phrase/mean"] <= 1 for line in lines)  # "second image" occurs by chance
    parts = {"critic": 1.0, "phrase": 0.5, "repetition": 0.5}
    for line in lines:
        total = sum(weight * line[f"rewards/{name}/mean"] for name, weight in parts.items())
        assert line["reward"] == pytest.approx(total, abs=1e-5)


def test_held_out_pairs_before_and_after(aligned):
    samples = msgspec.json.decode((aligned / "samples.json").read_bytes(), type=list[HeldOutSample])
    assert [one.pair for one in samples] == ["view4", "view5"]
    for one in samples:
        assert one.after
        assert one.after.text.split().count(WORD) > one.before.text.split().count(WORD)
        assert one.after.rewards["critic"] > one.before.rewards["critic"]


@pytest.mark.slow
def test_the_prompter_and_plain_peft_take_the_adapter(aligned, model, pairs):
    """The prompter merges it, PEFT lays it beside; both say what the report says."""
    from peft import PeftModel

    pair = read_pairs(pairs).select("held-out")[0]
    told = msgspec.json.decode((aligned / "samples.json").read_bytes(), type=list[HeldOutSample])[0]
    context = make_context(pair)
    assert Vlm(str(model), adapter=str(aligned), max_new_tokens=6)([context]) == [told.after.text]
    assert Vlm(str(model), max_new_tokens=6)([context]) == [told.before.text]
    adapter = read_adapter(aligned)
    assert adapter.config.base_model_name_or_path == str(model)
    assert all("language_model" in key for key in adapter.tensors)
    with silence_libraries():
        base, processor = load_vlm(str(model), None, CPU, torch.float32)
        inputs = processor.apply_chat_template(
            [convert_pictures(chat(context))],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        )
        merged = load_vlm(str(model), aligned, CPU, torch.float32).model
        plain = base(**inputs).logits
        beside = PeftModel.from_pretrained(base, aligned).eval()
        torch.testing.assert_close(beside(**inputs).logits, merged(**inputs).logits, atol=1e-4, rtol=1e-4)
    assert (merged(**inputs).logits - plain).abs().max() > 0.1


def test_what_lies_in_the_folder(aligned, model):
    assert {
        *("README.md", "adapter_config.json", "adapter_model.safetensors", "config.toml", "critic.sqlite"),
        *("report.html", "samples.json", "unscored.jsonl", "checkpoints", "tensorboard"),
    } == {path.name for path in aligned.iterdir()}
    card = (aligned / "README.md").read_text()
    assert "| critic | 1 |" in card
    assert "library_name: peft" in card
    assert "whose licence applies: **unknown" in card
    assert list((aligned / "tensorboard").iterdir())
    assert not any((aligned / "checkpoints").glob("adapter"))
    report = (aligned / "report.html").read_text()
    assert "36 of 36 steps" in report
    assert "Every text had a score" in report


@pytest.mark.slow
def test_a_finished_run_is_left_alone_and_another_is_refused(aligned, model, pairs, monkeypatch):
    weights = {"critic": 1.0, "phrase": 0.5, "repetition": 0.5, "validity": 0.0}
    changed = {"steps": 36, "batch": 8, "group": 8, "samples": 2, "loggers": ["tensorboard"], "save_every": 20}
    config = settings(pairs, model, **changed, critic={"name": "http://likes/v1"}, weights=weights)
    monkeypatch.setattr(aligning._AlignmentRun, "_train", lambda *_: pytest.fail("trained again"))
    done = align(config, aligned)
    assert done
    assert (done.resumed, done.last["step"]) == (36, 36)
    with pytest.raises(OccupiedError, match=r"holds another alignment: kl is 0\.04, not 0\.5; accepted"):
        align(msgspec.structs.replace(config, kl=0.5), aligned)


class Given(Reward):
    """Scores from a list."""

    def __init__(self, name: str, *values: float | Unscored) -> None:
        self.name, self.values = name, list(values)

    def __call__(self, samples: list[Sample]) -> list[float | Unscored]:
        return [self.values[i % len(self.values)] for i in range(len(samples))]


def trainer_for(model: Path, pairs: Path, tmp_path: Path, *rewards: Reward, **changed: Any) -> Any:
    from transformers import PrinterCallback

    from chain_of_zoom.alignment.training.trainer import AlignTrainer, make_trl_config

    weights = {"critic": 0.0, "phrase": 0.0, "repetition": 0.0, "validity": 0.0}
    config = settings(pairs, model, **{"steps": 2, **changed})
    config = msgspec.structs.replace(config, weights={**weights, **{reward.name: 2.0 for reward in rewards}})
    vlm = load_vlm(str(model), None, CPU, torch.float32)
    trainer = AlignTrainer(
        rewards,
        model=vlm.model,
        processing_class=vlm.processor,
        args=make_trl_config(config, tmp_path, CPU, torch.float32),
        train_dataset=make_dataset(read_pairs(pairs).select("train")),
        peft_config=make_lora_config(vlm.model, config.lora),
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


@pytest.mark.slow
def test_advantages_by_hand(model, pairs, tmp_path):
    """R - group mean, not divided; a text without a score has none and is not in the mean (weights 2)."""
    gone = Unscored("no score")
    values = [0.9, 0.5, 0.1, 0.3, 0.8, gone, 0.2, gone]
    with silence_libraries():
        trainer = trainer_for(model, pairs, tmp_path, Given("a", *values), Given("b", 1.0), batch=8)
        trainer.model.train()
        batch = next(iter(trainer.get_train_dataloader()))
        found = trainer._generate_and_score_completions(batch)["advantages"]
    expected = [2 * (v - 0.45) for v in values[:4]] + [2 * (0.8 - 0.5), 0, 2 * (0.2 - 0.5), 0]
    torch.testing.assert_close(found, torch.tensor(expected), atol=1e-6, rtol=0)
    assert [(gap.reward, gap.why, gap.step) for gap in trainer.unscored_texts] == [("a", "no score", 1)] * 2
    assert trainer._metrics["train"]["texts/unscored"] == [2 / 8]
    assert trainer._metrics["train"]["rewards/b/mean"] == [1.0]
    assert [len({row["pair"] for row in batch[i : i + 4]}) for i in (0, 4)] == [1, 1]


@pytest.mark.slow
def test_kl_by_hand_and_what_changes(model, pairs, tmp_path):
    """exp(r - p) - (r - p) - 1 per token, from logits of plain forward passes; then one step changes the LoRA alone."""
    with silence_libraries():
        trainer = trainer_for(model, pairs, tmp_path, Given("a", 1.0, 0.0), kl=0.3, lora={"dropout": 0.0})
        reference = load_vlm(str(model), None, CPU, torch.float32).model
        before = {name: value.clone() for name, value in trainer.model.named_parameters()}
        for name, value in trainer.model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(value, std=0.05)  # a policy that has moved away
        trainer.model.train()
        batch = trainer._generate_and_score_completions(next(iter(trainer.get_train_dataloader())))
        trainer.current_gradient_accumulation_steps = 1
        trainer._compute_loss(trainer.model, batch)
        measured = trainer._metrics["train"]["kl"][-1]
        ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
        mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1)
        seen = {key: batch[key] for key in ("pixel_values", "image_grid_thw", "mm_token_type_ids")}
        count = batch["completion_ids"].shape[1]
        logs = []
        for network in (trainer.model, reference):
            with torch.no_grad():
                logits = network(input_ids=ids, attention_mask=mask, **seen).logits[:, -count - 1 : -1]
            logs.append(logits.log_softmax(-1).gather(2, batch["completion_ids"][..., None])[..., 0])
        policy, base = logs
        distance = (base - policy).exp() - (base - policy) - 1
        expected = (distance * batch["completion_mask"]).sum() / batch["completion_mask"].sum()
        assert measured == pytest.approx(float(expected), rel=1e-3)
        assert measured > 0.001
        for name, value in trainer.model.named_parameters():
            value.data.copy_(before[name])
        trainer.train()
        with trainer.model.disable_adapter(), torch.no_grad():
            again = trainer.model(input_ids=ids, attention_mask=mask, **seen).logits
            torch.testing.assert_close(again, reference(input_ids=ids, attention_mask=mask, **seen).logits)
    changed = {n for n, value in trainer.model.named_parameters() if not torch.equal(value, before[n])}
    lora = {name for name in before if "lora_" in name}
    assert {name for name in changed if "lora_B" in name} == {name for name in lora if "lora_B" in name}
    assert changed <= lora
    assert all(".language_model." in name for name in lora)
    assert len(lora) == 2 * 7 * reference.config.text_config.num_hidden_layers


@pytest.mark.slow
def test_a_published_style_model_learns_a_word(critic, pairs, tmp_path):
    """The tiny model of the parity cases says one thing only; at temperature 8 it tries others."""
    critic.word = "fur"
    changed = {"steps": 20, "batch": 8, "group": 8, "temperature": 8.0, "max_new_tokens": 8, "kl": 0.0}
    weights = {"critic": 1.0, "phrase": 0.5, "repetition": 0.0, "validity": 0.0}
    config = settings(pairs, PARITY / "tiny_qwen", **changed, critic={"name": "http://likes/v1"}, weights=weights)
    done = align(msgspec.structs.replace(config, learning_rate=0.01), tmp_path)
    assert done
    before, after = rises(logged(tmp_path), "reward")
    assert after > before + 0.1, (before, after)


@pytest.mark.slow
def test_a_critic_that_is_down_stops_it_with_a_checkpoint_and_nothing_is_lost(critic, model, pairs, tmp_path):
    changed = {"steps": 5, "critic": {"name": "http://likes/v1", "patience": 0.0}, "weights": {"critic": 1.0}}
    config = settings(pairs, model, **changed)
    whole = run(config, tmp_path / "whole")
    critic.fails = {critic.asked + 4: DownError("503")}
    with pytest.raises(DownError, match=r"stopped after step 3 of 5, which is kept in .*again to go on"):
        align(config, tmp_path / "stopped")
    assert find_last_checkpoint(tmp_path / "stopped") == tmp_path / "stopped" / "checkpoints" / "checkpoint-3"
    resumed = run(config, tmp_path / "stopped")
    assert {key: value.tolist() for key, value in resumed.items()} == {k: v.tolist() for k, v in whole.items()}
    assert [line["step"] for line in logged(tmp_path / "stopped")] == [1, 2, 3, 4, 5]


@pytest.mark.slow
def test_answers_without_a_score_are_counted_and_listed(critic, model, pairs, tmp_path, monkeypatch):
    monkeypatch.setattr(critic, "_rating", lambda question: "a fine text" if "suit" in question else "50")
    config = settings(pairs, model, steps=2, critic={"name": "http://likes/v1"}, weights={"critic": 1.0})
    done = align(config, tmp_path)
    assert done
    lines = [json.loads(line) for line in (tmp_path / UNSCORED).read_text().splitlines()]
    assert len(lines) == done.unscored > 0
    assert {line["why"] for line in lines} == {"the critic's answer is no score: 'a fine text'"}
    assert all("suit" in line["text"] for line in lines)
    assert re.search(f"{done.unscored} texts? without a score", (tmp_path / "report.html").read_text())


@pytest.mark.slow
def test_killed_it_goes_on_as_if_nothing_had_happened(model, pairs, tmp_path):
    """kill -9 between steps; the same command ends with the bits of a run that was not stopped."""
    config = settings(pairs, model, steps=4, save_every=2)
    whole = run(config, tmp_path / "whole")
    endless = msgspec.structs.replace(config, steps=10_000)
    (tmp_path / "endless.toml").write_bytes(format_toml(endless))
    command = [
        sys.executable,
        "-m",
        "chain_of_zoom",
        "align",
        "--config",
        tmp_path / "endless.toml",
        "-o",
        tmp_path / "k",
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(list(map(str, command)), env=environment, stdout=subprocess.DEVNULL) as process:
        until = time.monotonic() + 240
        while find_last_checkpoint(tmp_path / "k") is None and process.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    kept = find_last_checkpoint(tmp_path / "k")
    assert kept
    torn = kept.with_name("checkpoint-3000")
    torn.mkdir()
    (torn / "trainer_state.json").write_text("{")
    if kept.name == "checkpoint-2":
        resumed = run(config, tmp_path / "k")
        assert {key: value.tolist() for key, value in resumed.items()} == {k: v.tolist() for k, v in whole.items()}
    else:  # a slow watcher: it is further than the other run
        align(msgspec.structs.replace(config, steps=int(kept.name[11:]) + 1), tmp_path / "k")
    steps = [line["step"] for line in logged(tmp_path / "k")]
    assert steps == list(range(1, len(steps) + 1))


@pytest.mark.slow
def test_two_processes_share_the_work(model, pairs, tmp_path):
    """DDP on the CPU: one group over both processes, one folder, one report.

    accelerate's own mode for CPUs wants MPI, so this is its launcher for GPUs, where there are none.
    """
    config = settings(pairs, model, steps=2, batch=2)
    (tmp_path / "two.toml").write_bytes(format_toml(config))
    launch = "accelerate.commands.launch --multi_gpu --num_processes 2 --num_machines 1 --mixed_precision no"
    align_it = ["--dynamo_backend", "no", "-m", "chain_of_zoom", "align", "--json"]
    files = ["--config", str(tmp_path / "two.toml"), "-o", str(tmp_path / "out")]
    command = [sys.executable, "-m", *launch.split(), *align_it, *files]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    said = json.loads(done.stdout)
    assert (said["steps"], said["last"]["step"]) == (2, 2)
    state = json.loads((tmp_path / "out" / "checkpoints" / "checkpoint-2" / "trainer_state.json").read_text())
    assert len([line for line in state["log_history"] if "reward" in line]) == 2
    assert (tmp_path / "out" / "checkpoints" / "checkpoint-2" / "rng_state_1.pth").exists()
    assert read_adapter(tmp_path / "out").tensors
    assert "2 of 2 steps" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.slow
def test_pairs_that_cannot_be_read_are_skipped_counted_and_listed(model, tmp_path):
    pairs = make_pairs(tmp_path / "pairs", train=4, held_out=1)
    (pairs / "1z.png").write_bytes(b"no picture")
    done = align(settings(pairs, model, steps=1), tmp_path / "out")
    assert done
    assert [name for name, _ in done.skipped] == ["view1"]
    assert "view1" in (tmp_path / "out" / "report.html").read_text()
    assert "1 could not be read" in (tmp_path / "out" / "README.md").read_text()


def test_too_few_pairs(model, tmp_path):
    few = make_pairs(tmp_path / "pairs", train=3, held_out=2)
    with pytest.raises(
        BadInputError, match="3 pairs to learn from, 2 held out.*accepted: 4 or more, as every step sees 4"
    ):
        align(settings(few, model, batch=16), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_what_does_not_fit_is_said_before_anything_is_read(model, pairs, tmp_path, monkeypatch):
    from chain_of_zoom.alignment.training import budget

    monkeypatch.setattr(budget, "available_memory", lambda: 10**9)
    with pytest.raises(
        UsageError, match=r"about 1\.\d GB of memory are needed \(.*weights.*1\.5 GB runtime.*1 GB are there"
    ):
        align(settings(pairs, model), tmp_path / "out")
    monkeypatch.setattr(budget, "available_memory", lambda: 1_700_000_000)
    large = settings(pairs, model, batch=400, group=400, max_new_tokens=512)
    few = pytest.raises(UsageError, match=r"for example --set batch=1 --set accumulate=400 \(about 1\.\d GB\)")
    with few:
        align(large, tmp_path / "out")


@pytest.mark.parametrize(
    ("changed", "message", "kind"),
    [
        ({"lora": {"targets": "("}}, "is no regex", UsageError),
        ({"lora": {"targets": "nowhere"}}, "hits no layer of this qwen2_5_vl", UsageError),
        ({"trl": {"no_such_thing": 1}}, "TRL refuses the settings .*no_such_thing", UsageError),
        ({"trl": {"beta": 1}}, "TRL refuses the settings .*trl.beta is set by another key", UsageError),
        ({"device": "cuda:1"}, "device cuda:1", UsageError),
        ({"loggers": ["wandb"]}, "wandb is not installed", MissingError),
        ({"weights": {"sr": 1.0}, "reward": {"sr": {"backbone": "bicubic"}}}, "does not read prompts", UsageError),
    ],
)
def test_settings_that_do_not_go_here(model, pairs, tmp_path, changed, message, kind):
    with pytest.raises(kind, match=message):
        align(settings(pairs, model, **changed), tmp_path / "out")


def test_a_missing_model_and_a_missing_extra(pairs, tmp_path, monkeypatch):
    with pytest.raises(MissingError, match="is not there"):
        align(settings(pairs, tmp_path / "nowhere"), tmp_path / "out")
    found = aligning.importlib.util.find_spec
    monkeypatch.setattr(aligning.importlib.util, "find_spec", lambda name: None if name == "trl" else found(name))
    with pytest.raises(MissingError, match=r"coz align needs trl; type: pip install 'chain-of-zoom\[train\]'"):
        align(settings(pairs, tmp_path / "nowhere"), tmp_path / "out")


def test_a_folder_of_somebody_else(model, pairs, tmp_path):
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(OccupiedError, match=r"adapter_config.json is there already and no config.toml"):
        AlignFolder(tmp_path, settings(pairs, model))
    AlignFolder(tmp_path, settings(pairs, model), force=True)
    assert not (tmp_path / "adapter_config.json").exists()


@pytest.mark.slow
def test_the_papers_layers_of_the_papers_model():
    """On the meta device: 36 language layers of 7 linear ones each, and no other; 15 million numbers, as published."""
    import transformers

    config = transformers.Qwen2_5_VLConfig(
        text_config={
            **{"hidden_size": 2048, "intermediate_size": 11008, "num_hidden_layers": 36, "num_attention_heads": 16},
            **{"num_key_value_heads": 2, "vocab_size": 151936, "tie_word_embeddings": True},
        }
    )
    with silence_libraries(), torch.device("meta"):
        model = transformers.AutoModelForImageTextToText.from_config(config)
    layers = find_targets(model, TARGETS)
    assert len(layers) == 7 * 36
    assert sum(8 * (layer.in_features + layer.out_features) for layer in layers) == 14_966_784


def test_what_is_private_to_trl_is_as_we_know_it_and_no_later_version_is_taken():
    """A method that TRL renames would no longer be overridden: rewards would be NaN no more, and telemetry sent."""
    from inspect import signature

    from trl import GRPOTrainer
    from trl.kernels import chunked_logprob
    from trl.trainer import utils

    from chain_of_zoom.alignment.training.budget import LOGIT_TOKENS, LOGIT_WORDS
    from chain_of_zoom.alignment.training.trainer import AlignTrainer

    assert list(signature(GRPOTrainer._calculate_rewards).parameters) == list(
        signature(AlignTrainer._calculate_rewards).parameters
    )
    for name in ("_send_telemetry", "create_model_card", "_save_checkpoint", "_load_from_checkpoint"):
        assert callable(getattr(GRPOTrainer, name))
    assert (utils._CHUNKED_LOGPROB_CHUNK_SIZE, chunked_logprob.TOKEN_CHUNK_SIZE) == (LOGIT_WORDS, LOGIT_TOKENS)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert [line for line in project["train"] if re.fullmatch(r"trl>=1\.16,<1\.17", line)]


def test_rewards_of_plugins_are_made_by_name():
    assert resolve("safe", {"data": "d", "model": "m", "weights": {"critic": 0}}).used.keys() <= plugins.REWARDS.keys()
