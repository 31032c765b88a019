"""Train the small network (SPAN's shape) that the package ships, on the crops of photo_set.py; on a CPU, resumable.

    python training/small.py crops.npz --init spanx4_ch48.param --minutes 120 -o small

Runs of several seeds from one --init may be averaged afterwards (training/average.py): one thread each is the better
use of a busy machine.

Writes small.param and small.bin (ncnn's files, of the averaged weights) and small.csv (the curve) at every look, and
small.ckpt, from which the same command goes on. --init: ncnn's files of a network to start from, which is also the
teacher; without it the training begins from nothing.

Each step enlarges crops that were reduced 4x by area, bicubic, Lanczos or a camera-like blur, part of them with light
noise or JPEG, and every fourth step walks the chain's own loop: reduced 16x, enlarged twice, the first result rounded
to 8 bits in between. Losses (Charbonnier): to the truth; of the reduced result to the parent; for what was reduced by
bicubic, to the teacher.
"""

from __future__ import annotations

import argparse
import copy
import csv
import io
import math
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from torch import Tensor
from torch.nn.functional import avg_pool2d

from chain_of_zoom.networks.rrdb.network import from_ncnn
from chain_of_zoom.networks.rrdb.span import SpanNet, write_ncnn

Pixels = NDArray[np.uint8]
REDUCTIONS, SHARES = ("bicubic", "area", "lanczos", "camera"), (0.36, 0.36, 0.14, 0.14)
FILTERS = {"bicubic": Image.Resampling.BICUBIC, "lanczos": Image.Resampling.LANCZOS, "area": Image.Resampling.BOX}
LOOK_EVERY, VALIDATION_PICTURES = 150, 24


