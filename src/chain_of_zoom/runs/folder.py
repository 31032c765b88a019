"""A folder that one process works in at a time and that belongs to one run: claimed, resumed or replaced."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import ClassVar, Generic, Self, TypeVar

import msgspec

from chain_of_zoom.errors import OccupiedError, OutputError
from chain_of_zoom.files import explain_write_errors, make_folder
from chain_of_zoom.runs.lock import lock_folder

Earlier = TypeVar("Earlier")


class WorkFolder(Generic[Earlier]):
    """A folder that this process has locked and that belongs to one run; use it in a `with` statement.

    Every kind of run subclasses it and overrides `parse`, which reads the marker, the file that says whose folder it
    is; a kind whose marker is large overrides `read_earlier` instead. A run is finished when its marker says so and
    every file that the marker lists is there.
    """

    another: ClassVar[str] = "another run"
    """What a folder holds that is not this run's, for messages."""
    target: ClassVar[str] = "folder"
    """What -o names, for messages."""
    marker: ClassVar[str]
    """Name of the file that says whose folder it is."""
    owns: ClassVar[tuple[str, ...]] = ()
    """Patterns of the names that this kind of run gives to its files and folders."""

    path: Path
    """The folder."""
    earlier: Earlier | None
    """What the marker says of the same run, begun before; None for a run that begins."""

    def __init__(self, path: Path, *, force: bool = False) -> None:
        """Make, lock and claim the folder; with `force` what an earlier run has left is removed.

        Raises OutputError when it cannot be written, and OccupiedError when it holds something else or is in use.
        """
        self.path = path
        with explain_write_errors(make_folder(path)):
            self._unlock = lock_folder(self, path)
        try:
            with explain_write_errors(path):
                self.earlier = self.claim(force)
        except BaseException:
            self.close()
            raise

    def parse(self, data: bytes) -> Earlier | None:
        """Read the bytes of the marker; None where they are of a run that never began.

        Raises ValueError or msgspec.DecodeError for bytes that are not of this program.
        """
        raise NotImplementedError

    def difference(self, earlier: Earlier) -> str | None:
        """Describe what makes an earlier run another one than this; empty or None where they are the same."""
        return None

    def claim(self, force: bool) -> Earlier | None:
        """Decide what happens to a folder that may hold something: resumed, refused or replaced.

        The marker is of the same run (`difference` says nothing): it is resumed, and what the marker says is returned.
        It is of another run, or of another program, or absent beside files with our names: OccupiedError. With `force`
        everything of ours is removed, and the run begins anew.
        """
        earlier = self.read_earlier(force)
        if force:
            self.clear(earlier)
            return None
        if earlier is None and not (self.path / self.marker).exists():
            self.refuse_foreign_files()
        if earlier is not None and (difference := self.difference(earlier)):
            same = self.another.partition(" ")[2]
            raise OccupiedError(
                f"{self.path} holds {self.another}: {difference}; accepted: a new folder or the same {same}; "
                f"add --force to replace it, or name another {self.target} with -o"
            )
        return earlier

    def read_earlier(self, force: bool) -> Earlier | None:
        """Read the marker; None where there is none, or, with `force`, none of this program."""
        try:
            return self.parse((self.path / self.marker).read_bytes())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise OutputError(f"cannot read {self.path / self.marker} ({error.strerror or error})") from error
        except (ValueError, msgspec.DecodeError) as error:
            if force:
                return None
            raise OccupiedError(
                f"{self.path / self.marker} is there already and is no record of this program ({error}); "
                f"add --force to replace it, or name another {self.target} with -o"
            ) from error

    def refuse_foreign_files(self) -> None:
        """Raise OccupiedError for a file with a name of this kind of run, where no marker says whose it is."""
        for file in self.find_owned():
            raise OccupiedError(
                f"{file} is there already and no {self.marker} says where it comes from; "
                f"add --force to overwrite it, or name another {self.target} with -o"
            )

    def find_owned(self) -> Iterable[Path]:
        """Yield the files and folders with names of this kind of run, whosever they are."""
        return (file for pattern in self.owns for file in self.path.glob(pattern))

    def clear(self, earlier: Earlier | None) -> None:
        """Remove what an earlier run has left; everything with a name of this kind of run, unless a kind knows more."""
        self.remove([self.marker, *(file.name for file in self.find_owned())])

    def remove(self, names: Iterable[str]) -> None:
        """Remove files and folders directly inside; what a name that leads elsewhere stands for stays."""
        for name in names:
            if name not in ("", "..") and Path(name).name == name:
                remove_path(self.path / name)

    def close(self) -> None:
        """Let other processes have the folder; its files stay. `with` does it at the end of its block."""
        self._unlock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def remove_path(path: Path) -> None:
    """Remove a file, a link or a folder, if it is there. Raises OSError."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def list_changes(
    earlier: Mapping[str, object],
    current: Mapping[str, object],
    wording: str = "{key} is {earlier}, not {current}",
    *,
    ignored: Collection[str] = (),
) -> list[str]:
    """Describe every value that two mappings, which may hold mappings, do not share.

    ignored: keys that may differ, those of inner mappings as "outer.inner".
    """
    old, new = _flatten(earlier), _flatten(current)
    keys = [key for key in {**old, **new} if key not in ignored]
    pairs = [(key, old.get(key, "not set"), new.get(key, "not set")) for key in keys]
    return [wording.format(key=key, earlier=before, current=now) for key, before, now in pairs if before != now]


def _flatten(tables: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in tables.items():
        flat |= _flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat
