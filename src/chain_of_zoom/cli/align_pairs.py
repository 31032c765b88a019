"""`coz align pairs`: what the prompter learns from, made from photos."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chain_of_zoom.api import load_backbone
from chain_of_zoom.cli.flags import AsJson, Debug, Device, Quiet, option, switch
from chain_of_zoom.cli.options import combine, read_loader_sets, shared
from chain_of_zoom.cli.progress import Display
from chain_of_zoom.cli.terminal import echo, echo_lines
from chain_of_zoom.errors import MissingError, UsageError
from chain_of_zoom.json_bytes import format_json
from chain_of_zoom.parsing import parse_whole

if TYPE_CHECKING:
    from chain_of_zoom.alignment.pairs.folder import PairSetRecord
    from chain_of_zoom.backbones.base import Backbone


def pairs(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="PHOTOS",
            help="A folder of photos, one photo, or a manifest of `coz eval data`.",
            show_default=False,
            readable=False,
        ),
    ],
    out: Annotated[Path, option("DIR", "Where to write.", "--out", "-o")] = Path("pairs"),
    spots: Annotated[
        str, option("N|centre", "Textured places per photo, or its centre; a manifest has its own.")
    ] = "4",
    side: Annotated[int, option("PX", "Width and height of every view.")] = 512,
    chain_share: Annotated[
        float, option("0..1", "Share of the views whose parent a backbone makes, as in deep zooms.")
    ] = 0.0,
    chain_depth: Annotated[int, option("N", "Those parents are 4x to 4^N x beyond the photo's pixels.")] = 2,
    backbone: Annotated[
        str | None, option("NAME", "Makes those parents; see `coz backbones`. No text guides it.")
    ] = None,
    sets: Annotated[list[str] | None, option("backbone.KEY=VALUE", "A loader detail of the backbone.", "--set")] = None,
    device: Device = None,
    held_out: Annotated[float, option("0..1", "Share of the photos that no pair to learn from is made of.")] = 0.1,
    min_detail: Annotated[
        float, option("LEVELS", "Flat: less than this from pixel to pixel (root mean square).")
    ] = 3.0,
    min_entropy: Annotated[
        float, option("BITS", "Flat, too: less than this in the histogram of greys, of 6 bits.")
    ] = 1.5,
    min_distance: Annotated[
        int, option("BITS", "Duplicate: difference hash nearer than this to an earlier one, of 64.")
    ] = 8,
    seed: Annotated[int, option("N", "Of places, splits and chains.", min=0)] = 0,
    limit: Annotated[int | None, option("N", "Only the first N photos.", min=1)] = None,
    force: Annotated[bool, switch("--force", "Replace other pairs in DIR.")] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Make training pairs from photos: a view, and its 4x zoom exactly as prompters are shown it.

    Every place is taken at several scales: the whole short side, a half, a quarter ... while the photo has the pixels.
    Flat and repeated views are left out, and every tenth photo is held out. DIR is an "imagefolder" of the datasets
    library; look at DIR/contact.jpg. Stop with Ctrl-C and run the same command to go on.

    \b
    Examples:
      coz align pairs photos/ -o pairs
      coz align pairs photos.json --chain-share 0.3 --backbone realsr -o pairs
    """
    from chain_of_zoom.alignment.pairs.folder import PairSettings
    from chain_of_zoom.alignment.pairs.make import make_pairs
    from chain_of_zoom.datasets.manifest import read_data

    if spots != "centre" and not parse_whole(spots):
        raise UsageError(f"--spots {spots!r}; accepted: a number from 1, or centre; for example --spots 4")
    if (backbone is None) != (chain_share == 0):
        raise UsageError("--chain-share and --backbone go together; for example --chain-share 0.3 --backbone realsr")
    made_by, options = _backbone(backbone, sets or [], device)
    settings = PairSettings(
        side=side,
        spots=parse_whole(spots) or 0,
        chain_share=chain_share,
        chain_depth=chain_depth,
        backbone=made_by.info.name if backbone else None,
        backbone_options=options,
        backbone_sha256=made_by.weights_sha256() if backbone else None,
        held_out=held_out,
        min_detail=min_detail,
        min_entropy=min_entropy,
        min_distance=min_distance,
        seed=seed,
    )
    with Display("photos", show=not (quiet or as_json)) as display:
        about = make_pairs(
            read_data(data, limit), out, settings, made_by, force=force, on_progress=display.show_progress
        )
    if as_json:
        echo_lines(format_json(about))
    elif not quiet:
        _summarise(about, out)


def _backbone(name: str | None, sets: list[str], device: str | None) -> tuple[Backbone, dict[str, str]]:
    """The backbone, and what it was told. Without a chain nothing is enlarged, and nobody is told anything."""
    details = read_loader_sets(sets, ["backbone"])
    if name is None and (sets or device):
        raise UsageError("--set and --device are for the backbone here; accepted: --backbone NAME with them")
    options: Mapping[str, object] = {}
    if name is not None:
        options = combine(name, "null", details, shared(name, "null", device=device))["backbone"]
    backbone = load_backbone(name or "bicubic", **options)
    if command := backbone.missing():
        raise MissingError(f"backbone {name} is not installed; type: {command}")
    if name is not None:
        backbone.load()
    return backbone, {key: str(value) for key, value in options.items()}


def _summarise(about: PairSetRecord, out: Path) -> None:
    counts = about.counts
    echo(
        f"{counts['pairs']} pairs of {len(about.photos)} photos: {counts['train']} to learn from, "
        f"{counts['held-out']} held out; {counts['photo']} show the photos' own pixels, {counts['chain']} a chain's"
    )
    echo(f"left out: {counts['flat']} flat and {counts['duplicate']} repeated views")
    for file, reason in about.skipped:
        echo(f"skipped: {file}: {reason}")
    if not counts["held-out"]:
        echo("no pair is held out: comparisons will have nothing to stand on; name more photos")
    echo(f"{out / 'contact.jpg'}  look at it before you train")
