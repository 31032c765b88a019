"""Object stores such as s3://bucket: what is needed is fetched into a folder, and what was made there is sent."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, Self

from chain_of_zoom.errors import BadInputError, MissingError, OutputError, UsageError
from chain_of_zoom.imaging.decode import SUFFIXES

_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+):/+([^/].*)", re.DOTALL)
_PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}


def find_address(path: Path) -> str | None:
    """Return the address that was typed where a path was to be, such as s3://bucket/photo.jpg; None for a path."""
    match = _ADDRESS.fullmatch(path.as_posix())
    return f"{match[1]}://{match[2]}" if match else None


def open_store(address: str) -> tuple[Any, str]:
    """Open the store that an address leads to; return it and the path inside.

    Raises MissingError where the package for such stores is not installed, and UsageError for an unknown kind.
    """
    kind = address.partition("://")[0]
    command = f"pip install {_PACKAGES.get(kind, 'fsspec')}"
    try:
        from fsspec.core import url_to_fs

        store, path = url_to_fs(address)
    except ImportError as error:
        raise MissingError(f"{address} needs {error.name or _PACKAGES.get(kind)}; type: {command}") from error
    except ValueError as error:
        raise UsageError(f"{address} ({error}); accepted: what fsspec opens, such as s3://bucket/name") from error
    store.invalidate_cache()  # listings of before say nothing of now
    return store, path


class StoreMirror:
    """A folder that stands for all stores: s3://bucket/name there is s3/bucket/name in it.

    So paths of one file as seen from another are the same here and there.
    """

    def __init__(self, root: Path | None = None) -> None:
        """Stand for stores in a folder; without one in a new one that goes with this process, or by `clear`."""
        self._home = None if root else tempfile.TemporaryDirectory(prefix="coz-")
        self.root = root or Path(self._home.name if self._home else "").resolve()

    def locate(self, address: str) -> Path:
        """Return where an address lies here. Raises UsageError for one that leads out of its bucket."""
        parts = PurePosixPath(address.replace("://", "/", 1)).parts
        if ".." in parts:
            raise UsageError(f"{address}; accepted: an address without ..; spell it out")
        return self.root.joinpath(*parts)

    def find_address(self, path: Path) -> str | None:
        """Return the address that a path here stands for; None for any other path."""
        if not path.is_relative_to(self.root):
            return None
        kind, *names = path.relative_to(self.root).parts
        return f"{kind}://{'/'.join(names)}"

    def reword(self, text: str) -> str:
        """Name addresses instead of paths here, in a message."""
        return re.sub(rf"{re.escape(str(self.root))}/([a-z0-9+.-]+)/", r"\1://", text)

    def list_pictures(self, address: str, *, recursive: bool) -> list[Path]:
        """List the pictures in a folder of a store, in order of their names; or the one picture that it names.

        They are paths here, where nothing lies yet. Raises BadInputError, MissingError and UsageError.
        """
        store, path = open_store(address)
        kind = address.partition("://")[0]
        with _explain(address, BadInputError):
            if not store.isdir(path):
                return [self.locate(address)]
            names = sorted(store.find(path, maxdepth=None if recursive else 1))
        pictures = [name for name in names if PurePosixPath(name).suffix.lower() in SUFFIXES]
        if not pictures:
            raise BadInputError(f"{address}: no pictures there; accepted: pictures; --recursive looks further down")
        return [self.locate(f"{kind}://{name.lstrip('/')}") for name in pictures]

    def fetch(self, path: Path) -> bool:
        """Fetch one file, unless it is here; whether there is one. Raises OutputError where the store fails."""
        address = self.find_address(path)
        if address is None or path.is_file():
            return path.is_file()
        store, name = open_store(address)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with _explain(address, OutputError):
                store.get_file(name, str(path))
        except FileNotFoundError:
            return False
        return True

    def fetch_folder(self, folder: Path, whole: Collection[str] | None = None) -> set[str]:
        """Fetch what lies directly in a folder of a store; return the names. whole: those of which more than the name.

        By default all of them.
        """
        address = self.find_address(folder)
        assert address, folder
        store, name = open_store(address)
        with _explain(address, OutputError):
            try:
                entries = store.ls(name, detail=True)
            except FileNotFoundError:
                return set()
            folder.mkdir(parents=True, exist_ok=True)
            files = [entry["name"] for entry in entries if entry["type"] == "file"]
            for file in files:
                path = folder / PurePosixPath(file).name
                if whole is None or path.name in whole:
                    store.get_file(file, str(path))
                else:
                    path.touch()
        return {PurePosixPath(file).name for file in files}

    def send(self, path: Path) -> None:
        """Send one file. Raises OutputError."""
        address = self.find_address(path)
        assert address, path
        store, name = open_store(address)
        with _explain(address, OutputError):
            store.put_file(str(path), name)

    def send_folder(self, folder: Path, last: str, earlier: Collection[str] = ()) -> None:
        """Send the files directly in a folder, and `last` after all others, so that it never lists one that is absent.

        earlier: names that were fetched, of which those that are gone here are removed there, too. Raises OutputError.
        """
        names = sorted(path.name for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
        for name in sorted(names, key=lambda file_name: file_name == last):
            self.send(folder / name)
        address = self.find_address(folder)
        assert address, folder
        store, place = open_store(address)
        with _explain(address, OutputError):
            for name in sorted(set(earlier) - set(names)):
                store.rm_file(f"{place}/{name}")

    def clear(self) -> None:
        """Remove the folder."""
        if self._home:
            self._home.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.clear()


@contextmanager
def _explain(address: str, kind: type[BadInputError | OutputError]) -> Iterator[None]:
    """Turn what a store says into an error that names the address."""
    try:
        yield
    except FileNotFoundError:
        raise
    except Exception as error:  # of clients, whose errors have no common class
        raise kind(
            f"{address} ({type(error).__name__}: {' '.join(str(error).split())[:200]}); accepted: what this "
            "machine may reach; check the address and its credentials"
        ) from error
