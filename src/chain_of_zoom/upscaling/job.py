"""Plan the enlargement of one photo: what will be made, where it goes, and how its files describe it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from pathlib import Path

import numpy as np

from chain_of_zoom.api import ChainOfZoom
from chain_of_zoom.chain.record import InputRecord, software
from chain_of_zoom.chain.state import magnification_name
from chain_of_zoom.errors import OutputError
from chain_of_zoom.files import check_names, relate
from chain_of_zoom.imaging import metadata
from chain_of_zoom.imaging.colour import profiles
from chain_of_zoom.imaging.colour.grey import is_grey
from chain_of_zoom.imaging.encode import TRAINED_MODEL, label
from chain_of_zoom.imaging.geometry import Size
from chain_of_zoom.imaging.images import RGB8, size_of, to_8_bits
from chain_of_zoom.imaging.raster import Raster, Samples
from chain_of_zoom.imaging.reading import colour_name
from chain_of_zoom.imaging.transparency import composite, spread_colours
from chain_of_zoom.truth.resolution import DetailMeter
from chain_of_zoom.upscaling import deepzoom
from chain_of_zoom.upscaling.encoding import Tags
from chain_of_zoom.upscaling.plan import UpscaleStep, plan_upscale
from chain_of_zoom.upscaling.prompts import shrink_overview
from chain_of_zoom.upscaling.request import OutputRecord, UpscaleRecord, UpscaleRequest
from chain_of_zoom.upscaling.writers import OutputFormat, choose_format


@dataclass(frozen=True, kw_only=True)
class UpscaleJob:
    """One photo, one request and one output.

    Beside the output lie its record and prompts, and the work folder while tiles are made.
    """

    photo: Raster
    """The photo as it was decoded."""
    request: UpscaleRequest
    """The user's request."""
    chain: ChainOfZoom
    """Backbone and prompter, and how photos are read."""
    out: Path
    """The output."""
    format: OutputFormat
    """Its format."""
    colour: Samples
    """Pixels to enlarge, H x W x 3; canvases between steps have their depth, and three channels."""
    alpha: Samples | None
    """Alpha to enlarge, H x W, if the output holds it."""
    is_grey: bool
    """Whether the photo has no colour, so that the output gets none."""
    colours: int
    """Channels of the output but for alpha, 1 or 3."""
    dtype: np.dtype[np.uint8 | np.uint16]
    """Type of the output's samples."""
    steps: Sequence[UpscaleStep]
    """The steps, each with its tiles."""
    notes: tuple[str, ...]
    """Everything that the output's format does not hold."""

    @property
    def size(self) -> Size:
        """Size of the output."""
        return self.steps[-1].output

    @property
    def channels(self) -> int:
        """Channels of the output."""
        return self.colours + (self.alpha is not None)

    @property
    def canvas_bytes(self) -> int:
        """Disk that the canvases of all steps take."""
        pixels = [step.output.width * step.output.height for step in self.steps]
        return sum(pixels[:-1]) * 3 * self.colour.itemsize + pixels[-1] * self.channels * self.dtype.itemsize

    @property
    def reads_prompts(self) -> bool:
        """Whether the backbone reads prompts, so that tiles get some."""
        return self.chain.backbone.info.text_aware

    @cached_property
    def overview(self) -> RGB8:
        """The whole photo as prompters see it."""
        return shrink_overview(to_8_bits(self.colour))

    @property
    def profile(self) -> bytes | None:
        """Colour profile of the output: the photo's own, which is one of RGB."""
        return self.photo.profile if self.colours == 3 else None

    @property
    def resolution(self) -> tuple[float, float] | None:
        """Pixels per inch: the photo's own, where the format has a place for them.

        They stay the same, as image editors have it when they resample: the print grows with the scale.
        """
        return None if self.format.name == "Deep Zoom" else self.photo.resolution

    @property
    def outputs(self) -> list[Path]:
        """The files and folders that show the picture, which this job would overwrite."""
        pages = [deepzoom.page_of(self.out), deepzoom.tiles_folder(self.out)] if self.format.name == "Deep Zoom" else []
        return [self.out, *pages]

    @property
    def work(self) -> Path:
        """The folder of canvases."""
        return self.out.with_name(f"{self.out.name}.work")

    @property
    def record_path(self) -> Path:
        """The file of the record."""
        return self.out.with_name(f"{self.out.name}.json")

    @property
    def prompts_path(self) -> Path:
        """The file of a finished run's prompts."""
        return self.out.with_name(f"{self.out.name}.prompts.json")

    @cached_property
    def beyond_evidence(self) -> float:
        """Share of the picture, 0 to 1, where the scale exceeds what the backbone's tests and the blur there support.

        Of the places where the photo shows anything above its noise.
        """
        info = self.chain.backbone.info
        if self.resamples or info.evidence_limit is None:
            return 0.0
        if info.is_beyond_evidence(self.request.scale):
            return 1.0
        rows = DetailMeter(to_8_bits(self.colour)).map_blur()
        blurs = [blur for row in rows for blur in row if isfinite(blur)]
        beyond = sum(info.is_beyond_evidence(float(self.request.scale) * blur) for blur in blurs)
        return beyond / max(len(blurs), 1)

    def describe_evidence(self, meaning: str = "beyond evidence") -> str:
        """Say how much of the picture is what is meant; nothing where nothing is."""
        percent = round(100 * self.beyond_evidence)
        part = "" if percent == 100 else f"{percent}% of it "
        return f"{part}{meaning}" if percent else ""

    @property
    def resamples(self) -> bool:
        """Whether nothing is invented."""
        return self.chain.backbone.info.resample is not None or self.request.detail == 0

    def describe(self) -> str:
        """Describe the output for its label: generated or not, by what, from what."""
        info, photo = self.chain.backbone.info, self.photo
        scale = magnification_name(float(self.steps[-1].scale))
        source = f"{photo.path.name} (SHA-256 {photo.sha256})"
        if self.resamples:
            resampler = info.name if info.resample else "bicubic"
            return f"{source} enlarged {scale} by {resampler}: interpolated, not generated"
        weights = self.chain.backbone_record.weights_sha256
        model = f"{info.name} (weights SHA-256 {weights})" if weights else info.name
        evidence = self.describe_evidence("beyond the magnification that evidence supports")
        beyond = f"; {evidence}" if evidence else ""
        return f"GENERATED by the model {model} at {scale}, not photographed{beyond}. Detail is invented from {source}"

    def make_tags(self) -> Tags:
        """Make all that is written beside the pixels; EXIF where it was asked for, or where the resolution needs it."""
        source_type = None if self.resamples else TRAINED_MODEL
        texts, xmp = label(self.describe(), source_type)
        keeps_exif = self.chain.reading.keep_metadata and self.format.has_room_for_exif(self.photo.exif)
        exif = self.photo.exif if keeps_exif else None
        if exif or (self.resolution and self.format.name == "WebP"):
            exif = metadata.label_exif(exif, texts["Description"], self.resolution)
        return Tags(texts=texts, xmp=xmp, profile=self.profile, exif=exif or None, resolution=self.resolution)

    def begin_record(self) -> UpscaleRecord:
        """Make the record as it is before the first tile; the weights must be read, for the versions and the device."""
        photo, chain = self.photo, self.chain
        return UpscaleRecord(
            software=software(),
            input=InputRecord(
                path=relate(photo.path, self.out.parent),
                sha256=photo.sha256,
                size=(*size_of(photo.colour),),
                notes=photo.notes,
            ),
            settings=self.request,
            backbone=chain.backbone_record,
            prompter=chain.prompter.name,
            prompter_sha256=chain.prompter.weights_sha256() if self.reads_prompts else {},
            prompter_package=chain.prompter.package,
            options=chain.options,
            device=chain.backbone.runs_on(),
            placement=chain.placement,
            output=OutputRecord(
                file=self.out.name,
                format=self.format.name,
                size=(*self.size,),
                bits=self.dtype.itemsize * 8,
                alpha=self.alpha is not None,
                profile=self.profile is not None,
                grey=self.colours == 1,
                resolution=self.resolution,
            ),
            notes=self.notes,
        )


