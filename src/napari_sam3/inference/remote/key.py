"""Key of a server: a certificate and its private key in one file, shared with the clients."""

from __future__ import annotations

import datetime
import os
import stat
from pathlib import Path
from typing import Any

from .errors import RemoteError

__all__ = ["check_installed", "make_key", "read_key"]

_YEARS = 2
_MOST_BYTES = 1 << 16
_NOTE = """\
Key of a `napari-sam3 serve`. Anyone with this file can run programs on the server as its user.
Copy it to the computers that may use the server, readable only by you.
"""


def check_installed() -> None:
    """Raise RemoteError if the libraries of the extra "remote" are missing."""
    try:
        import cryptography  # noqa: F401
        import distributed  # noqa: F401
    except ImportError as error:
        raise RemoteError(
            f"a library for remote models is missing: {error.name}. Expected dask.distributed and "
            'cryptography. Install them with pip install "napari-sam3[remote]".'
        ) from error


def make_key(path: Path) -> None:
    """Write a new key, readable only by its owner.

    Raises
    ------
    RemoteError
        If the file exists already, or cannot be written.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "napari-sam3")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        # Clocks of two machines differ.
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=365 * _YEARS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(private, hashes.SHA256())
    )
    content = _NOTE.encode() + certificate.public_bytes(serialization.Encoding.PEM)
    content += private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Set the mode on creation, so that the file is never readable by others.
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
    except OSError as error:
        raise RemoteError(
            f"the key cannot be written: {path} ({error.strerror or error}). Expected a new file "
            "in a writable folder. Choose another one with --key."
        ) from error


def read_key(path: Path) -> Any:
    """Read a key.

    Returns
    -------
    distributed.Security
        For a scheduler, a worker and a client; only holders of the same key connect.

    Raises
    ------
    RemoteError
        If the file does not exist, is not a key, has expired, or is readable by other users.
    """
    check_installed()
    from distributed import Security

    from sam3.files import read_bounded

    try:
        content = read_bounded(path, _MOST_BYTES)
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        raise RemoteError(
            f"the key cannot be read: {path} ({error.strerror or error}). Expected the file that "
            "`napari-sam3 serve` wrote. Copy it from the server, and give its path."
        ) from error
    if os.name == "posix" and mode & 0o077:
        raise RemoteError(
            f"other users can read the key: {path} (mode {mode:04o}). Expected 0600. Run "
            f'`chmod 600 "{path}"`.'
        )
    _check(path, content)
    file = os.fspath(path.absolute())
    both = {f"tls_{role}_{part}": file for role in _ROLES for part in ("cert", "key")}
    return Security(tls_ca_file=file, require_encryption=True, **both)  # type: ignore[no-untyped-call]


_ROLES = "scheduler", "worker", "client"


def _check(path: Path, content: bytes) -> None:
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    try:
        certificate = x509.load_pem_x509_certificate(content)
        private = serialization.load_pem_private_key(_last_block(content), None)
        matches = certificate.public_key() == private.public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _no_key(path) from error
    if not matches:
        raise _no_key(path)
    end = certificate.not_valid_after_utc
    if datetime.datetime.now(datetime.UTC) > end:
        raise RemoteError(
            f"the key expired on {end:%Y-%m-%d}: {path}. Expected a newer one. Delete it on the "
            "server, start `napari-sam3 serve` again, and copy the new key."
        )


def _last_block(content: bytes) -> bytes:
    return content[content.rfind(b"-----BEGIN ") :] if b"-----BEGIN " in content else b""


def _no_key(path: Path) -> RemoteError:
    return RemoteError(
        f"not a key: {path}. Expected the file that `napari-sam3 serve` wrote. Copy it again."
    )
