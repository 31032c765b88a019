"""Count how often the prompter `words` names the objects of cut-out photos rightly (docs/words.md).

    python benchmarks/words/objects.py FOLDER_WITH_UNPACKED_PACKAGES benchmarks/words/textures.csv STAMPS

STAMPS is usr/share/tuxpaint/stamps of the Debian package tuxpaint-stamps-default 2022.06.04. Each stamp lies in the
middle of a texture of 512 px: the parent. The window is its middle quarter; a second window, its corner, shows the
texture alone.
"""

from __future__ import annotations

import csv
import re
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from chain_of_zoom.prompters.recognition.network import FeatureNetwork
from chain_of_zoom.prompters.recognition.prompter import Recognizer
from chain_of_zoom.prompters.recognition.vocabulary import OBJECTS, class_numbers

FOLDERS = "/(animals|food|plants|vehicles|household|clothes|people|sports|space)/"
DRAWN = "cartoon|toys|plastic"
GROUNDS = ("grass", "stone", "sand", "wood", "fabric")
# The first pattern that is in a file's name says which words are right, separated by commas; none is right without one.
RIGHT_WORDS = (
    ("birds/", "bird"), ("fish/lobster|shrimp", "lobster,crab"), ("seahorse", "fish"), ("animals/fish", "fish"),
    ("koala", "koala"), ("kangaroo", "kangaroo"), ("hornet|insects/bee|hoverfly", "bee,fly"),
    ("grasshopper", "grasshopper"), ("slug", "snail"), ("xanthia", "butterfly"), ("mantis", "mantis"),
    ("insects/fly", "fly"), ("iguana", "lizard"), ("frog", "frog"), ("abalone|mussel", "shell"),
    ("squirrel", "squirrel"), ("rabbit", "rabbit"), ("camel", "camel"), ("bears/", "bear"),
    ("boar|pig_|mammals/pig", "pig"), ("whale|orca|dolphin", "whale"), ("sea_lion", "seal"), ("horse|donkey", "horse"),
    ("zebra", "zebra"), ("apes/", "monkey"), ("cats/", "big cat"), ("sheep|ram|mountaingoat|goat", "sheep"),
    ("bison|cow|yak|bull|zebu", "cattle"), ("gnu|blackbuck|deer/", "antelope"), ("dingo", "dog,wolf,fox"),
    ("fox", "fox"), ("dogs/dog", "dog"), ("hippo", "hippopotamus"), ("elephant", "elephant"), ("fruit/", "fruit"),
    ("vegetables/mushroom|mushrooms/", "mushroom,vegetables"), ("vegetables/corn", "corn,vegetables"),
    ("vegetables/", "vegetables,fruit"), ("pizza", "pizza"), ("flowers/|lavender", "flower"),
    ("vehicles/.*(truck|dumper|bus|tractor)|masstransit", "truck"), ("auto/|sedan|indycar", "car"), ("ship/", "boat"),
    ("747", "airplane"), ("tricycle", "bicycle"),
)  # fmt: skip


def compose(stamp: Path, ground: Path) -> Image.Image:
    """Lay a stamp, 380 px at most, on the middle of a ground of 512 px."""
    picture = Image.open(stamp).convert("RGBA")
    factor = 380 / max(picture.size)
    size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
    picture = picture.resize(size, Image.Resampling.BICUBIC)
    composed = Image.open(ground).convert("RGB").resize((512, 512))
    composed.paste(picture, ((512 - picture.width) // 2, (512 - picture.height) // 2), picture)
    return composed


def main() -> int:
    """Print what is said from several confidences on, and how much of it is right."""
    root, stamps = Path(sys.argv[1]), Path(sys.argv[3])
    rows = [row for row in csv.DictReader(Path(sys.argv[2]).read_text().splitlines()) if row["material"] in GROUNDS]
    network, recognizer = FeatureNetwork(), Recognizer()
    generator = np.random.default_rng(3)
    numbers = [list(class_numbers(word)) for word in OBJECTS]
    shares, is_right = [], []
    for stamp in sorted(stamps.rglob("*.png")):
        name = stamp.relative_to(stamps).as_posix()
        if re.search(DRAWN, name) or not re.search(FOLDERS, f"/{name}"):
            continue
        row = rows[generator.integers(len(rows))]
        parent = compose(stamp, root / row["package"] / row["file"])
        pictures = [parent, parent.crop((192, 192, 320, 320)), parent.crop((0, 0, 128, 128))]
        classes = [recognizer._class_shares(network(np.asarray(picture))) for picture in pictures]
        shares.append([[picture[chosen].sum() for chosen in numbers] for picture in classes])
        answers = next((words for pattern, words in RIGHT_WORDS if re.search(pattern, name)), "")
        is_right.append([word in answers.split(",") for word in OBJECTS])
    parents, windows, corners = np.moveaxis(np.array(shares), 1, 0)
    right = np.array(is_right)
    print(f"{len(right)} stamps, {right.any(1).sum()} with a word")
    for threshold in (0.3, 0.4, 0.5, 0.6, 0.7):
        for kind, confidence in (("parent", parents), ("window", windows), ("both", np.sqrt(parents * windows))):
            spoken = confidence >= threshold
            print(f"{threshold} {kind}: {spoken.sum()} words, {(spoken & right).sum()} right", end="; ")
        print("beside it:", (np.sqrt(parents * corners) >= threshold).sum())
    return 0


if __name__ == "__main__":
    sys.exit(main())
