"""Make training pairs from photos: views at several scales, flat and repeated ones left out, split by photo."""

from __future__ import annotations

import hashlib
import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np

from chain_of_zoom.alignment.pairs.folder import (
    FilteredView,
    PairFolder,
    PairPhoto,
    PairSetRecord,
    PairSettings,
    PhotoEntry,
)
from chain_of_zoom.alignment.pairs.read import FullPairRow, Split
from chain_of_zoom.alignment.pairs.views import Crop, PairView, cut_views, list_crops
from chain_of_zoom.backbones.base import Backbone
from chain_of_zoom.chain.record import software
from chain_of_zoom.datasets.manifest import Dataset, ManifestItem
from chain_of_zoom.errors import BadInputError, MissingError, UsageError
from chain_of_zoom.imaging.encode import COMPOSITE, TRAINED_MODEL, encode_jpeg, encode_png, label
from chain_of_zoom.imaging.images import Picture, decode_png, load
from chain_of_zoom.imaging.sheet import Panel, draw_sheet
from chain_of_zoom.imaging.spots import find_centre, find_textured_spots
from chain_of_zoom.parsing import make_unique, printable
from chain_of_zoom.runs.progress import OnProgress, Progress, ignore_progress

MAX_PAIRS = 48
TRAIN, HELD_OUT = (90, 200, 120), (138, 184, 255)


def draw_contact_sheet(name: str, rows: Sequence[FullPairRow], counts: Mapping[str, int], home: Path) -> bytes:
    """Draw a JPEG of up to 48 pairs, evenly from all of them. home: the folder of their pictures."""
    chosen = [rows[i] for i in np.linspace(0, len(rows) - 1, min(MAX_PAIRS, len(rows))).round().astype(int)]
    summary = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    legend = [(TRAIN, "train"), (HELD_OUT, "held out, by photo; left: the parent view, right: its 4x zoom by bicubic")]
    sheet = draw_sheet(f"{name}: {summary}; {len(chosen)} shown", [_draw_panel(row, home) for row in chosen], legend)
    generated = any(row.origin == "chain" for row in chosen)
    return encode_jpeg(sheet, label(f"Contact sheet of pairs of {name}", COMPOSITE if generated else None)[1])


def _draw_panel(row: FullPairRow, home: Path) -> Panel:
    parent, zoomed = (decode_png((home / file).read_bytes()) for file in (row.parent_file_name, row.zoomed_file_name))
    x0, y0, x1, y1 = row.box
    width, height = x1 - x0, y1 - y0
    window_x0, window_y0, window_x1, window_y1 = row.zoomed_box
    frame = (
        (window_x0 - x0) / width / 2,
        (window_y0 - y0) / height,
        (window_x1 - x0) / width / 2,
        (window_y1 - y0) / height,
    )
    return Panel(
        image=np.hstack([parent, zoomed]),
        title=f"{width:.0f} px" + (f", chain {4**row.depth}x" if row.depth else ""),
        lines=[row.name, row.split],
        colour=HELD_OUT if row.split == "held-out" else TRAIN,
        next_window=frame,
    )


SIDES = (64, 2048)


def make_pairs(
    data: Dataset,
    out: Path,
    settings: PairSettings,
    backbone: Backbone,
    *,
    force: bool = False,
    on_progress: OnProgress = ignore_progress,
) -> PairSetRecord:
    """Write pairs of all photos of a set into a folder, unless they are there already, and return their record.

    backbone: makes the parents of the `chain_share`; any other where that is 0. A photo that cannot be read, is too
    small or is there twice is skipped and listed. Stopped, the same call goes on after the last photo.
    Raises UsageError for settings, BadInputError when no pair is usable, OccupiedError for another folder, MissingError
    for weights.
    """
    check_settings(settings)
    photos, skipped = _list_photos(data.items, settings)
    about = PairSetRecord(settings=settings, photos=photos, software=software(()))
    with PairFolder(out, about, force=force) as folder:
        if folder.about.complete:
            return folder.about
        items = {item.sha256: item for item in data.items}
        fingerprints: dict[str, int] = {}
        for number, photo in enumerate(photos):
            on_progress(Progress(photo.file, number, len(photos)))
            if photo.sha256 not in folder.entries:
                folder.add(photo, _make_entry(photo, items[photo.sha256], settings, backbone, folder, fingerprints))
            entry = folder.entries[photo.sha256]
            names = (row.name for row in entry.rows)
            fingerprints |= zip(names, (int(bits, 16) for bits in entry.fingerprints), strict=True)
        entries = [folder.entries[photo.sha256] for photo in photos]
        skipped += [(photo.file, entry.skipped) for photo, entry in zip(photos, entries, strict=True) if entry.skipped]
        rows = [row for entry in entries for row in entry.rows]
        filtered = tuple(view for entry in entries for view in entry.filtered)
        counts = _count_pairs(rows, filtered, skipped)
        if not rows:
            raise BadInputError(
                f"no pair is left of {len(data.items)} photos ({counts['flat']} flat, {counts['duplicate']} duplicate "
                f"views, {counts['skipped']} photos skipped{f', the first: {skipped[0][1]}' if skipped else ''}); "
                "accepted: photos with detail; lower --min-detail, or name other photos"
            )
        about = msgspec.structs.replace(about, counts=counts, filtered=filtered, skipped=tuple(skipped))
        folder.finish(rows, draw_contact_sheet(data.name, rows, counts, out), about)
    return folder.about


