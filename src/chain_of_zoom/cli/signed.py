"""`--c2pa`: signed copies of what a command wrote."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from chain_of_zoom.cli.terminal import echo

if TYPE_CHECKING:
    from chain_of_zoom.provenance.identity import Identity


def find_signer(is_signing: bool) -> Identity | None:
    """Find who signs, before the work; None where nothing is to be signed. Raises UsageError and MissingError."""
    if not is_signing:
        return None
    from chain_of_zoom.provenance.signing import prepare_identity  # numbers and certificates, for those who sign

    return prepare_identity()


def write_signed(
    folder: Path, names: Iterable[str], photo: Path, photo_sha256: str, identity: Identity | None, *, show: bool
) -> None:
    """Sign copies of files of a folder, and say where they are; nothing without an identity."""
    if identity is None:
        return
    from chain_of_zoom.provenance.signing import FOLDER, sign_files

    copies = sign_files([folder / Path(name).name for name in names], photo, photo_sha256, identity)
    if show:
        signer = "self-signed: nobody vouches for it" if identity.is_self_signed else "with your certificate"
        echo(f"{folder / FOLDER}  {len(copies)} signed (Content Credentials, {signer})")
