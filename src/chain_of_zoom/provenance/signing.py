"""Signs copies of labelled files, which lie in the folder `signed` beside them.

What a copy claims is what the label inside the file says (`imaging/encode.py`): there is no second account of it. It is
a copy since a signature is never the same twice, and files are to stay what their record says.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from chain_of_zoom.errors import OccupiedError, OutputError, UsageError
from chain_of_zoom.files import explain_write_errors, make_inner_folder, replacement
from chain_of_zoom.imaging.encode import COMPOSITE, FileLabel, encode_png, read_label
from chain_of_zoom.imaging.formats.signatures import name_format
from chain_of_zoom.imaging.metadata import PROGRAM
from chain_of_zoom.provenance.identity import SELF_SIGNED, Identity, find_identity

FOLDER = "signed"
ASSERTION = "chain_of_zoom.label"
TYPES = {
    ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp", ".tif": "image/tiff",
    ".tiff": "image/tiff", ".mp4": "video/mp4",
}  # fmt: skip
_PHOTOS = {"JPEG": "jpeg", "PNG": "png", "WebP": "webp", "TIFF": "tiff", "GIF": "gif", "AVIF": "avif", "HEIF": "heif"}
_SETTINGS = {"builder": {"thumbnail": {"enabled": False}}, "verify": {"remote_manifest_fetch": False}}


def check_signable(file: Path) -> None:
    """Raise UsageError for a file of a kind that cannot hold a signature."""
    if file.suffix.lower() not in TYPES:
        raise UsageError(
            f"--c2pa cannot sign {file.name}; accepted: {', '.join(TYPES)}; leave it out, or name such a file with -o"
        )


def prepare_identity() -> Identity:
    """Find who signs, and try it, so that what is wrong with a certificate shows before the work.

    Raises UsageError for the certificate, MissingError for the extra.
    """
    identity = find_identity()
    if not identity.is_self_signed:
        pixel = encode_png(np.zeros((1, 1, 3), np.uint8))
        manifest = describe(FileLabel(description="", source_type=COMPOSITE), Path("certificate.png"), "", "")
        _write_signed(manifest, (pixel, "pixel.png"), (io.BytesIO(pixel), io.BytesIO()), identity)
    return identity


def sign_files(files: Iterable[Path], photo: Path, photo_sha256: str, identity: Identity) -> list[Path]:
    """Write a signed copy of every file, made from a photo; copies that are right already stay. Returns the copies.

    Raises OutputError when the photo is not there as it was or a copy cannot be written, OccupiedError where a copy's
    name belongs to a file of somebody else, and UsageError for a certificate that C2PA does not accept.
    """
    try:
        data = photo.read_bytes()
    except OSError:
        data = b""
    if hashlib.sha256(data).hexdigest() != photo_sha256:
        raise OutputError(
            f"{photo} is not there as it was when it was zoomed into; accepted: the same file; "
            "put it back, or leave out --c2pa"
        )
    return [_sign_file(file, data, photo.name, identity) for file in files]


def read_manifest(file: Path, *, intact: bool = True) -> dict[str, Any] | None:
    """Return the manifest of a signed file; None for a file without.

    intact: return None as well for a file that was changed since it was signed.
    """
    import c2pa

    context = c2pa.Context(c2pa.Settings.from_dict(_SETTINGS))
    try:
        with file.open("rb") as stream, c2pa.Reader(TYPES[file.suffix.lower()], stream, context=context) as reader:
            is_valid = reader.get_validation_state() in ("Valid", "Trusted")
            manifest: dict[str, Any] | None = reader.get_active_manifest()
            return manifest if is_valid or not intact else None
    except (c2pa.C2paError, OSError):
        return None


def _sign_file(file: Path, photo: bytes, photo_name: str, identity: Identity) -> Path:
    check_signable(file)
    folder = make_inner_folder(file.parent, FOLDER)
    copy = folder / file.name
    with file.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        stream.seek(0)
        if (copy.exists() or copy.is_symlink()) and _is_current(copy, sha256, identity):
            return copy
        label = read_label(stream)
        stream.seek(0)
        with explain_write_errors(copy), replacement(copy) as target:
            manifest = describe(label, file, sha256, hashlib.sha256(photo).hexdigest())
            _write_signed(manifest, (photo, photo_name), (stream, target), identity)
    return copy


def _is_current(copy: Path, sha256: str, identity: Identity) -> bool:
    """Whether a copy is of the file as it is now, and by this signer. Raises OccupiedError for a foreign file."""
    manifest = read_manifest(copy, intact=False) or {}
    labels = [part["data"] for part in manifest.get("assertions", ()) if part["label"] == ASSERTION]
    if not labels:
        raise OccupiedError(f"{copy} is there and was not signed by this program; move it away, or leave out --c2pa")
    signature = manifest["signature_info"]
    is_same_signer = signature.get("cert_serial_number") == identity.serial or (
        identity.is_self_signed and signature.get("common_name") == SELF_SIGNED
    )
    return is_same_signer and labels[0]["file_sha256"] == sha256 and read_manifest(copy) is not None


def describe(label: FileLabel, file: Path, sha256: str, photo_sha256: str) -> dict[str, Any]:
    """Return the manifest of a file: pixels that a model made are created, those of the photo cropped and resized.

    sha256: of the file without its signature, which its record lists. photo_sha256: of the photo it was made from.
    """
    agent = {"name": PROGRAM}
    actions: list[dict[str, Any]]
    if label.source_type:
        created = {"action": "c2pa.created", "digitalSourceType": label.source_type, "description": label.description}
        actions = [{**created, "softwareAgent": agent}]
    else:
        opened = {"action": "c2pa.opened", "parameters": {"ingredientIds": ["photo"]}}
        changes = [{"action": name, "softwareAgent": agent} for name in ("c2pa.cropped", "c2pa.resized")]
        actions = [opened, *changes]
    account = {"description": label.description, "file_sha256": sha256, "photo_sha256": photo_sha256}
    return {
        "claim_generator_info": [agent],
        "title": file.name,
        "format": TYPES[file.suffix.lower()],
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": actions}},
            {"label": ASSERTION, "data": account},
        ],
        "ingredients": [],
    }


def _write_signed(
    manifest: dict[str, Any], photo: tuple[bytes, str], streams: tuple[BinaryIO, BinaryIO], identity: Identity
) -> None:
    """Write the file with its manifest; the photo is an ingredient, with the credentials that it brings itself."""
    import c2pa

    info = c2pa.C2paSignerInfo(identity.algorithm, identity.chain, identity.key, None)  # None: ask no clock on the net
    is_made = "digitalSourceType" in manifest["assertions"][0]["data"]["actions"][0]
    ingredient = {
        "title": photo[1],
        "relationship": "inputTo" if is_made else "parentOf",
        "instance_id": "photo",
        "label": "photo",
    }
    kind = _PHOTOS.get(name_format(photo[0]) or "")
    if kind is None:  # nothing that C2PA reads: only its name is an ingredient, and our own assertion has its hash
        manifest = {**manifest, "ingredients": [{**ingredient, "format": "image/bmp"}]}
    context = c2pa.Context(c2pa.Settings.from_dict(_SETTINGS))
    try:
        with c2pa.Signer.from_info(info) as signer, c2pa.Builder(manifest, context) as builder:
            if kind:
                builder.add_ingredient(ingredient, f"image/{kind}", io.BytesIO(photo[0]))
            builder.sign(signer, manifest["format"], *streams)
    except c2pa.C2paError as error:
        reason = " ".join(str(error).split())[:160]
        raise UsageError(
            f"{manifest['title']} cannot be signed ({reason}); accepted: a certificate for C2PA (docs/provenance.md); "
            "check it, or leave out --c2pa"
        ) from error
