"""Convert published weight files to safetensors, checked against their SHA-256 before anything in them is read."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from chain_of_zoom.errors import MissingError, OutputError, UsageError
from chain_of_zoom.files import make_folder, replacement
from chain_of_zoom.weights.catalog import ITEMS, WeightItem
from chain_of_zoom.weights.checkpoints import read_tensors
from chain_of_zoom.weights.files import file_sha256, read_header

ADAPTER = ("adapter_model.safetensors", "adapter_config.json")  # in this order, so that half a copy counts as missing
_CONVERTIBLE = [item for item in ITEMS.values() if not (item.folder and item.hub)]
PUBLISHED = {ADAPTER[0] if item.folder else item.files[-1]: item for item in _CONVERTIBLE}
LFS_POINTER = b"version https://git-lfs"


@dataclass(frozen=True)
class LocatedFile:
    """Describes a published file on disk."""

    item: WeightItem
    """The item that it is."""
    path: Path
    """The file whose SHA-256 is published."""
    sha256: str
    """SHA-256 of that file."""

    @property
    def verified(self) -> bool | None:
        """Tell whether it is the very file that was published; None where no SHA-256 was."""
        return None if self.item.sha256 is None else self.sha256 == self.item.sha256


def find(paths: Sequence[Path], item: WeightItem | None = None) -> list[LocatedFile]:
    """Find the published files among `paths`, or in folders of `paths`; with `item`, the only path is taken for that.

    Raises MissingError when there is none, or when a file is not the published one, UsageError for a name that is
    none of the published ones.
    """
    if item is not None:
        if item not in _CONVERTIBLE:
            raise UsageError(f"{item.name} is used as it comes from the hub; type: coz models get {item.name}")
        if len(paths) != 1:
            raise UsageError(f"--as {item.name} with {len(paths)} paths; accepted: one file; convert them one by one")
        file = paths[0] / ADAPTER[0] if item.folder and paths[0].is_dir() else paths[0]
        return [_hash(item, file)]
    chosen: dict[str, list[LocatedFile]] = {}
    for path in paths:
        for file in _candidates(path):
            owner = PUBLISHED[file.name]
            chosen.setdefault(owner.name, []).append(_hash(owner, file))
    return [_choose(candidates) for candidates in chosen.values()]


def convert(file: LocatedFile, home: Path) -> tuple[Path, bool]:
    """Write the item to home/<item>/. Returns the path and whether it had to be written.

    Tensors go to safetensors under their own names; those of a list under "0000.up", "0001.down" ..., so that sorted
    names give the list back. Adapter folders and lists of tags are copied. Raises MissingError for a file that holds
    anything but tensors, and OutputError; an earlier file stays until the new one is whole.
    """
    item, source = file.item, file.path
    folder = home / item.name
    target = folder / item.files[0]
    if item.folder:
        config = source.with_name(ADAPTER[1])
        _check_readable(config)
        read_tensors(source)
        copied = [_copy(source, folder / ADAPTER[0]), _copy(config, folder / ADAPTER[1])]
        return folder, any(copied)
    if target.suffix == ".txt":
        return target, _copy(source, target)
    if _read_source(target) == file.sha256:
        return target, False
    tensors = _name_tensors(read_tensors(source), source)
    about = {"source_sha256": file.sha256}  # one entry: safetensors writes several in random order
    _write(target, lambda temporary: save_file(tensors, temporary, metadata=about))
    return target, True


def _candidates(path: Path) -> Iterator[Path]:
    if path.is_dir():
        files = [file for file in sorted(path.rglob("*")) if file.name in PUBLISHED and file.is_file()]
        if not files:
            raise MissingError(
                f"folder {path} holds none of the published files; accepted: {', '.join(PUBLISHED)}; check the path"
            )
        yield from files
    elif not path.exists():
        raise MissingError(f"{path} is not there; accepted: a published file, or a folder to search; check the path")
    elif path.name not in PUBLISHED:
        raise UsageError(
            f"{path.name} is none of the published files; accepted: {', '.join(PUBLISHED)}; "
            f"if it is one under another name, type: coz models convert {path.name} --as ITEM"
        )
    else:
        yield path


def _hash(item: WeightItem, path: Path) -> LocatedFile:
    _check_readable(path)
    return LocatedFile(item, path, file_sha256(path))


def _check_readable(path: Path) -> None:
    try:
        with path.open("rb") as file:
            start = file.read(len(LFS_POINTER))
    except OSError as error:
        raise MissingError(
            f"{path} cannot be read ({error.strerror or error}); accepted: a published file; check the path"
        ) from error
    if start == LFS_POINTER:
        raise MissingError(f"{path} is a Git LFS pointer, not the file; type: git lfs pull (in {path.parent})")


def _choose(candidates: list[LocatedFile]) -> LocatedFile:
    """Return the published file of several of one item. Raises MissingError for none, UsageError for a doubt."""
    item, first = candidates[0].item, candidates[0]
    if item.sha256 is None:
        if len({file.sha256 for file in candidates}) > 1:
            raise UsageError(f"{len(candidates)} different {first.path.name} there; accepted: one; name the file")
        return first
    for file in candidates:
        if file.verified:
            return file
    raise MissingError(
        f"{first.path} is not the published {item.name}: SHA-256 {first.sha256}; accepted: {item.sha256}; "
        f"get it again, or, if you trust it, type: coz models convert {first.path} --as {item.name}"
    )


def _name_tensors(tensors: Any, source: Path) -> dict[str, Tensor]:
    """Return tensors by name, each with memory of its own, as safetensors wants them."""
    if isinstance(tensors, Mapping) and isinstance(tensors.get("model"), Mapping):
        tensors = tensors["model"]  # RAM's file
    if isinstance(tensors, (list, tuple)):
        tensors = {f"{i:04d}.{('up', 'down')[i % 2]}": tensor for i, tensor in enumerate(tensors)}
    if not isinstance(tensors, Mapping) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in tensors.items()
    ):
        raise MissingError(f"{source.name} is no list and no state dict of tensors; get the published file again")
    named: dict[str, Tensor] = {}
    memories: set[int] = set()
    for key, tensor in tensors.items():
        memory = tensor.untyped_storage().data_ptr()
        named[key] = tensor.detach().clone().contiguous() if memory in memories else tensor.detach().contiguous()
        memories.add(memory)
    return named


def _read_source(target: Path) -> str | None:
    """Return the SHA-256 of the file that `target` was converted from, if it is a whole file of ours."""
    try:
        return read_header(target).texts.get("source_sha256")
    except (OSError, ValueError):
        return None


def _copy(source: Path, target: Path) -> bool:
    if target.is_file() and file_sha256(target) == file_sha256(source):
        return False
    _write(target, lambda temporary: shutil.copyfile(source, temporary))
    return True


def _write(target: Path, write: Callable[[Path], object]) -> None:
    """Fill a temporary file by `write`, and put it in place once it is on the disk."""
    make_folder(target.parent)
    try:
        with replacement(target) as file:
            write(Path(file.name))
    except (OSError, SafetensorError) as error:
        raise OutputError(f"cannot write {target} ({error}); name another folder with -o") from error
