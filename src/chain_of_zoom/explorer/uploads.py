"""Photos that a page sends: bounded while they arrive, looked at before they are decoded, remembered on request."""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import msgspec

from chain_of_zoom.errors import BadInputError, ChainOfZoomError, UsageError
from chain_of_zoom.explorer.session import ExplorerSession
from chain_of_zoom.explorer.tree import OpenPhoto
from chain_of_zoom.files import make_inner_folder, write_atomic
from chain_of_zoom.imaging.images import Picture, load
from chain_of_zoom.imaging.reading import Reading

UPLOAD_BYTES = 200_000_000
UPLOAD_PIXELS = 100_000_000
AT_ONCE = 2
"""Uploads that are taken in at the same time."""
_PHOTO, _NAME = "photo.upload", "photo.json"


class TooLargeError(BadInputError):
    """An upload of more bytes than are accepted."""


class BusyError(ChainOfZoomError):
    """So much is going on that a request has to be repeated later."""


class Uploads:
    """Takes photos into a session. folder: where they are remembered for the next start; None forgets them."""

    def __init__(self, session: ExplorerSession, folder: Path | None, *, limit: int = UPLOAD_BYTES) -> None:
        self.session = session
        self.folder = folder
        self.limit = limit
        self._running = 0
        reading = session.chain.reading
        limits = replace(
            reading.limits, bytes=min(limit, reading.limits.bytes), pixels=min(UPLOAD_PIXELS, reading.limits.pixels)
        )
        self.reading = replace(reading, limits=limits)

    async def take(self, name: str, announced: int | None, chunks: AsyncIterator[bytes]) -> OpenPhoto:
        """Receive a photo and open it. name: what the page calls it, which names no file here.

        Raises BusyError while AT_ONCE others arrive, TooLargeError as soon as it is too much, and BadInputError.
        """
        if self._running >= AT_ONCE:
            raise BusyError("other photos are arriving; accepted: a few at a time; try again in a moment")
        self._running += 1
        try:
            self._check_bytes(announced or 0)
            return await self._receive(clean_name(name), chunks)
        finally:
            self._running -= 1

    async def _receive(self, name: str, chunks: AsyncIterator[bytes]) -> OpenPhoto:
        with tempfile.TemporaryDirectory(prefix="coz-explore-") as folder:
            path = Path(folder) / "upload"
            count = 0
            with path.open("wb") as file:
                async for chunk in chunks:
                    count += len(chunk)
                    self._check_bytes(count)
                    await asyncio.to_thread(file.write, chunk)
            return await asyncio.to_thread(self._open, path, name)

    def _check_bytes(self, count: int) -> None:
        if count > self.limit:
            raise TooLargeError(
                f"the photo has more than {self.limit // 1_000_000} MB; accepted: up to that; reduce it first"
            )

    def _open(self, path: Path, name: str) -> OpenPhoto:
        photo = self.session.open_photo(_read(path, name, self.reading))
        if self.folder is not None and not (self.folder / photo.id / _PHOTO).exists():
            home = make_inner_folder(self.folder, photo.id)
            write_atomic(home / _PHOTO, path.read_bytes())
            write_atomic(home / _NAME, msgspec.json.encode({"name": name}))
        return photo

    def find(self, photo_id: str) -> OpenPhoto | None:
        """Return a photo of the session, or one that an earlier one remembered; None where there is none.

        photo_id: 32 hexadecimal digits.
        """
        photo = self.session.photos.get(photo_id)
        if photo is None and self.folder is not None and (self.folder / photo_id / _PHOTO).is_file():
            try:
                stored = msgspec.json.decode((self.folder / photo_id / _NAME).read_bytes(), type=dict[str, str])
            except (OSError, msgspec.DecodeError):
                stored = {}
            picture = _read(self.folder / photo_id / _PHOTO, clean_name(stored.get("name", "")), self.reading)
            photo = self.session.open_photo(picture)
        return photo


def _read(path: Path, name: str, reading: Reading) -> Picture:
    """Decode a file under the name that the page gave it. Raises BadInputError, which names no path of this machine."""
    try:
        return replace(load(path, reading), path=Path(name))
    except (BadInputError, UsageError) as error:
        raise BadInputError(str(error).replace(str(path), name).replace(path.name, name)) from None


def clean_name(name: str) -> str:
    """Make a file's name of what a page calls a photo: no folders, nothing that steers, at most 100 characters."""
    cleaned = re.sub(r"[^\w .()+,-]", "_", name.replace("\\", "/").rpartition("/")[2])
    return cleaned.strip(" .")[:100] or "photo"
