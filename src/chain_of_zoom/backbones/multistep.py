"""Diffusion in many steps: Stable Diffusion's x4 upscaler, which reads prompts (Rombach et al., CVPR 2022)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from chain_of_zoom.backbones.base import BackboneInfo
from chain_of_zoom.backbones.local import LocalBackbone
from chain_of_zoom.errors import UsageError
from chain_of_zoom.imaging.images import RGB8, RGBF
from chain_of_zoom.runtime.plan import NetworkPart
from chain_of_zoom.runtime.residence import Residence
from chain_of_zoom.weights.catalog import ITEMS
from chain_of_zoom.weights.files import count_parameters
from chain_of_zoom.weights.hub import find_model

if TYPE_CHECKING:
    from chain_of_zoom.networks.sd.sdx4 import Upscaler

DEFAULT_BASE = ITEMS["sd-x4"].source
NOISE_LEVELS = 350  # as the pipeline is configured; a model of its own may take fewer


class MultiStepDiffusion(LocalBackbone):
    """Stable Diffusion's x4 upscaler: noise beside the window, denoised in `steps` steps towards window and prompt.

    base, device, dtype, memory: as for osediff-sd3; no network of it is stored in int8. guidance: how much more the
    prompt weighs than no prompt; up to 1 it is read without that comparison, in half the time. noise_level: noise on
    the window, 0 to 350; more of it leaves more to the model. Defaults are those of diffusers. Large windows become
    tiles that see nothing of one another but their halo. Raises UsageError for bad values.
    """

    at_once = 4
    model: Upscaler
    info = BackboneInfo(
        name="sd-x4",
        summary="Stable Diffusion's x4 upscaler: diffusion in many steps, reads prompts",
        factor=4,
        text_aware=True,
        licence=f"weights: {ITEMS['sd-x4'].licence}",
        bytes=ITEMS["sd-x4"].bytes,
        evidence_limit=1.0,  # not compared with real pixels here yet
        seeded=True,
        max_pixels=192 * 192,
        halo=32,
        min_side=64,
        multiple=8,
    )

    def __init__(
        self,
        base: str | Path = DEFAULT_BASE,
        steps: int = 75,
        guidance: float = 9.0,
        noise_level: int = 20,
        device: str = "auto",
        dtype: str = "auto",
        memory: str = "auto",
    ) -> None:
        super().__init__(base, device=device, dtype=dtype, memory=memory)
        for name, value, least, greatest, kind in (
            ("steps", steps, 1, 1000, int),
            ("guidance", guidance, 0, 100, (int, float)),
            ("noise_level", noise_level, 0, NOISE_LEVELS, int),
        ):
            if not isinstance(value, kind) or isinstance(value, bool) or not least <= value <= greatest:
                whole = "whole numbers, " if kind is int else ""
                raise UsageError(
                    f"{name} {value!r}; accepted: {whole}{least} to {greatest}; for example --set backbone.{name}=20"
                )
        self.steps, self.guidance, self.noise_level = steps, float(guidance), noise_level

    def _list_parts(self) -> tuple[NetworkPart, ...]:
        folder = find_model(self.base) or Path(self.base)
        folders = {"unet": "unet", "text encoder": "text_encoder", "vae": "vae"}
        # All of it works together; its work is a guess.
        return tuple(
            NetworkPart(name=name, stage="image", parameters=count_parameters(folder / inner), work=2_500_000_000)
            for name, inner in folders.items()
        )

    def _read(self, residence: Residence) -> None:
        from chain_of_zoom.networks.sd.sdx4 import Upscaler
        from chain_of_zoom.runtime.placement import find_dtype

        model = Upscaler.load(self.base, residence, find_dtype(residence.dtype("unet")))
        if self.noise_level > model.noise_levels:
            raise UsageError(
                f"noise_level {self.noise_level}; accepted by this model: 0 to {model.noise_levels}; "
                "type: --set backbone.noise_level=20"
            )
        self.model = model

    def _enlarge(self, windows: list[RGB8], prompts: list[str], seeds: list[int]) -> list[RGBF]:
        from chain_of_zoom.runtime.shortage import group_by_size

        def compute(indices: list[int]) -> list[RGBF]:
            return self.model(
                [windows[i] for i in indices],
                [prompts[i] for i in indices],
                [seeds[i] for i in indices],
                steps=self.steps,
                guidance=self.guidance,
                noise_level=self.noise_level,
            )

        results: dict[int, RGBF] = {}
        for indices in group_by_size(windows):
            results.update(self._compute(indices, compute, self._tell))
        for index, prompt in enumerate(prompts):
            if cut := self.model.words_cut(prompt):
                self._tell(
                    index, f"the prompt was cut by {cut} tokens, beyond the {self.model.tokens} that the model reads"
                )
        return [results[index] for index in range(len(windows))]
