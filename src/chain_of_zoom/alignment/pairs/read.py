"""Read training pairs, a view and its 4x zoom as a prompter is shown them, from a folder or a JSONL file.

One line of the file is one pair. The layout is the "imagefolder" of the datasets library, with two columns of pictures:
`load_dataset("imagefolder", data_dir="pairs")` gives `parent` and `zoomed`, and all that a line says besides.
"""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Literal

import msgspec

from chain_of_zoom.errors import BadInputError, ChainOfZoomError
from chain_of_zoom.imaging.decode import decode
from chain_of_zoom.imaging.folder import is_folder
from chain_of_zoom.parsing import parse_json
from chain_of_zoom.resources import available_cores

METADATA = "metadata.jsonl"
MAKE = "type: coz align pairs PHOTOS -o pairs"

Split = Literal["train", "held-out"]
Window = tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A view and its zoom, as files."""

    name: str
    """Unique within the set."""
    parent: Path
    """Picture file of the view, RGB."""
    zoomed: Path
    """Picture file of its zoom, RGB."""
    split: Split
    """"train", or "held-out" for comparisons."""
    photo: str = ""
    """The photo it shows, or its own name; pairs of one photo are no independent observations."""


@dataclass(frozen=True)
class Pairs:
    """The pairs of a file."""

    pairs: tuple[Pair, ...]
    """Pairs that can be used, in the file's order."""
    skipped: tuple[tuple[str, str], ...]
    """Name or line of every pair that cannot be used, and the reason."""

    def select(self, split: Split) -> tuple[Pair, ...]:
        """Return the pairs of one split."""
        return tuple(pair for pair in self.pairs if pair.split == split)


class PairRow(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the file; other keys may stand beside these. Paths are relative and within the file's folder."""

    name: str = ""
    """Name of the pair; the stem of the zoomed file by default."""
    parent_file_name: str
    """Path of the view."""
    zoomed_file_name: str
    """Path of its zoom."""
    split: Split = "train"
    """What the pair is for."""
    photo: str = ""
    """The photo that the pair was made from."""
    photo_sha256: str = ""
    """SHA-256 of that file, in hexadecimal."""


class FullPairRow(PairRow, frozen=True, kw_only=True):
    """A line that `coz align pairs` writes. Boxes are left, top, right and bottom in pixels of the oriented photo."""

    origin: Literal["photo", "chain"]
    """"photo" when the parent shows the photo's own pixels, "chain" when a backbone made it."""
    depth: int
    """Steps of 4x from the photo's pixels to the parent, by the backbone."""
    source_scale: float
    """Pixels of the parent per pixel of the photo."""
    box: Window
    """What the parent shows."""
    zoomed_box: Window
    """What the zoomed view shows."""


def read_pairs(source: Path, *, needed: int = 2) -> Pairs:
    """Read the pairs of a folder that `coz align pairs` wrote, or of any JSONL file of that shape.

    Every picture is decoded, so that training does not meet a bad one hours later; pairs that cannot be read are
    skipped and listed. Raises BadInputError when the file cannot be read, or fewer than `needed` pairs are usable.
    """
    file = source / METADATA if is_folder(source) else source
    try:
        lines = file.read_bytes().splitlines()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BadInputError(
            f"{file} cannot be read ({reason}); accepted: a folder with {METADATA}, or a JSONL file with "
            f"parent_file_name and zoomed_file_name in each line; {MAKE}"
        ) from error
    pairs: dict[str, Pair] = {}
    skipped: list[tuple[str, str]] = []
    read_line = partial(_read_line, home=file.parent)
    # Decoders let go of Python's lock; each thread sets what becomes of warnings, and this puts it back.
    with warnings.catch_warnings(), ThreadPoolExecutor(available_cores()) as threads:
        for number, pair in enumerate(threads.map(read_line, lines), 1):
            if isinstance(pair, Pair) and pair.name not in pairs:
                pairs[pair.name] = pair
            elif isinstance(pair, Pair):
                skipped.append((pair.name, f"line {number} has the name of another pair"))
            elif pair:
                name, reason = pair
                skipped.append((name or f"line {number}", reason))
    if len(pairs) < needed:
        first = f"; the first skipped: {skipped[0][0]}: {skipped[0][1]}" if skipped else ""
        raise BadInputError(
            f"{file} has {len(pairs)} usable pairs of {len(pairs) + len(skipped)}{first}; "
            f"accepted: {needed} or more; {MAKE}"
        )
    return Pairs(tuple(pairs.values()), tuple(skipped))


def _read_line(line: bytes, home: Path) -> Pair | tuple[str, str] | None:
    """Read the pair of a line and decode its pictures; return (name, reason) if that fails, None for an empty line."""
    name = ""
    try:
        if not line.strip():
            return None
        row = parse_json(line, PairRow)
        name = row.name or PurePosixPath(row.zoomed_file_name).stem
        files = [_resolve_within(home, text) for text in (row.parent_file_name, row.zoomed_file_name)]
        for file in files:
            decode(file)
    except (msgspec.DecodeError, ChainOfZoomError) as error:
        return name, " ".join(str(error).split())
    photo = row.photo_sha256 or row.photo or name
    return Pair(name=name, parent=files[0], zoomed=files[1], split=row.split, photo=photo)


def _resolve_within(home: Path, text: str) -> Path:
    """Return the path of a file within a folder. Raises BadInputError for any other."""
    # The datasets library does so, too: a file from elsewhere must not name any file of this machine.
    path, windows = PurePosixPath(text), PureWindowsPath(text)
    if path.is_absolute() or windows.drive or windows.root or ".." in (*path.parts, *windows.parts) or not path.name:
        raise BadInputError(f"{text[:80]!r} lies outside the folder; accepted: a path relative to it, without ..")
    return home / path
