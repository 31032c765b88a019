"""Make the training set of the small network from Debian packages: crops of photographs and of textures.

    python training/photo_set.py PACKAGES -o crops
    coz train --network small --init span --data crops/train --validation crops/look -o small

PACKAGES is a folder with the packages of `PACKAGES` below, as `apt-get download` leaves them, or each of them unpacked
(`dpkg-deb -x FILE PACKAGES/NAME`). Of every fifth photo, counted from the third, the most detailed crop goes to
crops/look, which is never trained on; all others go to crops/train. Beside them lies crops.csv: every picture, its
SHA-256, its share of the crops.

A photo is halved, or reduced to a short side of --side where a half is less; the set of the shipped weights left
such photos out.

Never taken: the 31 photos of docs/benchmark.md, by name and by looks, and every fourth texture of a family (by the last
number in its name). Nothing of the pictures is in this repository; docs/training-photos.md names authors and licences.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import random
import re
import struct
import subprocess
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from chain_of_zoom.datasets.photos import SETS

Image.MAX_IMAGE_PIXELS = None
SIDE = 288  # of a crop in pixels; a chain of three steps wants 512
PHOTO_CROPS, TEXTURE_CROPS = 12, 1
HELD_OUT_FAMILY_SHARE, LOOKED_AT_SHARE = 4, 5

# Debian package -> the version that was used, and the SHA-256 of its .deb.
PACKAGES = {
    "lomiri-wallpapers-16.04": ("20.04.0-2", "a99ff6a3bfe451e4cc0682ecb3cc82e71740626d59e4845ae34a0a0e45421eab"),
    "lomiri-wallpapers-20.04": ("20.04.0-2", "d44e89b8473aafe64a5b678f014862dc31335aaaf18665c544d985d854f1a709"),
    "mate-backgrounds": ("1.26.0-1", "7bf4c2209f34b4f61ba6d24c8b58c28b361e82e4b943aae6d42c030169af9e04"),
    "plasma-workspace-wallpapers": ("4:5.27.5-2", "32cd18b71c8c938a18b3b351f217c02ac590e323caa3cf322fbb875ce8892f8b"),
    "lxqt-themes": ("1.2.0-1", "d518df36b515b09d36cb00b12645dd8ce170bb82bb0966297741905ce3edc8e1"),
    "gcompris-qt-data": ("3.1-2", "e9cf06ab2105529068df73085784e835d2ff03f870d2a8091f09125d40abac9f"),
    "ufoai-textures": ("2.5-2", "51c9c6a778249a3fa432c81c8c30ac5675ae5a1e675a33b0ce04545753d3218c"),
    "redeclipse-data": ("1.6.0-1", "ada26453d3100bd61154ce20a699352f0b48bb29f8505f477ebdcb612f71ab42"),
    "supertuxkart-data": ("1.4+dfsg-2", "568d69cda50dc8ad1facb89514bd14953dfca736fdb83c49ae330b0aa7dd2364"),
    "0ad-data": ("0.0.26-1", "53745ae74d05bccf6783400fa98f3932b21729ab9d2e86151aa2c331c3455178"),
}
# Photographs among the wallpapers, by a part of their path; the rest of these packages is drawn or rendered.
PHOTOS = (
    *("Picture_1A_by_freespace", "greentock_by_Peter_Nerlich"),
    *("nature/Blinds", "nature/Dune", "nature/FreshFlower", "nature/GreenMeadow", "nature/RainDrops", "nature/Storm"),
    *("DarkestHour/contents/images/2560", "Grey/contents/images/2560", "Kite/contents/images/2560"),
    *("summer_1am/contents/images/2560", "wallpapers/drop.png", "wallpapers/Valendas.png", "wallpapers/fog.jpg"),
    *("wallpapers/this-is-not-windows.jpg", "wallpapers/Butterfly-Kenneth-Wimer.jpg"),
)
PHOTO_PACKAGES = tuple(PACKAGES)[:5]
RESOURCES = ("erase", "explore_farm_animals", "explore_monuments", "explore_world_animals", "explore_world_music")
UNCREDITED = "aulaPalatina.webp"  # the only one whose author the package does not name
NO_PICTURE = re.compile(r"norm|_nm|_n\b|_s\b|gloss|spec|bump|height|mask|sky|gui|icon|particle|skin|font|lightmap|logo")

Pixels = NDArray[np.uint8]


def unpack(folder: Path, package: str) -> Path:
    """Return the folder of the unpacked package, which is unpacked from its .deb where it is not yet."""
    unpacked = folder / package
    if not unpacked.is_dir():
        (deb,) = folder.glob(f"{package}_*.deb")
        subprocess.run(["dpkg-deb", "-x", deb, unpacked], check=True)
    return unpacked


def read_members(package: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the names and bytes of a package's pictures, those in its .zip and .pk3 archives too."""
    for path in sorted(package.rglob("*")):
        if path.is_symlink() or not path.is_file():
            continue
        if path.suffix in (".zip", ".pk3"):
            with zipfile.ZipFile(path) as archive:
                for name in sorted(archive.namelist()):
                    if is_picture(name):
                        yield name, archive.read(name)
        elif is_picture(path.name):
            yield str(path.relative_to(package)), path.read_bytes()


