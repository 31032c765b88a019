"""Train the material heads of the prompter `words`, choose their thresholds and print the tables of docs/words.md.

    python benchmarks/words/train.py benchmarks/words/textures.csv features.npz lite0-classes.npz heads.npz

A head is a softmax regression with weight decay: one reads the window, one the parent; their logits are added. It is
trained on windows of every depth and on parents, framed ones among them. Temperature and thresholds come from five-fold
cross-validation over groups of the training pictures; held-out pictures are only counted. Needs torch.
"""

from __future__ import annotations

import csv
import math
import sys
from pathlib import Path

import numpy as np
import torch

DEPTHS = (1, 4, 16, 64)
FRAMED = {2: 0, 3: 1}  # index of a depth -> column of its framed parents
NOTHING = "none"
MERGED = {"paving": "stone", "tiles": NOTHING, "foliage": NOTHING, "roof tiles": NOTHING}  # too few for words of theirs
DECAY = 0.03
RIGHT = 0.9  # of the words spoken in cross-validation; the promise is 0.85


def fit(features: np.ndarray, answers: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Fit weights (feature x material) and bias; rare materials weigh more, by the root of their number."""
    mean, spread = features.mean(0), features.std(0) + 1e-3
    inputs, targets = torch.from_numpy((features - mean) / spread), torch.from_numpy(answers)
    importance = 1 / torch.sqrt(torch.bincount(targets, minlength=count) + 1.0)
    weights = torch.zeros(features.shape[1], count, requires_grad=True)
    bias = torch.zeros(count, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights, bias], max_iter=25, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        errors = torch.nn.functional.cross_entropy(
            inputs @ weights + bias, targets, weight=importance / importance.mean()
        )
        loss = errors + DECAY * (weights**2).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    scaled = weights.detach().numpy() / spread[:, None]
    return scaled, bias.detach().numpy() - mean @ scaled


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return shares that add up to 1 in every row."""
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def interval(right: int, count: int) -> str:
    """Return the 95% interval of a share (Wilson, 1927), in percent."""
    share, z = right / count, 1.96
    centre = share + z * z / 2 / count
    half = z * math.sqrt(share * (1 - share) / count + z * z / 4 / count**2)
    return f"{100 * (centre - half) / (1 + z * z / count):.0f}-{100 * (centre + half) / (1 + z * z / count):.0f}"


class Pictures:
    """Windows and parents of a set of textures, and their materials."""

    def __init__(self, windows: np.ndarray, framed: np.ndarray, answers: np.ndarray) -> None:
        self.windows, self.framed, self.answers = windows, framed, answers

    def pick(self, chosen: np.ndarray) -> Pictures:
        """Return the textures that are chosen by a mask."""
        return Pictures(self.windows[chosen], self.framed[chosen], self.answers[chosen])

    def parents(self, depth: int, *, is_framed: bool) -> np.ndarray:
        """Return the parents of the windows at one depth (an index)."""
        return self.framed[:, FRAMED[depth]] if is_framed else self.windows[:, max(depth - 1, 0)]

    def train_heads(self, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """Train the head of the window and the head of the parent."""
        all_windows = [self.windows[:, depth] for depth in range(4)]
        all_parents = [*all_windows[:3], *(self.framed[:, column] for column in FRAMED.values())]
        return [
            fit(np.concatenate(kind), np.tile(self.answers, len(kind)), count) for kind in (all_windows, all_parents)
        ]


CASES = [(1, False), (2, False), (2, True), (3, False), (3, True)]  # depth, whether the parent is framed: 4x and deeper


def main() -> int:
    """Train, measure and write the heads."""
    torch.set_num_threads(1)
    rows = list(csv.DictReader(Path(sys.argv[1]).read_text().splitlines()))
    archive = np.load(sys.argv[2])
    materials = [MERGED.get(row["material"], row["material"]) for row in rows]
    names = sorted(set(materials))
    answers = np.array([names.index(material) for material in materials])
    pictures = Pictures(archive["windows"].astype(np.float32), archive["framed"].astype(np.float32), answers)
    held_out = np.array([row["split"] == "held out" for row in rows])
    folds = np.array([int(row["group"]) % 5 for row in rows])
    nothing = names.index(NOTHING)

    logits, truth = [], []
    for fold in range(5):
        heads = pictures.pick(~held_out & (folds != fold)).train_heads(len(names))
        tested = pictures.pick(~held_out & (folds == fold))
        for depth, is_framed in CASES:
            inputs = (tested.windows[:, depth], tested.parents(depth, is_framed=is_framed))
            logits.append(sum(values @ head[0] + head[1] for values, head in zip(inputs, heads, strict=True)))
            truth.append(tested.answers)
    scores, targets = np.concatenate(logits), np.concatenate(truth)
    temperatures = np.arange(0.5, 4, 0.05)
    losses = [-np.log(softmax(scores / t)[np.arange(len(targets)), targets] + 1e-9).mean() for t in temperatures]
    temperature = float(temperatures[int(np.argmin(losses))])
    shares = softmax(scores / temperature)
    thresholds = []
    for material in range(len(names)):
        levels = np.arange(0.5, 1, 0.01)
        good = [
            level for level in levels
            if (shares[:, material] >= level).sum() >= 10
            and (targets[shares[:, material] >= level] == material).mean() >= RIGHT
        ]  # fmt: skip
        thresholds.append(float(good[0]) if good else 1.01)
    print(f"temperature {temperature:.2f}", dict(zip(names, np.round(thresholds, 2), strict=True)))

    heads = pictures.pick(~held_out).train_heads(len(names))
    heads = [(weights / temperature, bias / temperature) for weights, bias in heads]
    tested = pictures.pick(held_out)
    is_material = tested.answers != nothing
    count = int(is_material.sum())
    common = np.bincount(tested.answers[is_material]).max()
    print(f"{count} held-out textures; the most frequent material: {common}; {(~is_material).sum()} of none")
    for depth, is_framed in [(0, False), *CASES]:
        inputs = (tested.windows[:, depth], tested.parents(depth, is_framed=is_framed))
        near, wide = (values @ head[0] + head[1] for values, head in zip(inputs, heads, strict=True))
        cells = [f"{DEPTHS[depth]}x{', framed' if is_framed else ''}"]
        for scored in (near, wide, near + wide):
            right = int((scored.argmax(1) == tested.answers)[is_material].sum())
            cells.append(f"{right} = {100 * right / count:.0f}% ({interval(right, count)})")
        spoken = softmax(near + wide) >= np.array(thresholds)
        spoken[:, nothing] = False
        words, on_none = int(spoken.sum()), int(spoken[~is_material].sum())
        correct = int(spoken[np.arange(len(spoken)), tested.answers].sum())
        share = f"{100 * correct / max(words, 1):.0f}% ({interval(correct, max(words, 1))})"
        cells.append(f"{words} words ({on_none} of none), {correct} right = {share}")
        print(" | ".join(cells))
    for material, name in enumerate(names):
        hits = []
        for depth, is_framed in CASES:
            inputs = (tested.windows[:, depth], tested.parents(depth, is_framed=is_framed))
            shares = softmax(sum(values @ head[0] + head[1] for values, head in zip(inputs, heads, strict=True)))
            spoken = shares[:, material] >= thresholds[material]
            hits.append(f"{int(spoken.sum())}/{int((tested.answers[spoken] == material).sum())}")
        trained = int((answers[~held_out] == material).sum())
        print(f"{name}: trained {trained}, held out {(tested.answers == material).sum()}, spoken/right: {hits}")
    classes = np.load(sys.argv[3])
    np.savez_compressed(
        sys.argv[4],
        **{key: classes[key] for key in classes.files},
        materials=np.array(names),
        material_weights=np.concatenate([weights for weights, _ in heads]).astype(np.float16),
        material_bias=sum(bias for _, bias in heads).astype(np.float32),
        material_thresholds=np.array(thresholds, dtype=np.float32),
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
