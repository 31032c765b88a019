"""The losses of every step: lines of a CSV file, and curves for TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chain_of_zoom.errors import OutputError
from chain_of_zoom.files import open_inner, write_atomic

NAME = "losses.csv"
COLUMNS = ("step", "l2", "perceptual", "matching", "generator", "regulariser")


class Journal:
    """Losses by step, in `losses.csv` and `tensorboard/`. What came after `step` of an earlier start is dropped."""

    def __init__(self, folder: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        writer: Any = SummaryWriter
        self.path = folder / NAME
        write_atomic(self.path, "".join(f"{line}\n" for line in _kept(self.path, step)).encode())
        try:
            self.file = open_inner(self.path, "a", encoding="utf-8")
            self.curves = writer(str(folder / "tensorboard"), purge_step=step + 1)
        except OSError as error:
            raise OutputError(f"cannot write {folder} ({error.strerror}); name another folder with -o") from error

    def write(self, step: int, losses: Mapping[str, float]) -> None:
        """One step. Raises OutputError."""
        line = ",".join([str(step), *(repr(losses[name]) for name in COLUMNS[1:])])
        try:
            self.file.write(line + "\n")
            self.file.flush()
            for name in COLUMNS[1:]:
                self.curves.add_scalar(f"loss/{name}", losses[name], step)
        except OSError as error:
            raise OutputError(f"cannot write {self.path} ({error.strerror}); make room, and run it again") from error

    def close(self) -> None:
        """Write what is left."""
        self.file.close()
        self.curves.close()


def _kept(path: Path, step: int) -> list[str]:
    """The header, and the whole lines of an earlier start up to its step."""
    lines = path.read_text(encoding="utf-8").split("\n")[1:-1] if path.is_file() and step else []
    kept = [line for line in lines if line.partition(",")[0].isdecimal() and int(line.partition(",")[0]) <= step]
    return [",".join(COLUMNS), *kept]
