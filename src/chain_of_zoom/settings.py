"""Reads and writes the settings of users: `--set KEY=VALUE`, TOML files, and keywords of Python's functions.

Every reader raises UsageError, in the same words for the same mistake.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import textwrap
import tomllib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

import msgspec

from chain_of_zoom.errors import UsageError, suggest
from chain_of_zoom.parsing import parse_number, parse_whole, plain, read_text

Struct = TypeVar("Struct")

# Titles of the parts of `--help`.
MAIN = "Main options"
OUTPUT = "Output"
ADVANCED = "Advanced"
PAPER = "The paper's stack"
PANELS = (MAIN, OUTPUT, ADVANCED, PAPER)


@dataclass(frozen=True, kw_only=True)
class Flag:
    """Annotates a field of a struct of settings that the command line has an option for, named like the field."""

    metavar: str
    """Stands for the value in `--help`."""
    panel: str
    """Title of the part of `--help` that lists the option."""
    parse: Callable[[str], Any] | None = None
    """Reads the value from text; by default its type says how. Raises UsageError."""
    is_column: bool = False
    """Whether a CSV list of `coz zoom --list` may have a column of this name."""
    is_repeatable: bool = False
    """Whether the command line takes the option several times."""

    def read(self, name: str, kind: Any, text: str) -> Any:
        """Read the value of the field `name`, of the type `kind`, from text. Raises UsageError."""
        if self.parse:
            return self.parse(text)
        if kind is int:
            if (number := parse_whole(text)) is None:
                raise UsageError(f"{name} {text!r}; accepted: whole numbers from 0; for example 7")
            return number
        if kind is float:
            try:
                return float(parse_number(text))
            except ValueError:
                raise UsageError(f"{name} {text!r}; accepted: a number; for example 0.5") from None
        return text


def list_flags(struct: type[msgspec.Struct]) -> dict[str, tuple[Any, Flag]]:
    """List the fields of a struct that have a Flag: for each name its type, without None, and the Flag."""
    flags: dict[str, tuple[Any, Flag]] = {}
    for name, annotation in get_type_hints(struct, include_extras=True).items():
        for extra in getattr(annotation, "__metadata__", ()):
            if isinstance(extra, Flag):
                types = [part for part in get_args(annotation.__origin__) if part is not type(None)]
                is_optional = type(None) in get_args(annotation.__origin__)
                flags[name] = types[0] if is_optional and len(types) == 1 else annotation.__origin__, extra
    return flags


def read_field_docs(cls: type) -> dict[str, str]:
    """Read the line of documentation below every field of a class from its source; nothing where that is not there."""
    try:
        body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    except OSError:  # an application that was frozen without its source
        return {}
    assert isinstance(body, ast.ClassDef)
    docs: dict[str, str] = {}
    for field, below in pairwise(body.body):
        if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            docs[ast.unparse(field.target)] = " ".join(str(below.value.value).split())
    return docs


def parse_toml(text: str) -> dict[str, Any]:
    """Read a TOML document. Raises ValueError, and nothing else, for one that is not."""
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise ValueError("tables or lists nested too deep") from error


def read_config(path: Path | None) -> dict[str, Any]:
    """Read the TOML file of `--config`; return nothing without a file. Raises UsageError."""
    if path is None:
        return {}
    try:
        return parse_toml(read_text(path))
    except (OSError, ValueError) as error:
        raise UsageError(f"--config {path} cannot be read ({error}); accepted: a TOML file; check the path") from error


def read_sets(texts: Iterable[str], accepted: str, tables: Collection[str] | None = None) -> dict[str, Any]:
    """Read texts of `--set` such as `steps=100` and `lora.r=16` as tables within tables.

    Values that look like TOML (numbers, true, false, lists) are read as such, all others as text. tables: names of the
    only tables; every text then is TABLE.KEY=VALUE, and tables without a text are empty. accepted: ends the message
    of the UsageError for a text of another form.
    """
    settings: dict[str, Any] = {table: {} for table in tables or ()}
    for text in texts:
        name, equals, value = text.partition("=")
        *path, key = name.split(".")
        has_known_table = tables is None or (len(path) == 1 and path[0] in tables)
        table = settings
        if has_known_table:
            for part in path:
                table = table.setdefault(part, {}) if isinstance(table, dict) else table
        if not equals or not all((*path, key)) or not has_known_table or not isinstance(table, dict):
            raise UsageError(f"--set {text!r}; accepted: {accepted}")
        table[key] = _read_value(value)
    return settings


def _read_value(text: str) -> Any:
    try:
        return parse_toml(f"v = {text}")["v"]
    except ValueError:
        return text


def split_labels(texts: Iterable[str], labels: Sequence[str], noun: str) -> dict[str | None, list[str]]:
    """Sort texts of `--set` by the label before their slash, `LABEL/KEY=VALUE`; None has those that are for all.

    labels: accepted labels. noun: what a label names, for the message of the UsageError for an unknown one.
    """
    groups: dict[str | None, list[str]] = {None: [], **{label: [] for label in labels}}
    for text in texts:
        label, slash, detail = text.partition("/")
        if not slash or "=" in label:
            groups[None].append(text)
        elif label in labels:
            groups[label].append(detail)
        else:
            raise UsageError(f"--set {text!r}: no {noun} {label!r}; accepted: {', '.join(labels)}; check the label")
    return groups


def check_settings(values: Mapping[str, Any], kind: type[Struct], what: str, hint: str) -> Struct:
    """Turn settings into the struct that checks them.

    what: names the settings in the message of the UsageError for an unknown setting or a value that does not fit.
    hint: ends that message.
    """
    try:
        return msgspec.convert({name: plain(value) for name, value in values.items()}, kind)
    except msgspec.ValidationError as error:
        if isinstance(error.__cause__, UsageError):
            raise error.__cause__ from None
        raise UsageError(f"{what}: {error}; {_suggest_field(str(error), kind)}{hint}") from error


def _suggest_field(message: str, kind: Any) -> str:
    """Return a suggestion for the unknown field that an error of msgspec is about; empty for any other error."""
    match = re.match(r"Object contains unknown field `(.*?)`(?: - at `\$\.(\S+)`)?", message)
    if match is None:
        return ""
    for table in match[2].split(".") if match[2] else ():
        kind = get_type_hints(kind).get(table)
    suggestion = suggest(match[1], getattr(kind, "__struct_fields__", ()), "")
    return f"{suggestion} " if suggestion else ""


def format_toml(settings: msgspec.Struct) -> bytes:
    """Write settings as a TOML file, which `--config` reads; settings that are None have no line."""
    return _format_tables(msgspec.to_builtins(settings)).encode()


def _format_tables(tables: Mapping[str, Any], prefix: str = "") -> str:
    """Return plain values first, then tables."""
    lines = [
        f"{_format_key(key)} = {_format_value(value)}\n"
        for key, value in tables.items()
        if not isinstance(value, Mapping) and value is not None
    ]
    for key, value in tables.items():
        if isinstance(value, Mapping) and value:
            name = prefix + _format_key(key)
            lines.append(f"\n[{name}]\n{_format_tables(value, f'{name}.')}")
    return "".join(lines)


def _format_key(text: str) -> str:
    return text if re.fullmatch(r"[A-Za-z0-9_-]+", text) else _format_value(text)


def _format_value(value: Any) -> str:
    """Return a value in TOML, which is JSON but for one character and for tables in a line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_format_key(key)} = {_format_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_format_value, value)) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
