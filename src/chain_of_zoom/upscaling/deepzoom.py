"""Complete a Deep Zoom picture: the label inside its .dzi, and a page beside it that shows it offline."""

from __future__ import annotations

import hashlib
import json
import re
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

from chain_of_zoom.files import write_atomic
from chain_of_zoom.imaging.geometry import Size
from chain_of_zoom.pages.render import render
from chain_of_zoom.upscaling.writers import DEEP_ZOOM_TILE

VIEWER = "openseadragon.min.js"  # OpenSeadragon 6.1.1, BSD-3-Clause, from its npm package as it is
VIEWER_SHA256 = "14d587cd3ee7c4861f1a41077ce642029364a21029956ba635bd8fb1202cf9ad"


def tiles_folder(dzi: Path) -> Path:
    """Return the folder of the tiles of a .dzi, by convention."""
    return dzi.with_name(f"{dzi.stem}_files")


def page_of(dzi: Path) -> Path:
    """Return the page that shows a .dzi."""
    return dzi.with_suffix(".html")


def put_label(dzi: Path, text: str) -> None:
    """Write the description of the picture into a .dzi, as a comment: its format has no place for texts."""
    comment = f"<!-- {re.sub('-(?=-|$)', '- ', text)} -->"
    write_atomic(dzi, dzi.read_text(encoding="utf-8").replace("</Image>", f"{comment}\n</Image>").encode())


def write_page(dzi: Path, size: Size, suffix: str, text: str) -> None:
    """Write the page beside a .dzi.

    It works from the file system, where a page can fetch nothing, so all but the tiles is in it. suffix: of the tiles.
    """
    source = {
        "Image": {
            "xmlns": "http://schemas.microsoft.com/deepzoom/2008",
            "Url": f"{quote(tiles_folder(dzi).name)}/",
            "Format": suffix,
            "Overlap": "1",
            "TileSize": str(DEEP_ZOOM_TILE),
            "Size": {"Width": str(size.width), "Height": str(size.height)},
        }
    }
    script = (files("chain_of_zoom.pages") / "vendor" / VIEWER).read_text(encoding="utf-8")
    page = render(
        "deepzoom.html",
        name=dzi.stem,
        size=str(size),
        text=re.sub(r" \((weights )?SHA-256 \w+\)", "", text),
        label=text,
        script=script.partition("//# sourceMappingURL")[0],
        source=json.dumps(source).replace("<", "\\u003c"),
    )
    write_atomic(page_of(dzi), page.encode())


def fingerprint(dzi: Path) -> tuple[str, int]:
    """Return the SHA-256 over a .dzi and the names and bytes of its tiles, and how many bytes they are."""
    digest, total = hashlib.sha256(), 0
    folder = tiles_folder(dzi)
    for path in (dzi, *sorted(p for p in folder.rglob("*") if p.is_file())):
        data = path.read_bytes()
        name = path.relative_to(folder).as_posix() if path != dzi else ""
        digest.update(f"{name}\n{len(data)}\n".encode() + data)
        total += len(data)
    return digest.hexdigest(), total
