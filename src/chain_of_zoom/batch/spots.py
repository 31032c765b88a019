"""Reads a list of zooms from a CSV file, a row for each, and checks all of it before anything runs."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from chain_of_zoom.batch.tasks import Task, expand
from chain_of_zoom.chain.request import ZoomRequest
from chain_of_zoom.errors import UsageError, suggest
from chain_of_zoom.parsing import read_text
from chain_of_zoom.settings import list_flags


def read_list(file: Path, spots: Sequence[str], base: ZoomRequest, out: Path, *, recursive: bool = False) -> list[Task]:
    """Read the tasks of a CSV file with the column photo, and any of name and the columns of ZoomRequest.

    Photos are relative to the file. An empty cell stands for the command's setting (`base`, and `spots` for `at`);
    a row with a box leaves the command's spots and magnification alone, and the other way round.
    Raises UsageError that names line and column.
    """
    tasks: list[Task] = []
    for line, row in _read_rows(file):
        where = f"{file}, line {line}"
        values = {column: _parse_cell(where, column, cell) for column, cell in row.items() if cell}
        if "photo" not in values:
            raise UsageError(f"{where}, column photo: it is empty; accepted: the path of a photo; fill it in")
        photo, name = file.parent / values.pop("photo"), values.pop("name", "")
        if "find" in values:
            values = {"at": None, "box": None, **values}
        elif "box" in values:
            values = {"at": None, "zoom": None, "find": "", **values}
        elif "at" in values or "zoom" in values:
            values = {"box": None, **({"find": ""} if "at" in values else {}), **values}
        has_own_spot = not spots or "at" in values  # also with a box, which has set it to None
        for settings in [values] if has_own_spot else [{**values, "at": spot} for spot in spots]:
            request = _name_cell(where, "at, box and zoom", partial(msgspec.structs.replace, base, **settings))
            tasks += [Task(photo=p, request=request, name=name) for p in expand(photo, out, recursive=recursive)]
    if not tasks:
        raise UsageError(f"{file} lists no photo; accepted: a line of column names, then one line for each zoom")
    return tasks


def _parse_name(cell: str) -> str:
    if cell in (".", "..") or len(cell) > 200 or not cell.isprintable() or any(mark in cell for mark in '/\\:*?"<>|'):
        raise UsageError(f"{cell!r} names no folder; accepted: a plain name without / and the like; for example wing")
    return cell


_FLAGS = {name: (kind, flag) for name, (kind, flag) in list_flags(ZoomRequest).items() if flag.is_column}
_COLUMNS = ("photo", *_FLAGS, "name")


def _parse_cell(where: str, column: str, cell: str) -> Any:
    return _name_cell(where, column, partial(_read_cell, column, cell))


def _read_cell(column: str, cell: str) -> Any:
    if column == "photo":
        return cell
    if column == "name":
        return _parse_name(cell)
    kind, flag = _FLAGS[column]
    value = flag.read(column, kind, cell)
    ZoomRequest(**{column: value})  # checks it
    return value


def _name_cell(where: str, column: str, make: Callable[[], Any]) -> Any:
    """Return the value of `make`; name line and column in its UsageError."""
    try:
        return make()
    except UsageError as error:
        raise UsageError(f"{where}, column {column}: {error}") from error


def _read_rows(file: Path) -> list[tuple[int, dict[str, str]]]:
    """Read line number and cells, by column, of every row that is not empty."""
    try:
        text = read_text(file)
    except (OSError, ValueError) as error:
        raise UsageError(f"--list {file} cannot be read ({error}); accepted: a CSV file in UTF-8") from error
    if "\0" in text:
        raise UsageError(f"--list {file} has a NUL; accepted: a CSV file in UTF-8; save it as such")
    first = text.partition("\n")[0]
    delimiter = next((mark for mark in ";\t" if mark in first and "," not in first), ",")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows: list[tuple[int, dict[str, str]]] = []
    columns: list[str] = []
    try:
        next_line = 1
        for cells in reader:
            line, next_line = next_line, reader.line_num + 1
            cells = [cell.strip() for cell in cells]
            if not any(cells):
                continue
            if not columns:
                columns = _read_header(f"{file}, line {line}", cells)
            elif len(cells) > len(columns):
                raise UsageError(
                    f"{file}, line {line}, column {columns[-1]}: {len(cells)} cells for {len(columns)} columns; "
                    'accepted: one cell for each; put quotes around cells with commas: "0.62,0.4"'
                )
            else:
                rows.append((line, dict(zip(columns, cells, strict=False))))
    except csv.Error as error:
        raise UsageError(f"{file}, line {reader.line_num}: no CSV ({error}); check the quotes") from error
    if not columns:
        raise UsageError(f"{file} is empty; accepted: a line of column names, then one line for each zoom")
    return rows


def _read_header(where: str, cells: list[str]) -> list[str]:
    columns = [cell.lower() for cell in cells]
    names = ", ".join(_COLUMNS)
    for column, cell in zip(columns, cells, strict=True):
        if column not in _COLUMNS:
            hint = suggest(column, _COLUMNS, "remove it")
            raise UsageError(f"{where}, column {cell!r}: no such column; accepted: {names}; {hint}")
        if columns.count(column) > 1:
            raise UsageError(f"{where}, column {cell!r}: it is there twice; accepted: {names}, each once; remove one")
    if "photo" not in columns:
        raise UsageError(f"{where}: no column photo; accepted: {names}; begin with a line of column names")
    return columns
