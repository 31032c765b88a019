"""Label the textures of four Debian packages by their names and write the list that the words are trained with.

    python benchmarks/words/textures.py FOLDER_WITH_UNPACKED_PACKAGES benchmarks/words/textures.csv

Unpack ufoai-textures 2.5 (the .pk3 is a zip), 0ad-data 0.0.26 (public.zip), supertuxkart-data 1.4 and redeclipse-data
1.6 into the folders ufoai, 0ad, supertuxkart and redeclipse. A row: package, file, material, group, split. Files that
look nearly alike are one group. The files of a family (one name, many numbers) follow one another, and every fourth
group of a material is held out of all training and choosing. Files of dropped.txt were taken out by eye: their name
misleads, or they are no colours (masks, reliefs).
"""

from __future__ import annotations

import csv
import re
import sys
from pathlib import Path

import numpy as np
from PIL import Image

NOTHING = "none"  # signs, paintings, goods, machines: no material at all
# The first rule that matches the lower-case name (folder/file without its ending) decides; None drops the file.
RULES: tuple[tuple[str, str | None], ...] = (
    (r"tex_(pics|misc|shop|tech|vehicles)/.*(_nm|_gm|_sm|glow)$", None),
    (r"tex_(pics|misc|shop|tech|vehicles)/", NOTHING),
    (r"_(nm|gm|sm|n|normal|gloss|glow|spec|mask|norm|add|alpha|h|anim)$|[0-9][nsz]$|brick[nsz]$|moss01[nsz]$", None),
    (r"_way_|_blend|sign|logo|flag|window|door|crate|_edge|border|icon|skid|decal|lava|grid|trim|rail|pipe", None),
    (r"sky|gfx|particle|splash|smoke|shadow|terrain/(dummy|wasted)|mars|coral|burned|chopped|volcan|barrel", None),
    (r"(rocks?|cliff[a-z_]*|dirt|sand|shore[a-z_]*|road|mud|river|polar|concrete)_?[a-z]?_grass|"
     r"grass_?(snow|dirt|sand|stones?|rock|mud)|"
     r"(grass|rocks?|sand|snow|wall|ice|tile|tile_[a-z]|tile_pers|alpine_forrestfloor)_(dirt|snow)|"
     r"dirt_(rock|gravel|stone|snow|pebbles|broken)|_plants|snowrock|rocksnow|grass2dirt|dirt2sand|rocktograss|"
     r"sandgrass|brickmoss|snow_(50|rock)|_snow_50|sand_(scrub|stones|messy)|dunes_(rocks|stones)|"
     r"beach_(scrub|cliff)|cliff_(snow|beach|mud|grass)|wallrock|jojo|grasscliff|grasslight|racetrack|gnumed", None),
    (r"brick(?!road)|beige_bricks|/brick", "brick"),
    (r"bark(?!iron)", "bark"),
    (r"hedge|leaves|jungle0|forestfloor|ivy|shrubs|leaf|greens|bush|fern|vegetation_1|palm_tree_leaves", "foliage"),
    (r"grass|lawn|meadow|astro_turf", "grass"),
    (r"wood(?!window|barrel)|boards|planks|logs|bridge_wood|parquet|bamboo", "wood"),
    (r"cobble|paving|pavement|citytile|city_tile|road_rome|road_roman|streetbricks|sidewalk|slabs", "paving"),
    (r"snow|arctic/ice|/ice|polar_ice|greenice|_ice_|glacial|snowey|icefloor", "snow"),
    (r"water|sea2?$|oceanic|coastalwave", "water"),
    (r"sand(?!stone|_messy)|desert00|dunes|beach_[cd]|tropic_beach_(dry|wet)|sahara", "sand"),
    (r"dirt(?!yconcrete|brick)|mud(?!pot)|soil|earth(?!snow|jet)|ground_dirt|"
     r"farmland|furrows|clay|cracked-earth", "soil"),
    (r"asphalt|tarmac|streets/street|mattn/street|roadway|2ln$|2lnh$", "asphalt"),
    (r"roof(?!_w)|thatch|asianroof", "roof tiles"),
    (r"carpet|textil|curtain|jute|fabric|clothes|tapis|couch|seat00|cyberhandwoven|fiber|wicker|sweater", "fabric"),
    (r"metal|steel|iron|rust|mtl|chrome|clang|tin_floor|tread|pewter|metall|grate", "metal"),
    (r"concrete|crete|cement|stucco|plaster|conc0|con_block|/conc", "concrete"),
    (r"marble|marmor|tile(?!_z)|ceramic|floor_tile", "tiles"),
    (r"rock|cliff|stone|granite|canyon|karst|pebbles|gravel|basalt|wallpaperrock|mountain", "stone"),
    (r"straw|hay", "straw"),
)  # fmt: skip
FOLDERS = {
    "ufoai": r"tex_(mattn|nature|material|buildings|buildings_snow|ctp1|dirt|furniture|trak|pics|misc|shop|tech|"
    r"vehicles)/",
    "0ad": r"terrain/types/",
    "supertuxkart": r"textures/",
    "redeclipse": r"^(philipk|trak|luckystrike|appleflap|dziq|mikeplus64|unnamed|ulukai|snipergoth|freezurbern|"
    r"blendbrush|wicked|acerspyro|mayhem|elyvisions|vegetation|john)/",
}
ENDINGS = (".jpg", ".png", ".tga", ".dds")
SMALLEST = 256
MOST = 90  # of a material, evenly over its names: more of one would not teach the others
ALIKE = 0.93  # correlation of two thumbnails


