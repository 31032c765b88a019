"""Lay out the photos that the trust map is fitted to, calibrated and checked on, from the packages they come from.

    python benchmarks/truth/photos.py PACKAGES -o photos      # a folder for each part

PACKAGES is a folder with each package of `PACKAGES` below unpacked: Debian packages as `dpkg-deb -x FILE PACKAGES/NAME`
leaves them, and the wheel of scikit-image likewise. photos.csv beside this script lists every photo, its part, its
SHA-256 and what it shows; nothing of the photos is in this repository. The parts `calibrate` and `fresh` are the odd
and the even ones of the same list, by the first byte of their SHA-256, so they are exchangeable; none of them, and none
of `twelve`, was trained on by any embedded network that this project trained (docs/training-photos.md). `fit` was.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import sys
from pathlib import Path
from typing import NamedTuple

sys.path.append(str(Path(__file__).parents[2] / "training"))
from photo_set import PACKAGES as TRAINING_PACKAGES
from photo_set import PHOTO_PACKAGES, read_resources

LIST = Path(__file__).with_name("photos.csv")
RESOURCES = "gcompris-qt-data"  # whose photos lie in archives of their own

# Package -> the version that was used, and the SHA-256 of its .deb; of scikit-image's wheel, any of that version.
PACKAGES = {
    **{name: TRAINING_PACKAGES[name] for name in (*PHOTO_PACKAGES, RESOURCES)},
    "opencv-doc": ("4.6.0+dfsg-12", "4b12681df35878207ac7097dc66184b2ae552e4bf4ddd2af04a0f03ed0b8682a"),
    "palapeli-data": ("4:22.12.3-1", "69a15dce2ac25ed8708ac518cd0cee5f4eb0c70ed15da2fdb8899a19ac0ee058"),
    "stellarium-data": ("0.22.2-1", "45aaebf39a814acbd6dcccea058c2f5651bcb5635599da03a215feeb51f4d5a5"),
    "scikit-image": ("0.26.0", ""),
}


class ListedPhoto(NamedTuple):
    """One line of photos.csv."""

    part: str
    package: str
    file: str
    sha256: str
    subject: str

    @property
    def name(self) -> str:
        """A name for the file that no other photo has."""
        return f"{self.sha256[:8]}-{Path(self.file).name}"


def read_list() -> list[ListedPhoto]:
    """Read photos.csv."""
    with LIST.open(newline="", encoding="utf-8") as file:
        return [ListedPhoto(*row) for row in csv.reader(file)][1:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packages", type=Path)
    parser.add_argument("-o", "--out", type=Path, default=Path("photos"))
    options = parser.parse_args()
    resources = dict(read_resources(options.packages / RESOURCES))
    for photo in read_list():
        in_resources = photo.package == RESOURCES
        data = resources[photo.file] if in_resources else (options.packages / photo.package / photo.file).read_bytes()
        if hashlib.sha256(data).hexdigest() != photo.sha256:
            raise SystemExit(f"{photo.package}: {photo.file} is another file than the one that was used")
        target = options.out / photo.part / photo.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)


if __name__ == "__main__":
    main()
