"""Write the example workflow into a picture that ComfyUI opens like the workflow: python comfyui/make_picture.py"""

from __future__ import annotations

import json
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

FOLDER = Path(__file__).parent
WORKFLOW = FOLDER / "example_workflows" / "zoom.json"
WIDTH = 640


def main() -> None:
    """Draw docs/zoom.jpg, what such a workflow gives, with the workflow as text."""
    picture = Image.open(FOLDER.parent / "docs" / "zoom.jpg")
    picture.thumbnail((WIDTH, WIDTH))
    texts = PngInfo()
    texts.add_text("workflow", json.dumps(json.loads(WORKFLOW.read_text())))  # where ComfyUI looks for it
    picture.quantize(128).save(WORKFLOW.with_suffix(".png"), pnginfo=texts, optimize=True)


if __name__ == "__main__":
    main()
