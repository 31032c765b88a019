"""Models that make pictures after texts, as backbones: the window enlarged by bicubic, made anew under the prompt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from chain_of_zoom.backbones.base import BackboneInfo
from chain_of_zoom.backbones.local import LocalBackbone
from chain_of_zoom.errors import UsageError
from chain_of_zoom.imaging.images import RGB8, RGBF, enlarge
from chain_of_zoom.runtime.plan import NetworkPart
from chain_of_zoom.runtime.residence import Residence
from chain_of_zoom.weights.catalog import ITEMS
from chain_of_zoom.weights.files import count_parameters, is_quantisable
from chain_of_zoom.weights.hub import find_model

if TYPE_CHECKING:
    from chain_of_zoom.networks.image_to_image import ImageToImage


@dataclass(frozen=True, kw_only=True)
class ImageModel:
    """Says how a model of the catalog is used as a backbone."""

    summary: str
    """What it is, in one phrase."""
    pipeline: str
    """Class of diffusers that runs it."""
    transformer: str
    """Class of its transformer, which tells it from other models."""
    steps: int
    """Steps that it was distilled for."""
    strength: float | None
    """Share of the steps that is taken, from as much noise; None for a model that sees the picture beside the noise."""
    instruction: str
    """Words before the prompt."""
    guidance: float
    """Guidance scale by which the pipeline compares with no text."""
    encoding: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the pipeline's `encode_prompt`."""
    chat: Mapping[str, bool] = field(default_factory=dict)
    """Arguments of its chat template."""


MODELS = {
    "flux2-klein": ImageModel(
        summary="FLUX.2 [klein] 4B edits the enlarged window in 4 steps, reads prompts",
        pipeline="Flux2KleinPipeline",
        transformer="Flux2Transformer2DModel",
        steps=4,
        strength=None,
        instruction="Make this photo sharp and full of fine natural detail. Keep every shape, place and colour.",
        guidance=1.0,
        chat={"enable_thinking": False},
    ),
    "z-image": ImageModel(
        summary="Z-Image-Turbo makes the enlarged window anew from part of the noise, in 3 of 8 steps, reads prompts",
        pipeline="ZImageImg2ImgPipeline",
        transformer="ZImageTransformer2DModel",
        steps=8,
        strength=0.375,
        instruction="A sharp photo, full of fine natural detail.",
        guidance=0.0,
        encoding={"do_classifier_free_guidance": False},
        chat={"enable_thinking": True},
    ),
}


class RegeneratingBackbone(LocalBackbone):
    """A model that makes pictures after texts: it starts from the window's bicubic enlargement.

    name: in `MODELS`. base, device, dtype, memory: as for osediff-sd3. steps: of the whole schedule, 1 to 100.
    strength: share of the steps that is taken, 0 to 1, for models that start from noise over the picture; more of it
    leaves more to the model. instruction: words before the prompt. Windows go one by one; large ones become tiles that
    see nothing of one another but their halo. Raises UsageError for bad values.
    """

    at_once: ClassVar[int] = 1  # such networks are bound by arithmetic, which a batch does not save
    model: ImageToImage

    def __init__(
        self,
        name: str,
        base: str | Path | None = None,
        steps: int | None = None,
        strength: float | None = None,
        instruction: str | None = None,
        device: str = "auto",
        dtype: str = "auto",
        memory: str = "auto",
    ) -> None:
        item, model = ITEMS[name], MODELS[name]
        super().__init__(base or item.source, device=device, dtype=dtype, memory=memory)
        self.info = BackboneInfo(
            name=name,
            summary=model.summary,
            factor=4,
            text_aware=True,
            licence=f"weights: {item.licence}",
            bytes=item.bytes,
            evidence_limit=1.0,  # not compared with real pixels here yet
            seeded=True,
            max_pixels=192 * 192,  # enlarged, with what `coz upscale` adds, no more than the pipelines' megapixel
            halo=32,
            min_side=96,
            multiple=4,
        )
        self.row = model
        self.steps = model.steps if steps is None else steps
        self.strength = model.strength if strength is None else strength
        self.instruction = model.instruction if instruction is None else instruction
        self._check_steps(name)

    def _check_steps(self, name: str) -> None:
        if not 1 <= self.steps <= 100:
            raise UsageError(f"steps {self.steps}; accepted: 1 to 100; type: --set backbone.steps={self.row.steps}")
        if self.strength is None:
            return
        if self.row.strength is None:
            raise UsageError(
                f"strength {self.strength}; accepted: none, as {name} sees the picture in every step; leave it out"
            )
        if not 1 <= self.steps * self.strength <= self.steps:
            raise UsageError(
                f"strength {self.strength} of {self.steps} steps; accepted: at least one step, and at most all; "
                f"type: --set backbone.strength={self.row.strength}"
            )

    def _list_parts(self) -> tuple[NetworkPart, ...]:
        folder = find_model(self.base) or Path(self.base)
        large = count_parameters(folder / "text_encoder", is_quantisable)
        text, transformer, vae = (count_parameters(folder / part) for part in ("text_encoder", "transformer", "vae"))
        # Their work is a guess, by SD3's.
        return (
            NetworkPart(name="text encoder", stage="texts", parameters=text, quantisable=large, work=600_000_000),
            NetworkPart(name="transformer", stage="image", parameters=transformer, work=1_200_000_000),
            NetworkPart(name="vae", stage="image", parameters=vae, work=1_600_000_000),
        )

    def _read(self, residence: Residence) -> None:
        from chain_of_zoom.networks.image_to_image import ImageToImage
        from chain_of_zoom.runtime.placement import find_dtype

        dtype = find_dtype(residence.dtype("transformer"))
        self.model = ImageToImage.load(
            self.row.pipeline, self.row.transformer, self.base, residence, dtype, self.row.chat
        )

    def _enlarge(self, windows: list[RGB8], prompts: list[str], seeds: list[int]) -> list[RGBF]:
        options: dict[str, Any] = {"num_inference_steps": self.steps, "guidance_scale": self.row.guidance}
        if self.strength is not None:
            options["strength"] = self.strength
        texts = [f"{self.instruction} {prompt}".strip() for prompt in prompts]
        embeddings = self.model.encode_texts(texts, self.row.encoding)  # together, before the encoder may have to leave

        def compute(indices: list[int]) -> list[RGBF]:
            pictures = [(enlarge(windows[i], self.info.factor), embeddings[texts[i]], seeds[i]) for i in indices]
            return [self.model(*picture, **options) for picture in pictures]

        results = self._compute(range(len(windows)), compute, self._tell)
        for index, text in enumerate(texts):
            if cut := self.model.count_cut_tokens(text):
                self._tell(index, f"the prompt was cut by {cut} tokens, beyond the 512 that the model reads")
        return [results[index] for index in range(len(windows))]