def reduce(pixels: Pixels, factor: int, how: str, rng: np.random.Generator) -> Pixels:
    """Reduce a crop by a whole factor."""
    picture = Image.fromarray(pixels)
    if how == "camera":
        picture = picture.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.2, 0.5)) * factor))
        how = "area"
    return np.asarray(picture.resize((picture.width // factor, picture.height // factor), FILTERS[how]))


def degrade(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Add light noise to an eighth of the crops, JPEG to another eighth, strong noise to a few.

    Without the strong noise a network of this shape explodes on it: its attention multiplies what it has not seen.
    """
    lot = rng.random()
    if lot > 0.98:
        noisy = pixels + rng.normal(0, rng.uniform(10, 100), pixels.shape)
        return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
    if lot < 0.12:
        noisy = pixels + rng.normal(0, rng.uniform(0.5, 4), pixels.shape)
        return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
    if lot < 0.24:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=int(rng.integers(75, 97)), subsampling=0)
        return np.asarray(Image.open(buffer))
    return pixels


def to_planes(crops: list[Pixels]) -> Tensor:
    """B crops, h x w x 3, to B x 3 x h x w in [0, 1]."""
    return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float() / 255


def charbonnier(a: Tensor, b: Tensor) -> Tensor:
    """A smooth mean absolute difference."""
    return torch.sqrt((a - b) ** 2 + 1e-6).mean()


def correlate_gradients(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Return how much of the detail is the right detail, as `detail` of coz eval."""
    flat = [np.concatenate([np.diff(grey, axis=0).ravel(), np.diff(grey, axis=1).ravel()]) for grey in (a, b)]
    return float(np.corrcoef(*flat)[0, 1])


def look(network: SpanNet, truths: list[Pixels]) -> dict[str, float]:
    """Return PSNR and detail on crops of pictures never trained on, at 4x and 16x, reduced both ways."""
    values: dict[str, list[float]] = {}
    rng = np.random.default_rng(0)
    for how in ("bicubic", "area"):
        for factor in (4, 16):
            for truth in truths:
                planes = to_planes([reduce(truth, factor, how, rng)])
                for _ in range(1 if factor == 4 else 2):
                    with torch.no_grad():
                        planes = (network(planes) * 255).round().clamp(0, 255) / 255
                result = (planes[0].permute(1, 2, 0).numpy() * 255).astype(np.float64)
                error = float(np.mean((result - truth) ** 2))
                detail = correlate_gradients(result.mean(2), truth.mean(2, dtype=np.float64))
                values.setdefault(f"{how} {factor}x dB", []).append(10 * math.log10(255**2 / error))
                values.setdefault(f"{how} {factor}x detail", []).append(detail)
    return {name: float(np.mean(numbers)) for name, numbers in values.items()}


class Crops:
    """The training crops, and those of the pictures that are only looked at."""

    def __init__(self, path: Path, seed: int) -> None:
        with np.load(path) as stored:
            self.pixels, kinds = stored["crops"], stored["kinds"]
        with path.with_suffix(".csv").open() as file:
            counts = [int(row["crops"]) for row in csv.DictReader(file)]
        owners = np.repeat(np.arange(len(counts)), counts)
        # Every fifth photo, counted from the third, is looked at: its first crop, the most detailed one.
        looked_at = [owner for owner in np.unique(owners[kinds == 0]) if owner % 5 == 2]
        firsts = [int(np.flatnonzero(owners == owner)[0]) for owner in looked_at][:VALIDATION_PICTURES]
        self.truths = [self.pixels[index][16:272, 16:272] for index in firsts]
        trained = np.flatnonzero(~np.isin(owners, owners[firsts]))
        self.photos, self.textures = trained[kinds[trained] == 0], trained[kinds[trained] == 1]
        self.rng = np.random.default_rng(seed)

    def draw(self, count: int, side: int) -> list[Pixels]:
        """Draw random pieces, turned and mirrored; two of three are of photos."""
        pieces = []
        for _ in range(count):
            pool = self.photos if self.rng.random() < 2 / 3 else self.textures
            pixels = self.pixels[self.rng.choice(pool)]
            y, x = self.rng.integers(0, len(pixels) - side + 1, 2)
            piece = np.rot90(pixels[y : y + side, x : x + side], int(self.rng.integers(4)))
            pieces.append(np.ascontiguousarray(piece[:, ::-1] if self.rng.random() < 0.5 else piece))
        return pieces


def main() -> None:
    """Train until the minutes are over."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("crops", type=Path)
    parser.add_argument("-o", "--out", type=Path, default=Path("small"))
    parser.add_argument("--init", type=Path, help="the .param of a network in ncnn's files")
    parser.add_argument("--minutes", type=float, default=120, help="in all, those before a resumption too")
    parser.add_argument("--rate", type=float, default=2e-4)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--side", type=int, default=40, help="of the reduced crops")
    parser.add_argument("--teacher", type=float, default=0.3, help="weight of the closeness to --init")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--threads", type=int, default=1, help="more only where cores are idle: threads wait by spinning"
    )
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    teacher = None
    if options.init:
        teacher = from_ncnn(options.init, options.init.with_suffix(".bin"))
        assert isinstance(teacher, SpanNet)
    network = copy.deepcopy(teacher) if teacher else SpanNet()
    network.requires_grad_(True).mean.requires_grad_(False)
    average = copy.deepcopy(network)
    trained = [value for value in network.parameters() if value.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=options.rate, betas=(0.9, 0.99))
    step, spent, rows = 0, 0.0, []
    checkpoint = Path(f"{options.out}.ckpt")
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        network.load_state_dict(state["network"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        step, spent, rows = state["step"], state["spent"], state["rows"]
    crops = Crops(options.crops, 1_000_000 * options.seed + step)
    rng = crops.rng

    def save(loss: float) -> None:
        row = {"step": step, "minutes": round(spent / 60, 1), "loss": loss, **look(average, crops.truths)}
        rows.append(row)
        print(time.strftime("%H:%M:%S"), {key: round(value, 4) for key, value in row.items()}, flush=True)
        with Path(f"{options.out}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(row))
            writer.writeheader()
            writer.writerows(rows)
        write_ncnn(average, Path(f"{options.out}.param"))
        state = {"network": network.state_dict(), "average": average.state_dict(), "step": step, "spent": spent}
        torch.save(state | {"optimizer": optimizer.state_dict(), "rows": rows}, f"{checkpoint}.new")
        Path(f"{checkpoint}.new").replace(checkpoint)

    if step == 0:
        save(0.0)
    print(len(crops.photos), "photo crops", len(crops.textures), "textures", len(crops.truths), "looked at", flush=True)
    losses: list[float] = []
    since = time.monotonic()
    while spent < options.minutes * 60:
        decline = 0.5 + 0.5 * math.cos(math.pi * spent / (options.minutes * 60))
        for group in optimizer.param_groups:
            group["lr"] = options.rate * (0.02 + 0.98 * decline) * min(1, (step + 1) / 50)
        loss = chain_loss(network, crops, rng) if step % 4 == 3 else step_loss(network, teacher, crops, rng, options)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 0.5)
        optimizer.step()
        losses.append(loss.item())
        step += 1
        decay = min(0.999, step / (step + 20))
        with torch.no_grad():
            for averaged, value in zip(average.parameters(), network.parameters(), strict=True):
                averaged.lerp_(value, 1 - decay)
        now = time.monotonic()
        spent, since = spent + now - since, now
        if step % LOOK_EVERY == 0 or spent >= options.minutes * 60:
            save(float(np.mean(losses[-LOOK_EVERY:])))


def step_loss(
    network: SpanNet, teacher: SpanNet | None, crops: Crops, rng: np.random.Generator, options: argparse.Namespace
) -> Tensor:
    """Return the loss of one enlargement."""
    truths = crops.draw(options.batch, 4 * options.side)
    ways = [str(rng.choice(REDUCTIONS, p=SHARES)) for _ in truths]
    planes = to_planes([degrade(reduce(truth, 4, how, rng), rng) for truth, how in zip(truths, ways, strict=True)])
    results, targets = network(planes), to_planes(truths)
    loss = charbonnier(results, targets) + 0.1 * charbonnier(avg_pool2d(results, 4), avg_pool2d(targets, 4))
    taught = [index for index, how in enumerate(ways) if how == "bicubic"]
    if teacher is not None and taught and options.teacher:
        with torch.no_grad():
            lesson = teacher(planes[taught])
        loss = loss + options.teacher * len(taught) / len(ways) * charbonnier(results[taught], lesson)
    return loss


def chain_loss(network: SpanNet, crops: Crops, rng: np.random.Generator) -> Tensor:
    """Return the loss of the chain's two steps, through both of them."""
    truths = crops.draw(4, 256)
    ways = [str(rng.choice(REDUCTIONS, p=SHARES)) for _ in truths]
    parents = to_planes([reduce(truth, 4, how, rng) for truth, how in zip(truths, ways, strict=True)])
    first = network(to_planes([reduce(truth, 16, how, rng) for truth, how in zip(truths, ways, strict=True)]))
    rounded = first + ((first * 255).round().clamp(0, 255) / 255 - first).detach()
    second = network(rounded)
    consistency = charbonnier(avg_pool2d(second, 4), first.detach())
    return 0.5 * (charbonnier(first, parents) + charbonnier(second, to_planes(truths)) + 0.2 * consistency)


if __name__ == "__main__":
    main()
