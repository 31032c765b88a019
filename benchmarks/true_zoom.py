"""True zoom: reduce a photo 4x and 16x, zoom back, and compare with the real pixels.

    python benchmarks/true_zoom.py [-o true_zoom.json] [--crops 12]

Photos are those of five Debian packages (docs/evidence.md says which; nothing is copied). From each, one
512x512 crop, the most detailed of a grid, is the truth; it is reduced, enlarged again by every method, and
compared: PSNR and SSIM (higher is truer), the energy of gradients over the truth's (1 is as sharp as the
truth, less is blurred, more is over-sharp), and the correlation of gradients with the truth's (how much of
the detail is the right detail).
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from statistics import mean

import numpy as np
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from chain_of_zoom import load_backbone
from chain_of_zoom.backbones.base import Backbone
from chain_of_zoom.imaging.geometry import Size, whole_picture
from chain_of_zoom.imaging.images import RGB8, area_reduce, load, resize, size_of, to_uint8

PHOTOS = [
    "/usr/share/backgrounds/Kleiber_by_Lukas_Baubkus.jpg",
    "/usr/share/backgrounds/Dragonfly_by_Bolly.jpg",
    "/usr/share/backgrounds/life_by_Aitzol_Berasategi.jpg",
    "/usr/share/backgrounds/seeding_by_Clements_Engelhardt.jpg",
    "/usr/share/backgrounds/picosdeeuropa_by_Aitzol_Berasategi.jpg",
    "/usr/share/backgrounds/Bridge_by_Sander_Klootwijk.jpg",
    "/usr/share/backgrounds/sunset_by_Aitzol_Berasategi.jpg",
    "/usr/share/backgrounds/mate/nature/LadyBird.jpg",
    "/usr/share/backgrounds/mate/nature/TwoWings.jpg",
    "/usr/share/backgrounds/mate/nature/Wood.jpg",
    "/usr/share/wallpapers/OneStandsOut/contents/images/2560x1600.jpg",
    "/usr/share/lxqt/wallpapers/appleflower.png",
]
SIDE = 512
NETWORKS = ("realsr", "realesrgan", "realesrgan-anime", "animevideo")
MIXES = (("realsr", "realesrgan"), ("realesrgan", "realsr"))


def gradients(pixels: RGB8) -> np.ndarray:
    """Horizontal and vertical differences of the grey picture, as one vector."""
    grey = pixels.astype(np.float64).mean(axis=2)
    return np.concatenate([np.diff(grey, axis=0).ravel(), np.diff(grey, axis=1).ravel()])


def truth(path: str) -> RGB8:
    """The crop with the most detail, on a grid of whole crops: what people zoom into."""
    pixels = load(path).pixels
    rows, columns = pixels.shape[0] // SIDE, pixels.shape[1] // SIDE
    crops = [pixels[y * SIDE : (y + 1) * SIDE, x * SIDE : (x + 1) * SIDE] for y in range(rows) for x in range(columns)]
    return max(crops, key=lambda crop: float(np.square(gradients(crop)).mean()))


def reduced(pixels: RGB8, factor: int, how: str) -> RGB8:
    """`bicubic` is what super-resolution is usually trained and compared on; `area` aliases more."""
    height, width = pixels.shape[:2]
    size = Size(width // factor, height // factor)
    if how == "area":
        return to_uint8(area_reduce(pixels.astype(np.float32) / 255, whole_picture(size_of(pixels)), size))
    return resize(pixels, size, "bicubic")


def one_pass(backbone: Backbone, pixels: RGB8) -> RGB8:
    return to_uint8(backbone([pixels])[0])


def methods(small: RGB8, factor: int, backbones: dict[str, Backbone]) -> dict[str, RGB8]:
    """Every way back from the reduced crop to 512x512."""
    full, quarter = Size(SIDE, SIDE), Size(SIDE // 4, SIDE // 4)
    results = {"bicubic": resize(small, full, "bicubic")}
    if factor == 4:
        return results | {name: one_pass(backbone, small) for name, backbone in backbones.items()}
    first = {name: one_pass(backbone, small) for name, backbone in backbones.items()}
    for name, backbone in backbones.items():
        results[f"{name}, direct"] = one_pass(backbone, resize(small, quarter, "bicubic"))
        results[f"{name}, chain"] = one_pass(backbone, first[name])
    for a, b in MIXES:
        results[f"{a} then {b}"] = one_pass(backbones[b], first[a])
    return results


def compare(result: RGB8, real: RGB8) -> dict[str, float]:
    ours, theirs = gradients(result), gradients(real)
    return {
        "psnr": float(peak_signal_noise_ratio(real, result)),
        "ssim": float(structural_similarity(real, result, channel_axis=2)),
        "energy": float(np.square(ours).sum() / np.square(theirs).sum()),
        "correlation": float(np.corrcoef(ours, theirs)[0, 1]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, help="write every figure as JSON")
    parser.add_argument("--pictures", type=Path, help="folder for the pictures themselves")
    parser.add_argument("--crops", type=int, default=len(PHOTOS))
    parser.add_argument("--reduce", choices=("bicubic", "area"), default="bicubic")
    args = parser.parse_args()
    backbones = {name: load_backbone(name) for name in NETWORKS}
    figures: dict[str, dict[str, dict[str, dict[str, float]]]] = {"4": {}, "16": {}}
    started = time.perf_counter()
    for path in PHOTOS[: args.crops]:
        real = truth(path)
        for factor in (4, 16):
            for name, result in methods(reduced(real, factor, args.reduce), factor, backbones).items():
                figures[str(factor)].setdefault(name, {})[Path(path).stem] = compare(result, real)
                if args.pictures:
                    from PIL import Image

                    args.pictures.mkdir(parents=True, exist_ok=True)
                    Image.fromarray(real).save(args.pictures / f"{Path(path).stem}_truth.png")
                    Image.fromarray(result).save(args.pictures / f"{Path(path).stem}_{factor}_{name}.png")
    for factor, table in figures.items():
        bicubic = table["bicubic"]
        print(f"\n{factor}x, mean of {len(bicubic)} photos")
        print(f"{'':28}{'PSNR':>7}{'SSIM':>7}{'energy':>8}{'corr.':>7}{'  corr. above bicubic':>22}")
        for name, rows in table.items():
            means = {key: mean(row[key] for row in rows.values()) for key in next(iter(rows.values()))}
            better = sum(rows[photo]["correlation"] > bicubic[photo]["correlation"] for photo in rows)
            print(
                f"{name:28}{means['psnr']:7.2f}{means['ssim']:7.3f}{means['energy']:8.2f}{means['correlation']:7.3f}"
                f"{f'{better} of {len(rows)}':>22}"
            )
    print(f"\n{time.perf_counter() - started:.0f} s")
    if args.out:
        args.out.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