def check_settings(settings: PairSettings) -> None:
    """Raises UsageError for numbers that make no sense."""
    low, high = SIDES
    rules = (
        (low <= settings.side <= high and settings.side % 4 == 0, "--side", settings.side, f"{low} to {high}, by 4"),
        (0 <= settings.chain_share <= 1, "--chain-share", settings.chain_share, "0 to 1"),
        (1 <= settings.chain_depth <= 4, "--chain-depth", settings.chain_depth, "1 to 4"),
        (0 <= settings.held_out < 1, "--held-out", settings.held_out, "0 to less than 1"),
        (0 <= settings.min_detail <= 255, "--min-detail", settings.min_detail, "0 to 255 levels"),
        (0 <= settings.min_entropy <= 6, "--min-entropy", settings.min_entropy, "0 to 6 bits"),
        (0 <= settings.min_distance <= 64, "--min-distance", settings.min_distance, "0 to 64 bits"),
    )
    for holds, option, value, accepted in rules:
        if not holds:
            raise UsageError(f"{option} {value}; accepted: {accepted}; see coz align pairs --help")


def _list_photos(
    items: Sequence[ManifestItem], settings: PairSettings
) -> tuple[tuple[PairPhoto, ...], list[tuple[str, str]]]:
    """Return the photos with unique names and their splits, and the files that repeat one of them.

    Held out are the photos that a hash of their bytes and the seed puts first, so that most stay what they are when
    photos are added; at least one of two or more.
    """
    first: dict[str, ManifestItem] = {}
    skipped = []
    for item in items:
        if item.sha256 in first:
            skipped.append((printable(item.path.name), f"the same photo as {printable(first[item.sha256].path.name)}"))
        first.setdefault(item.sha256, item)
    order = sorted(first, key=lambda sha256: hashlib.sha256(f"{settings.seed} {sha256}".encode()).digest())
    count = max(round(len(order) * settings.held_out), 1) if settings.held_out and len(order) > 1 else 0
    held_out = set(order[:count])
    names: set[str] = set()
    photos = []
    for sha256, item in first.items():
        stem = re.sub(r"[^\w-]+", "_", printable(item.id))[:80].strip("_") or "photo"
        name = make_unique(stem, names, str.casefold)
        split: Split = "held-out" if sha256 in held_out else "train"
        file = printable(item.path.name)
        photos.append(PairPhoto(name=name, file=file, sha256=sha256, split=split, spots=item.spots or ()))
    return tuple(photos), skipped


def _make_entry(
    photo: PairPhoto,
    item: ManifestItem,
    settings: PairSettings,
    backbone: Backbone,
    folder: PairFolder,
    earlier: dict[str, int],
) -> PhotoEntry:
    """Make and write the pairs of one photo. earlier: fingerprints of the pairs before, by name."""
    try:
        picture = load(item.path)
    except (BadInputError, MissingError) as error:
        return PhotoEntry(skipped=" ".join(str(error).split()))
    if min(picture.size) < settings.side:
        return PhotoEntry(skipped=f"{picture.size} px; accepted: a short side of {settings.side} px or more")
    rows, fingerprints, filtered = [], [], []
    known_fingerprints = dict(earlier)
    for crop, depth, view in _cut_photo(picture, item, settings, backbone):
        name = f"{photo.name}_{crop.frame}px_{crop.number}" + (f"_chain{4**depth}x" if depth else "")
        if (flaw := _find_flaw(name, view, settings, known_fingerprints)) is not None:
            filtered.append(flaw)
            continue
        known_fingerprints[name] = view.fingerprint
        fingerprints.append(f"{view.fingerprint:016x}")
        rows.append(_write_pair(name, photo, crop, depth, view, folder, settings))
    return PhotoEntry(rows=tuple(rows), fingerprints=tuple(fingerprints), filtered=tuple(filtered))


