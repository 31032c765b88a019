"""Writes the losses of all steps to a CSV file and as curves for TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chain_of_zoom.errors import OutputError
from chain_of_zoom.files import open_inner, write_atomic

NAME = "losses.csv"
COLUMNS = ("step", "l2", "perceptual", "matching", "generator", "regulariser")


class Journal:
    """Appends losses to `losses.csv` and `tensorboard/`; entries of an earlier start after `step` are dropped."""

    def __init__(self, folder: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        writer: Any = SummaryWriter
        self.path = folder / NAME
        write_atomic(self.path, "".join(f"{line}\n" for line in _read_earlier_lines(self.path, step)).encode())
        try:
            self.file = open_inner(self.path, "a", encoding="utf-8")
            self.curves = writer(str(folder / "tensorboard"), purge_step=step + 1)
        except OSError as error:
            raise OutputError(f"cannot write {folder} ({error.strerror}); name another folder with -o") from error

    def write(self, step: int, losses: Mapping[str, float]) -> None:
        """Write the losses of one step. Raises OutputError."""
        line = ",".join([str(step), *(repr(losses[name]) for name in COLUMNS[1:])])
        try:
            self.file.write(line + "\n")
            self.file.flush()
            for name in COLUMNS[1:]:
                self.curves.add_scalar(f"loss/{name}", losses[name], step)
        except OSError as error:
            raise OutputError(f"cannot write {self.path} ({error.strerror}); make room, and run it again") from error

    def close(self) -> None:
        """Write everything that is still in memory, and close both files."""
        self.file.close()
        self.curves.close()


def _read_earlier_lines(path: Path, step: int) -> list[str]:
    """Return the header, and the complete lines of an earlier start up to `step`."""
    lines = path.read_text(encoding="utf-8").split("\n")[1:-1] if path.is_file() and step else []
    numbered_lines = ((line.partition(",")[0], line) for line in lines)
    return [",".join(COLUMNS), *(line for number, line in numbered_lines if number.isdecimal() and int(number) <= step)]