def is_picture(name: str) -> bool:
    """Tell by its ending whether a file is a picture."""
    return name.lower().endswith((".jpg", ".jpeg", ".png", ".dds", ".tga"))


def list_resources(data: bytes) -> dict[str, tuple[int, int]]:
    """Return the files of a Qt resource file of version 2 or later: start of the bytes and flags by path."""
    tree, contents, names = struct.unpack_from(">III", data, 8)
    files: dict[str, tuple[int, int]] = {}

    def walk(node: int, folder: str) -> None:
        start = tree + 22 * node
        name_at, flags = struct.unpack_from(">IH", data, start)
        length = struct.unpack_from(">H", data, names + name_at)[0] if node else 0
        name = data[names + name_at + 6 : names + name_at + 6 + 2 * length].decode("utf-16-be")
        path = f"{folder}/{name}" if folder else name
        if flags & 2:
            count, first = struct.unpack_from(">II", data, start + 6)
            for child in range(first, first + count):
                walk(child, path)
        else:
            (offset,) = struct.unpack_from(">I", data, start + 10)
            files[path] = contents + offset + 4, flags

    walk(0, "")
    return files


def read_resources(package: Path, ending: str = ".webp") -> Iterator[tuple[str, bytes]]:
    """Yield the photographs in the resource files of gcompris, or files of another ending, in their order there."""
    for name in RESOURCES:
        data = (package / f"usr/share/gcompris-qt/rcc/{name}.rcc").read_bytes()
        for path, (start, flags) in sorted(list_resources(data).items(), key=lambda entry: entry[1]):
            content = data[start : start + int.from_bytes(data[start - 4 : start], "big")]
            if path.endswith(ending) and not path.endswith(UNCREDITED):
                yield path, zlib.decompress(content[4:]) if flags & 1 else content


def is_held_out(name: str) -> bool:
    """Tell whether a texture is one of the fourth of its family that is for measuring."""
    stem = Path(name).stem
    numbers = re.findall(r"\d+", stem)
    number = int(numbers[-1]) if numbers else int(hashlib.sha1(stem.encode()).hexdigest(), 16)
    return number % HELD_OUT_FAMILY_SHARE == 0


def summarise(picture: Image.Image) -> NDArray[np.float32]:
    """Return 16 x 16 grey means, by which copies of a picture are recognised at any size."""
    return np.asarray(picture.convert("L").resize((16, 16), Image.Resampling.BOX), np.float32)


def open_picture(data: bytes, halve: bool, side: int) -> Image.Image | None:
    """Return the picture as RGB, None for one that is damaged, transparent or too small for a crop."""
    try:
        picture = Image.open(io.BytesIO(data))
        picture.load()
    except (OSError, ValueError, SyntaxError, NotImplementedError):
        return None
    if picture.mode == "RGBA" and np.asarray(picture)[..., 3].min() == 255:
        picture = picture.convert("RGB")
    if picture.mode != "RGB":
        return None
    if halve or min(picture.size) >= 1800:  # hides lossy compression and what the camera interpolated
        picture = reduce_by_half(picture, side)
    return picture if min(picture.size) >= side else None


def reduce_by_half(picture: Image.Image, side: int) -> Image.Image:
    """Halve a picture, or reduce it to a short side of `side` where a half is less."""
    short = min(picture.size)
    if short >= 2 * side or short <= side:
        return picture.reduce(2)
    width, height = (round(length * side / short) for length in picture.size)
    return picture.resize((width, height), Image.Resampling.LANCZOS)