def _cut_photo(
    picture: Picture, item: ManifestItem, settings: PairSettings, backbone: Backbone
) -> list[tuple[Crop, int, PairView]]:
    """Cut all views of a photo. Some, drawn by chance, come from a chain instead if the photo's own view has detail."""
    pixels, side = picture.pixels, settings.side
    spots = list(item.spots or ())
    if not spots and settings.spots:
        spots = find_textured_spots(pixels, settings.spots, settings.seed)
    elif not spots:
        spots = find_centre(pixels)
    listed_crops = list_crops(picture.size, spots, side)
    plain = cut_views(pixels, [(crop, 0) for crop in listed_crops], side, backbone, settings.seed)
    views = {crop: (0, view) for crop, view in zip(listed_crops, plain, strict=True)}
    chained = []
    for crop in listed_crops:
        draw = random.Random(f"{settings.seed} {item.sha256} {crop.frame} {crop.spot}")
        if draw.random() < settings.chain_share and not _is_flat(views[crop][1], settings):
            chained.append((crop, draw.randint(1, settings.chain_depth)))
    for (crop, depth), view in zip(chained, cut_views(pixels, chained, side, backbone, settings.seed), strict=True):
        views[crop] = (depth, view)
    return [(crop, depth, view) for crop, (depth, view) in views.items()]


def _is_flat(view: PairView, settings: PairSettings) -> bool:
    """Return whether a view has too little detail or too few greys."""
    return view.detail < settings.min_detail or view.entropy < settings.min_entropy


def _find_flaw(name: str, view: PairView, settings: PairSettings, earlier: dict[str, int]) -> FilteredView | None:
    """Return what is wrong with a view; None for a good one. earlier: fingerprints of the pairs before, by name."""
    if view.detail < settings.min_detail:
        return FilteredView(name=name, why="flat", value=round(view.detail, 3))
    if view.entropy < settings.min_entropy:
        return FilteredView(name=name, why="flat", value=round(view.entropy, 3))
    distances = (((bits ^ view.fingerprint).bit_count(), name) for name, bits in earlier.items())
    distance, like = min(distances, default=(64, ""))
    if distance < settings.min_distance:
        return FilteredView(name=name, why="duplicate", value=distance, like=like)
    return None


def _write_pair(
    name: str, photo: PairPhoto, crop: Crop, depth: int, view: PairView, folder: PairFolder, settings: PairSettings
) -> FullPairRow:
    """Write the pictures of a pair and return its line."""
    window = ", ".join(f"{float(edge):g}" for edge in view.box)
    content = f"GENERATED by the model {settings.backbone} from" if depth else "Pixels of the photo, resampled:"
    source = f"{photo.file} (SHA-256 {photo.sha256}), window {window} px"
    # Names of photos stay out of file names: "train" or "test" in one would be a split to the datasets library.
    stem = f"{photo.sha256[:16]}_{crop.frame}px_{crop.number}_{depth}"
    marks = label(f"{content} {source}", TRAINED_MODEL if depth else None)
    return FullPairRow(
        name=name,
        parent_file_name=folder.write(f"{stem}_parent.png", encode_png(view.parent, *marks, fast=True)),
        zoomed_file_name=folder.write(f"{stem}_zoomed.png", encode_png(view.zoomed, *marks, fast=True)),
        split=photo.split,
        origin="chain" if depth else "photo",
        depth=depth,
        source_scale=settings.side / float(view.box.width),
        photo=photo.file,
        photo_sha256=photo.sha256,
        box=view.box.floats(),
        zoomed_box=view.zoomed_box.floats(),
    )


def _count_pairs(
    rows: Sequence[FullPairRow], filtered: Sequence[FilteredView], skipped: Sequence[object]
) -> dict[str, int]:
    """Count pairs by split and origin, and what was filtered or skipped."""
    numbers: Counter[str] = Counter(kind for row in rows for kind in (row.split, row.origin))
    numbers.update(view.why for view in filtered)
    kinds = ("train", "held-out", "photo", "chain", "flat", "duplicate")
    return {"pairs": len(rows), **{kind: numbers[kind] for kind in kinds}, "skipped": len(skipped)}