def label(name: str) -> str | None:
    """Name the material of a file, or None where its name says nothing certain."""
    for rule, material in RULES:
        if re.search(rule, name):
            return material or None
    return None


def thumbnail(picture: Image.Image) -> np.ndarray:
    """Return 24 x 24 grey values of mean 0 and norm 1, by which near copies are found."""
    values = np.asarray(picture.convert("L").resize((24, 24), Image.Resampling.BOX), dtype=np.float32).ravel()
    values -= values.mean()
    return values / max(float(np.linalg.norm(values)), 1e-3)


def main() -> int:
    """Write the list and print how many there are of each material."""
    root, target = Path(sys.argv[1]), Path(sys.argv[2])
    dropped = set(Path(__file__).with_name("dropped.txt").read_text().split("\n"))
    rows: dict[str, list[tuple[str, str, np.ndarray]]] = {}
    for package, folder in FOLDERS.items():
        for path in sorted(path for path in (root / package).rglob("*") if path.name.lower().endswith(ENDINGS)):
            relative = path.relative_to(root / package).as_posix()
            name = re.sub(r"(\.(jpg|png|tga|dds|cached))+$", "", relative.lower())
            if not re.search(folder, name) or f"{package}/{relative}" in dropped:
                continue
            has_telling_folders = package in ("ufoai", "0ad")
            short = name.split("textures/")[-1] if has_telling_folders else name.rsplit("/", 1)[-1]
            if (material := label(short)) is None:
                continue
            try:
                with Image.open(path) as picture:
                    if min(picture.size) < SMALLEST or max(picture.size) > 2 * min(picture.size):
                        continue
                    if package != "0ad" and "A" in picture.getbands() and picture.getchannel("A").getextrema()[0] < 128:
                        continue
                    rows.setdefault(material, []).append((package, relative, thumbnail(picture)))
            except OSError:
                continue
    with target.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("package", "file", "material", "group", "split"))
        for material, entries in sorted(rows.items()):
            if len(entries) > MOST:
                entries = [entries[index * len(entries) // MOST] for index in range(MOST)]
            groups: list[int] = []
            for index, (package, relative, values) in enumerate(entries):
                alike = [groups[earlier] for earlier in range(index) if float(values @ entries[earlier][2]) > ALIKE]
                groups.append(alike[0] if alike else max(groups, default=0) + 1)
                split = "train" if groups[-1] % 4 else "held out"
                writer.writerow((package, relative, material, groups[-1], split))
            held_out = sum(group % 4 == 0 for group in groups)
            print(f"{material:12} {len(entries):4} files, {max(groups):4} groups, {held_out:3} files held out")
    return 0


if __name__ == "__main__":
    sys.exit(main())
