"""The nodes: a backbone, a prompter, a zoom, its animation, and whole pictures.

Parameters are called what the command line calls them. Pictures of ComfyUI are float32, B x H x W x C, 0 to 1.
"""

from __future__ import annotations

import io as streams
import json
from collections.abc import Iterator, Sequence
from typing import Any

import comfy.model_management
import numpy as np
import torch
from comfy_api.latest import ComfyAPISync, ComfyExtension, io
from PIL import Image

from chain_of_zoom import ChainOfZoom, Picture, ScaleState, load_backbone, load_prompter, upscale
from chain_of_zoom.api import DEFAULT_BACKBONE, choose_models
from chain_of_zoom.chain.request import make_request
from chain_of_zoom.imaging.images import decode_png
from chain_of_zoom.movie.animation import TICK, Animation
from chain_of_zoom.plugins import BACKBONES, PROMPTERS

CATEGORY = "Chain-of-Zoom"
BackboneType = io.Custom("COZ_BACKBONE")
PrompterType = io.Custom("COZ_PROMPTER")
StatesType = io.Custom("COZ_STATES")


def to_pixels(images: torch.Tensor) -> Iterator[np.ndarray]:
    """Yield the pictures of a batch as uint8, H x W x 3; a fourth channel is left out."""
    for image in images[..., :3]:
        yield (image.clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()


def to_images(pictures: Sequence[np.ndarray]) -> torch.Tensor:
    """Return uint8 pictures of one size as a batch."""
    return torch.from_numpy(np.stack(pictures).astype(np.float32) / np.float32(255))


def report(value: int, total: int, picture: np.ndarray | None = None) -> None:
    """Move ComfyUI's bar, show a preview, and stop where the user has cancelled."""
    preview = None if picture is None else Image.fromarray(picture)
    ComfyAPISync().execution.set_progress(value, total, preview_image=preview)
    comfy.model_management.throw_exception_if_processing_interrupted()


def describe(state: ScaleState) -> dict[str, Any]:
    """Say of a state what its record would."""
    names = (
        "magnification",
        "source_scale",
        "window",
        "prompter",
        "prompt",
        "prompt_used",
        "beyond_evidence",
        "seconds",
    )
    return {"origin": state.origin.value, **{name: getattr(state, name) for name in names}}


class CoZBackbone(io.ComfyNode):
    """Chooses the model that enlarges."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Say what the node takes and gives."""
        return io.Schema(
            node_id="CoZBackbone",
            display_name="Chain-of-Zoom backbone",
            category=CATEGORY,
            description="The model that enlarges. realsr, realesrgan, span and zoom need no download.",
            inputs=[
                io.Combo.Input(
                    "name", options=list(BACKBONES), default=DEFAULT_BACKBONE, tooltip="As coz backbones lists them."
                ),
                io.String.Input("options", default="{}", tooltip='Loader details as JSON, such as {"device": "gpu"}.'),
            ],
            outputs=[BackboneType.Output(display_name="backbone")],
        )

    @classmethod
    def execute(cls, name: str, options: str) -> io.NodeOutput:
        """Make it; weights are read at the first use."""
        return io.NodeOutput(load_backbone(name, **json.loads(options or "{}")))


class CoZPrompter(io.ComfyNode):
    """Chooses who writes the words."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Say what the node takes and gives."""
        return io.Schema(
            node_id="CoZPrompter",
            display_name="Chain-of-Zoom prompter",
            category=CATEGORY,
            description="Who writes the words for backbones that read them, and finds what is named.",
            inputs=[
                io.Combo.Input(
                    "name", options=[name for name in PROMPTERS if name != "text"], default="words",
                    tooltip="words: a small network without GPU; vlm: a model here; remote: one behind a server.",
                ),
                io.String.Input("model", default="", tooltip="Of vlm or remote: its name, or a folder."),
                io.String.Input("url", default="", tooltip="Of remote: an OpenAI-compatible server, as http://host/v1."),
            ],
            outputs=[PrompterType.Output(display_name="prompter")],
        )  # fmt: skip

    @classmethod
    def execute(cls, name: str, model: str, url: str) -> io.NodeOutput:
        """Make it; weights are read at the first use."""
        options = {key: value for key, value in (("model", model), ("url", url)) if value}
        return io.NodeOutput(load_prompter(name, **options))


class CoZZoom(io.ComfyNode):
    """Zooms into a spot of a picture."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Say what the node takes and gives."""
        side = {"min": 8, "max": 4096, "default": 512}
        return io.Schema(
            node_id="CoZZoom",
            display_name="Chain-of-Zoom",
            category=CATEGORY,
            description="Zooms into a spot of each picture; the record says what was measured and what a model made.",
            inputs=[
                io.Image.Input("image", tooltip="A photo; of a batch each is zoomed into."),
                io.Float.Input("x", default=0.5, min=0, max=1, step=0.001, tooltip="0: left edge, 1: right edge."),
                io.Float.Input("y", default=0.5, min=0, max=1, step=0.001, tooltip="0: upper edge, 1: lower edge."),
                io.Float.Input("magnification", default=16, min=1, max=1_000_000, step=0.5, tooltip="Linear."),
                io.Int.Input("width", **side, tooltip="Pixels of every state."),
                io.Int.Input("height", **side, tooltip="Pixels of every state."),
                io.String.Input(
                    "find", default="",
                    tooltip="What to zoom into, in words, instead of x and y; the prompter, vlm or remote, finds it.",
                ),
                io.String.Input(
                    "prompt", default="", multiline=True, tooltip="Your own words, for backbones that read them.",
                ),
                io.Int.Input("seed", default=0, min=0, max=2**63 - 1, tooltip="Of everything random."),
                BackboneType.Input("backbone", optional=True, tooltip="zoom without."),
                PrompterType.Input("prompter", optional=True, tooltip="No words without."),
            ],
            outputs=[
                io.Image.Output(display_name="last state"),
                io.Image.Output(display_name="all states"),
                io.Image.Output(display_name="sheet"),
                io.String.Output(display_name="words"),
                io.String.Output(display_name="record"),
                StatesType.Output(display_name="states"),
            ],
        )  # fmt: skip

    @classmethod
    def execute(
        cls, image: torch.Tensor, x: float, y: float, magnification: float, width: int, height: int, find: str,
        prompt: str, seed: int, backbone: Any = None, prompter: Any = None,
    ) -> io.NodeOutput:  # fmt: skip
        """Zoom; sheet and states for animations are those of the first picture."""
        chain = ChainOfZoom(*choose_models(backbone, prompter or ("text" if prompt else None)))
        spot = {} if find else {"at": (x, y)}
        request = make_request(
            **spot, find=find, magnification=magnification, size=(width, height), prompt=prompt, seed=seed
        )
        runs = [chain.plan(Picture.of_pixels(pixels, "image"), request) for pixels in to_pixels(image)]
        total, zooms = sum(len(run.steps) for run in runs), []
        for run in runs:
            states: list[ScaleState] = []
            for state in run.states():
                states.append(state)
                report(sum(map(len, zooms)) + len(states), total, state.image)
            zooms.append(states)
        sheet = decode_png(runs[0].draw_sheet(zooms[0]))
        record = {"backbone": chain.backbone.info.name, "zooms": [list(map(describe, states)) for states in zooms]}
        return io.NodeOutput(
            to_images([states[-1].image for states in zooms]),
            to_images([state.image for states in zooms for state in states]),
            to_images([sheet]),
            "\n".join(state.prompt for states in zooms for state in states if state.prompt),
            json.dumps(record, indent=2, ensure_ascii=False),
            zooms[0],
        )


class CoZAnimation(io.ComfyNode):
    """Makes frames of a zoom."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Say what the node takes and gives."""
        return io.Schema(
            node_id="CoZAnimation",
            display_name="Chain-of-Zoom animation",
            category=CATEGORY,
            description="One smooth zoom through all states, each frame labelled; save it as video or animated WebP.",
            inputs=[
                StatesType.Input("states"),
                io.Float.Input("seconds", default=4, min=0.1, max=60, step=0.1, tooltip="Of the movement."),
            ],
            outputs=[io.Image.Output(display_name="frames"), io.Float.Output(display_name="fps")],
        )

    @classmethod
    def execute(cls, states: list[ScaleState], seconds: float) -> io.NodeOutput:
        """Draw the frames."""
        animation, frames = Animation(states, seconds), []
        for frame in animation:
            frames.append(frame)
            report(len(frames), len(animation))
        return io.NodeOutput(to_images(frames), 1000 / TICK)


class CoZUpscale(io.ComfyNode):
    """Enlarges whole pictures."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Say what the node takes and gives."""
        return io.Schema(
            node_id="CoZUpscale",
            display_name="Chain-of-Zoom upscale",
            category=CATEGORY,
            description="Enlarges whole pictures in tiles that leave no seams.",
            inputs=[
                io.Image.Input("image"),
                io.Float.Input("scale", default=4, min=1, max=64, step=0.1, tooltip="Linear."),
                io.Int.Input("seed", default=0, min=0, max=2**63 - 1, tooltip="Of everything random."),
                BackboneType.Input("backbone", optional=True, tooltip="span without."),
            ],
            outputs=[io.Image.Output(display_name="image")],
        )

    @classmethod
    def execute(cls, image: torch.Tensor, scale: float, seed: int, backbone: Any = None) -> io.NodeOutput:
        """Enlarge every picture of the batch."""
        pictures = []
        for pixels in to_pixels(image):
            stream = streams.BytesIO()
            Image.fromarray(pixels).save(stream, "PNG", compress_level=1)
            result = upscale(stream.getvalue(), scale, backbone=backbone, seed=seed)
            pictures.append(np.broadcast_to(result.image, (*result.image.shape[:2], 3)))
            report(len(pictures), len(image), pictures[-1])
        return io.NodeOutput(to_images(pictures))


class ChainOfZoomExtension(ComfyExtension):
    """Lists the nodes."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """Return them all."""
        return [CoZBackbone, CoZPrompter, CoZZoom, CoZAnimation, CoZUpscale]


async def comfy_entrypoint() -> ChainOfZoomExtension:
    """ComfyUI asks for the nodes here."""
    return ChainOfZoomExtension()
