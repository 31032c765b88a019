"""The folders that the published scripts write, for tools that read them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from chain_of_zoom.chain.folder import RunFolder
from chain_of_zoom.chain.schedule import Origin
from chain_of_zoom.chain.state import ScaleState
from chain_of_zoom.files import make_inner_folder, write_atomic
from chain_of_zoom.imaging.encode import COMPOSITE, encode_png, label
from chain_of_zoom.imaging.images import decode_png


class PublishedFolder(RunFolder):
    """The tree that the published scripts write, around the record and sheet of an ordinary run.

    OUT/per-sample/<photo>/0.png, 1_input.png, 1.png ... and txt/0.txt ...; OUT/per-scale/scale0/<photo>.png ...;
    OUT/recursive/<photo>.png, all states side by side.
    """

    @staticmethod
    def home(path: Path, name: str) -> Path:
        """Return OUT/per-sample/<name>."""
        return path / "per-sample" / name

    def _name(self, index: int, state: ScaleState) -> str:
        return f"{index}.png"

    def _write_state(self, name: str, state: ScaleState, data: bytes) -> None:
        """Write the input, the text, the copy by scale and the state."""
        index = len(self.record.states)
        copies = make_inner_folder(self.path.parents[1], "per-scale", f"scale{index}")
        if state.input is not None:
            write_atomic(self.path / f"{index}_input.png", encode_png(state.input, kept=self.metadata.only_profile))
            texts = make_inner_folder(self.path, "txt")
            write_atomic(texts / f"{index - 1}.txt", (state.prompt or "").encode())
        write_atomic(copies / f"{self.path.name}.png", data)
        super()._write_state(name, state, data)

    def finish(self, sheet: bytes | None) -> None:
        """Write the strip, the sheet and the record."""
        states = [decode_png((self.path / entry.file).read_bytes()) for entry in self.record.states]
        strips = make_inner_folder(self.path.parents[1], "recursive")
        generated = any(entry.origin is Origin.GENERATED for entry in self.record.states)
        text = f"States of a zoom into {self.path.name}, side by side, with {self.record.backbone.name}"
        source = COMPOSITE if generated else None
        data = encode_png(np.concatenate(states, axis=1), *label(text, source), self.metadata.only_profile)
        write_atomic(strips / f"{self.path.name}.png", data)
        super().finish(sheet)
