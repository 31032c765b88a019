"""Writes numbers of a run, such as the losses of all steps, to a CSV file and as curves for TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from chain_of_zoom.errors import OutputError
from chain_of_zoom.files import open_inner, write_atomic

LOSSES, VALIDATION = "losses.csv", "validation.csv"


class Journal:
    """Appends numbers to a CSV file and to `tensorboard/`; entries of an earlier start after `step` are dropped.

    name: LOSSES or VALIDATION. columns: names of the numbers of an entry.
    """

    def __init__(self, folder: Path, step: int, name: str, columns: Sequence[str]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        writer: Any = SummaryWriter
        self.path, self.columns = folder / name, columns
        self.curve = "loss" if name == LOSSES else "validation"
        lines = [",".join(["step", *columns]), *_read_earlier_lines(self.path, step)]
        write_atomic(self.path, "".join(f"{line}\n" for line in lines).encode())
        try:
            self.file = open_inner(self.path, "a", encoding="utf-8")
            self.curves = writer(str(folder / "tensorboard"), purge_step=step + 1)
        except OSError as error:
            raise OutputError(f"cannot write {folder} ({error.strerror}); name another folder with -o") from error

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """Write the numbers of one step. Raises OutputError."""
        line = ",".join([str(step), *(repr(numbers[name]) for name in self.columns)])
        try:
            self.file.write(line + "\n")
            self.file.flush()
            for name in self.columns:
                self.curves.add_scalar(f"{self.curve}/{name}", numbers[name], step)
        except OSError as error:
            raise OutputError(f"cannot write {self.path} ({error.strerror}); make room, and run it again") from error

    def close(self) -> None:
        """Write everything that is still in memory, and close both files."""
        self.file.close()
        self.curves.close()


def _read_earlier_lines(path: Path, step: int) -> list[str]:
    """Return the complete lines of an earlier start up to `step`, without the header."""
    lines = path.read_text(encoding="utf-8").split("\n")[1:-1] if path.is_file() else []
    numbered_lines = ((line.partition(",")[0], line) for line in lines)
    return [line for number, line in numbered_lines if number.isdecimal() and int(number) <= step]