def choose_crops(picture: Image.Image, count: int, side: int, rng: random.Random) -> list[Pixels]:
    """Return up to `count` crops that show something: the most detailed of three times as many random ones."""
    pixels = np.asarray(picture)
    height, width = pixels.shape[:2]
    ranked = []
    for _ in range(3 * count):
        x, y = rng.randrange(width - side + 1), rng.randrange(height - side + 1)
        crop = pixels[y : y + side, x : x + side]
        grey = crop.astype(np.float32).mean(2)
        ranked.append((float(np.abs(np.diff(grey, axis=0)).mean() + np.abs(np.diff(grey, axis=1)).mean()), x, y, crop))
    ranked.sort(key=lambda entry: entry[:3], reverse=True)
    return [crop.copy() for detail, _, _, crop in ranked[:count] if detail > 2.5]


def find_photos(folder: Path) -> Iterator[tuple[str, str, bytes, bool]]:
    """Yield package, name, bytes, and whether to halve it, of every photograph."""
    for package in PHOTO_PACKAGES:
        for name, data in read_members(unpack(folder, package)):
            if any(part in name for part in PHOTOS):
                yield package, name, data, False
    for name, data in read_resources(unpack(folder, "gcompris-qt-data")):
        if len(data) > 45_000:
            yield "gcompris-qt-data", name, data, True


def find_textures(folder: Path, package: str) -> Iterator[tuple[str, str, bytes, bool]]:
    """Yield the same of a package's textures that are not held out."""
    for name, data in read_members(unpack(folder, package)):
        photo_like = package != "0ad-data" or "terrain" in name
        if photo_like and len(data) > 120_000 and not NO_PICTURE.search(name.lower()) and not is_held_out(name):
            yield package, name, data, package == "0ad-data"  # whose DXT1 blocks show


def summarise_held_out(folder: Path) -> list[NDArray[np.float32]]:
    """Return what the 31 photos of the benchmark look like, from the same packages."""
    paths = [Path(path).relative_to("/") for photos in SETS.values() for path in photos.values()]
    files = [unpack(folder, package) / path for path in paths for package in PHOTO_PACKAGES]
    summaries = [summarise(Image.open(file)) for file in files if file.is_file()]
    if len(summaries) != len(paths):
        raise SystemExit(f"{len(summaries)} of the {len(paths)} photos to hold out were recognised")
    return summaries


def main() -> None:
    """Write the crops and the list of the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packages", type=Path)
    parser.add_argument("-o", "--out", type=Path, default=Path("crops"))
    parser.add_argument("--textures", type=int, default=400, help="of every package, at most")
    parser.add_argument("--photo-crops", type=int, default=PHOTO_CROPS, help="of every photo, at most")
    parser.add_argument("--side", type=int, default=SIDE, help="of a crop, in pixels")
    options = parser.parse_args()
    rng = random.Random(0)
    held_out = summarise_held_out(options.packages)
    rows: list[tuple[str, str, str, str, int]] = []
    summaries: list[NDArray[np.float32]] = []
    for use in ("train", "look"):
        (options.out / use).mkdir(parents=True, exist_ok=True)

    def take(pictures: Iterator[tuple[str, str, bytes, bool]], kind: str, count: int, most: int) -> None:
        first = len(rows)
        for package, name, data, halve in pictures:
            picture = open_picture(data, halve, options.side)
            if picture is None:
                continue
            summary = summarise(picture)
            if any(np.abs(summary - reserved).mean() < 6 for reserved in held_out):
                print("held out:", package, name)
                continue
            if any(np.abs(summary - earlier).mean() < 1 for earlier in summaries):
                continue
            summaries.append(summary)
            chosen = choose_crops(picture, count, options.side, rng)
            if chosen:
                is_looked_at = kind == "photo" and len(rows) % LOOKED_AT_SHARE == 2
                for number, crop in enumerate(chosen[:1] if is_looked_at else chosen):
                    path = (
                        options.out / ("look" if is_looked_at else "train") / f"{kind}-{len(rows):04d}-{number:02d}.png"
                    )
                    Image.fromarray(crop).save(path, compress_level=1)
                rows.append((package, name, hashlib.sha256(data).hexdigest(), kind, len(chosen)))
            if len(rows) - first >= most:
                break
        print(kind, len(rows) - first, "pictures", flush=True)

    take(find_photos(options.packages), "photo", options.photo_crops, 10_000)
    for package in tuple(PACKAGES)[6:]:
        take(find_textures(options.packages, package), "texture", TEXTURE_CROPS, options.textures)
    with (options.out / "crops.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("package", "file", "sha256", "kind", "crops"), *rows])


if __name__ == "__main__":
    main()
