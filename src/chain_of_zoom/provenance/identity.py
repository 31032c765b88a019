"""Who signs: the certificate of the user, or one made on the spot, which says that nobody vouches for it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from chain_of_zoom.errors import MissingError, UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
    from cryptography.x509 import Certificate, Name

CERTIFICATE, KEY = "COZ_C2PA_CERTIFICATE", "COZ_C2PA_KEY"
SELF_SIGNED = "self-signed by Chain-of-Zoom, vouched for by nobody"

_ACCEPTED = (
    f"accepted: {CERTIFICATE} names a PEM file with your certificate and those that vouch for it, and {KEY} one with "
    "its private key (ECDSA, RSA or Ed25519, without password)"
)


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Holds what files are signed with."""

    chain: bytes
    """Certificates in PEM: the signer's, then those that vouch for it."""
    key: bytes
    """Private key in PEM."""
    algorithm: str
    """Name of the signature in C2PA: es256, es384, es512, ps256 or ed25519."""
    serial: str
    """Serial number of the signer's certificate; of a self-signed one it is new every time."""
    is_self_signed: bool
    """Whether the certificate was made on the spot."""


def find_identity() -> Identity:
    """Read the certificate that the environment names, or make one. Raises UsageError, MissingError for the extra."""
    try:
        import c2pa  # noqa: F401
        import cryptography  # noqa: F401
    except ImportError:
        raise MissingError("--c2pa needs the extra c2pa; type: pip install 'chain-of-zoom[c2pa]'") from None
    names = os.environ.get(CERTIFICATE), os.environ.get(KEY)
    if names == (None, None):
        return make_identity()
    if not all(names):
        raise UsageError(f"{KEY if names[0] else CERTIFICATE} is not set; {_ACCEPTED}; set both, or neither")
    return read_identity(*(Path(name or "").expanduser() for name in names))


def read_identity(certificate: Path, key: Path) -> Identity:
    """Read a certificate chain and its key. Raises UsageError, which shows nothing of the key."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from cryptography.x509 import load_pem_x509_certificates

    data: list[bytes] = []
    for path in (certificate, key):
        try:
            data.append(path.read_bytes())
        except (OSError, ValueError) as error:
            raise UsageError(f"{path} cannot be read ({type(error).__name__}); {_ACCEPTED}; check the path") from None
    try:
        signer = load_pem_x509_certificates(data[0])[0]
        private = load_pem_private_key(data[1], None)
        is_pair = signer.public_key() == private.public_key()
    except (ValueError, TypeError, IndexError, UnsupportedAlgorithm) as error:
        raise UsageError(f"certificate or key is no PEM file ({type(error).__name__}); {_ACCEPTED}; check it") from None
    if not is_pair:
        raise UsageError(f"{key} is not the key of the first certificate in {certificate}; {_ACCEPTED}; check both")
    algorithm = _name_algorithm(private)
    return Identity(
        chain=data[0], key=data[1], algorithm=algorithm, serial=str(signer.serial_number), is_self_signed=False
    )


def make_identity() -> Identity:
    """Make a certificate for this run alone, and one that vouches for it, as C2PA wants; the key is kept nowhere."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509 import Name, NameAttribute
    from cryptography.x509.oid import NameOID

    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    root, leaf = (
        Name([NameAttribute(NameOID.COMMON_NAME, SELF_SIGNED), NameAttribute(NameOID.ORGANIZATION_NAME, role)])
        for role in ("Chain-of-Zoom, root of this run", "Chain-of-Zoom, self-signed")
    )
    certificates = [_certify(leaf, keys[1], root, keys[0]), _certify(root, keys[0], root, keys[0])]
    pem = serialization.Encoding.PEM
    return Identity(
        chain=b"".join(certificate.public_bytes(pem) for certificate in certificates),
        key=keys[1].private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
        algorithm="es256",
        serial=str(certificates[0].serial_number),
        is_self_signed=True,
    )


def _certify(
    subject: Name, key: EllipticCurvePrivateKey, issuer: Name, issuer_key: EllipticCurvePrivateKey
) -> Certificate:
    """Make the certificate of a signer, or of the root where subject and issuer are the same."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import ExtendedKeyUsageOID

    is_root = subject == issuer
    uses = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only"), False
    )
    usage = x509.KeyUsage(
        **uses, digital_signature=not is_root, key_cert_sign=is_root, crl_sign=is_root, decipher_only=False
    )
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))  # clocks differ
        .not_valid_after(now + timedelta(days=3650))
        .add_extension(x509.BasicConstraints(ca=is_root, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if not is_root:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def _name_algorithm(key: PrivateKeyTypes) -> str:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "ed25519"
    if isinstance(key, rsa.RSAPrivateKey):
        return "ps256"
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.key_size in (256, 384, 521):
        return {256: "es256", 384: "es384", 521: "es512"}[key.curve.key_size]
    raise UsageError(f"a key that C2PA does not sign with; {_ACCEPTED}; take another certificate")