def prepare(photo: Raster, request: UpscaleRequest, chain: ChainOfZoom, out: Path | None = None) -> UpscaleJob:
    """Plan an enlargement. Raises UsageError, and OutputError where the format cannot hold it or a name is too long.

    out: `<photo>_4x.png` in the current folder by default.
    """
    out = out or Path(f"{photo.path.stem or 'picture'}_{magnification_name(request.scale)}.png")
    output_format, reading = choose_format(out), chain.reading
    steps = plan_upscale(size_of(photo.colour), request, chain.backbone)
    output_format.check_size(steps[-1].output)
    if photo.path.exists() and out.resolve() == photo.path.resolve():
        raise OutputError(f"{out} is the photo itself and would be overwritten; name another file with -o")
    colour, alpha, notes = photo.colour, photo.alpha, []
    if alpha is not None and not output_format.alpha:
        colour, alpha = composite(colour, alpha, reading.matte), None
        notes.append(f"alpha laid on {colour_name(reading.matte)}: {output_format.name} holds none")
    elif alpha is not None:
        colour = spread_colours(colour, alpha)
        if not np.array_equal(colour, photo.colour):
            notes.append("colours hidden by alpha replaced by those around them")
    dtype = colour.dtype
    if dtype == np.uint16 and not output_format.deep:
        dtype = np.dtype(np.uint8)
        notes.append(f"16 bits rounded to 8: {output_format.name} holds no more")
    if photo.exif and reading.keep_metadata and not output_format.has_room_for_exif(photo.exif):
        amount = " so much" if output_format.exif else ""
        notes.append(f"EXIF data left out: {output_format.name} is written without{amount}")
    has_no_colour = request.blend != "published" and is_grey(colour)
    shown_as_srgb = photo.profile is None or profiles.is_srgb(photo.profile)
    job = UpscaleJob(
        photo=photo,
        request=request,
        chain=chain,
        out=out,
        format=output_format,
        colour=colour,
        alpha=alpha,
        is_grey=has_no_colour,
        colours=1 if has_no_colour and shown_as_srgb else 3,  # other profiles are of RGB: grey files may not have them
        dtype=dtype,
        steps=steps,
        notes=tuple(notes),
    )
    check_names(*job.outputs, job.work, job.record_path, *([job.prompts_path] if job.reads_prompts else []))
    return job
