"""Chain-of-Zoom as nodes of ComfyUI: put this folder into ComfyUI's `custom_nodes`, and install `chain-of-zoom`."""

from .nodes import comfy_entrypoint

__all__ = ["comfy_entrypoint"]
