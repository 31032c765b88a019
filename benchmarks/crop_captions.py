"""How well a backbone follows words after captions of crops, and after captions of whole pictures; a CPU, offline.

python benchmarks/crop_captions.py [SEEDS]

Pictures show two of six patterns side by side, and each pattern has a word. Reduced 4x all of them are the same
grey, so that words alone can say what was there. A tiny Stable Diffusion 3 is taught as `coz train` does, by L2 alone,
on crops with the words of the crop (those that cover a quarter of it) or with both words of the picture. Then it is
asked for each word. Printed are the share of words whose own pattern is the nearest to the result (by chance 0.17), and
the correlation with the pattern asked for and with the others. The autoencoder is taught the patterns before; the
transformer knows nothing but what its adapters learn.
"""

from __future__ import annotations

import logging
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

sys.path.append(str(Path(__file__).parents[1] / "examples"))
from train_tiny import tiny_sd3

from chain_of_zoom.distillation.losses import TrainingBatch, compute_generator_loss
from chain_of_zoom.distillation.network import CaptionEmbeddings, Student
from chain_of_zoom.distillation.order import draw_noise
from chain_of_zoom.distillation.settings import LossSettings, OptimizerSettings
from chain_of_zoom.distillation.updates import Processes, Updates

WORDS = ("bark", "brick", "moss", "sand", "slate", "wool")
CROP, PICTURE, TILE = 64, 192, 8
BATCH, STEPS, AUTOENCODER_STEPS = 4, 1500, 500
CPU = torch.device("cpu")
Pattern = NDArray[np.float32]


def draw_patterns() -> list[Pattern]:
    """Draw a pattern for each word, 8 x 8 and repeated: black and white, grey on average in every 4 x 4."""
    blocks = np.random.default_rng(0).choice([-0.5, 0.5], (len(WORDS), 2, 4, 2, 4))
    blocks -= blocks.mean((2, 4), keepdims=True)
    return list(blocks.reshape(len(WORDS), TILE, TILE).astype(np.float32))


PATTERNS = draw_patterns()


def fill(word: int) -> Pattern:
    """Fill a crop with the pattern of a word."""
    return np.tile(PATTERNS[word], (CROP // TILE, CROP // TILE))


def draw_crop(rng: np.random.Generator, captions: str) -> tuple[Pattern, str]:
    """Draw a crop of a picture of two patterns, and its caption."""
    words = sorted(rng.choice(len(WORDS), 2, replace=False))
    left = int(rng.integers((PICTURE - CROP) // TILE + 1)) * TILE
    is_first = np.arange(left, left + CROP) < PICTURE // 2
    shares = (is_first.mean(), 1 - is_first.mean())
    seen = [word for word, share in zip(words, shares, strict=True) if captions == "pictures" or share >= 0.25]
    return np.where(is_first, fill(words[0]), fill(words[1])), ", ".join(WORDS[word] for word in seen)


def to_tensor(crops: list[Pattern]) -> torch.Tensor:
    """Make grey pictures, B x 3 x 64 x 64 in [-1, 1]."""
    return torch.from_numpy(np.stack(crops).astype(np.float32))[:, None].repeat(1, 3, 1, 1)


def teach_autoencoder(vae: Any) -> None:
    """Teach it the patterns at every contrast."""
    optimizer, rng = torch.optim.AdamW(vae.parameters(), lr=2e-3), np.random.default_rng(1)
    for _ in range(AUTOENCODER_STEPS):
        pictures = to_tensor([draw_crop(rng, "crops")[0] * rng.uniform() for _ in range(8)])
        latents = vae.encode(pictures).latent_dist.mean
        restored = vae.decode(latents + 0.1 * torch.randn_like(latents)).sample
        loss = (restored - pictures).square().mean() + 1e-3 * latents.square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


class Pupil:
    """Learns from crops with captions of one kind."""

    def __init__(self, autoencoder: dict[str, torch.Tensor], captions: str, seed: int) -> None:
        self.captions, self.seed = captions, seed
        torch.manual_seed(0)
        pipeline = tiny_sd3()
        pipeline.vae.load_state_dict(autoencoder)
        pairs = {", ".join((a, b)) for a in WORDS for b in WORDS if a < b}
        self.texts = CaptionEmbeddings(pipeline, {*WORDS, *pairs}, tokens=16, device=CPU)
        self.student = Student(
            pipeline, shift_in=True, checkpointing=False, seed=seed, device=CPU, autocast=nullcontext
        )
        settings = OptimizerSettings(lr=1e-2)
        self.updates = Updates(self.student.groups, ("generator", "encoder"), settings, Processes("cpu"), scaled=False)

    def make_batch(self, crops: list[Pattern], captions: list[str], first: int) -> TrainingBatch:
        """Make a batch whose input is grey."""
        high = to_tensor(crops)
        shape, times = self.student.latent_shape(CROP), len(self.student.timesteps)
        noise = draw_noise(range(first, first + len(crops)), self.seed, shape, times)
        return TrainingBatch(low=torch.zeros_like(high), high=high, texts=self.texts(captions), noise=noise)

    def learn(self) -> None:
        """Take all steps."""
        rng = np.random.default_rng(self.seed)
        for step in range(STEPS):
            crops, captions = zip(*(draw_crop(rng, self.captions) for _ in range(BATCH)), strict=True)
            batch = self.make_batch(list(crops), list(captions), BATCH * step)
            _, loss, _ = compute_generator_loss(self.student, batch, LossSettings(perceptual=0, matching=0), None)
            self.updates.backward(loss)
            self.updates.apply()

    @torch.no_grad()
    def measure(self) -> tuple[float, float, float]:
        """Return the share of words that are followed, and the mean correlations."""
        batch = self.make_batch([fill(word) for word in range(len(WORDS))], list(WORDS), 10**6)
        restored = self.student.decode(self.student.generate(batch.low, batch.noise.posterior, batch.texts))
        tiles = restored.mean(1).reshape(len(WORDS), CROP // TILE, TILE, CROP // TILE, TILE).mean((1, 3)).flatten(1)
        table = np.corrcoef(tiles.numpy(), np.stack(PATTERNS).reshape(len(WORDS), -1))[: len(WORDS), len(WORDS) :]
        own = np.diag(table)
        others = (table.sum(1) - own) / (len(WORDS) - 1)
        return float((table.argmax(1) == np.arange(len(WORDS))).mean()), float(own.mean()), float(others.mean())


def main(seeds: int) -> None:
    """Teach and measure."""
    torch.manual_seed(0)
    vae = tiny_sd3().vae
    teach_autoencoder(vae)
    for seed in range(seeds):
        for captions in ("crops", "pictures"):
            pupil = Pupil(vae.state_dict(), captions, seed)
            pupil.learn()
            followed, own, others = pupil.measure()
            print(
                f"seed {seed}  captions of {captions:8}  followed {followed:.2f}  r {own:.2f}, others {others:.2f}",
                flush=True,
            )


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
