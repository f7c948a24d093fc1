"""Addresses of servers, such as ``tls://gpu.lab:8786?key=/home/me/gpu.key``."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass, replace
from ipaddress import IPv6Address, ip_address
from pathlib import Path

from .errors import RemoteError

__all__ = ["DEFAULT_PORT", "RemoteAddress", "default_key", "is_own_server", "is_remote"]

DEFAULT_PORT = 8786
_SCHEME = "tls://"
_KEY = "?key="


def is_remote(name: str | os.PathLike[str]) -> bool:
    """Tell whether the name of a model is the address of a server."""
    return "://" in os.fspath(name)


def is_own_server(address: str) -> bool:
    """Tell whether an address names its key, unlike those of other Dask schedulers."""
    return address.startswith(_SCHEME) and _KEY in address


def default_key() -> Path:
    """Return the default file of the key."""
    from platformdirs import user_config_path

    return user_config_path("napari-sam3") / "remote.key"


@dataclass(frozen=True)
class RemoteAddress:
    """Address of a server, and the key for it.

    Parameters
    ----------
    host : str
        Name or IP address.
    port : int
        TCP port.
    key : Path, optional
        File of the key, by default `default_key`.
    """

    host: str
    port: int = DEFAULT_PORT
    key: Path | None = None

    @classmethod
    def parse(cls, name: str | os.PathLike[str]) -> RemoteAddress:
        """Parse ``tls://HOST:PORT?key=FILE``; port and key may be left out.

        Raises
        ------
        RemoteError
            If it is not such an address.
        """
        text = os.fspath(name)
        location, separator, key = text.partition(_KEY)
        host, colon, port = location.removeprefix(_SCHEME).rstrip("/").rpartition(":")
        if not colon or port.endswith("]"):  # no port, or the end of an IPv6 address
            host, port = location.removeprefix(_SCHEME).rstrip("/"), str(DEFAULT_PORT)
        valid = port.isascii() and port.isdecimal() and 0 < int(port) < 1 << 16
        if not text.startswith(_SCHEME) or not valid or not _is_host(host):
            raise RemoteError(
                f"not the address of a server: {text!r}. Expected one such as "
                f"tls://gpu.lab:{DEFAULT_PORT}, since only TLS is spoken. Use the one that "
                "`napari-sam3 serve` prints."
            )
        if separator and not key:
            raise RemoteError(
                f"the address names no key: {text!r}. Expected a file after {_KEY!r}. Add it, or "
                "leave that part out."
            )
        return cls(host, int(port), Path(key).expanduser() if key else None)

    @property
    def url(self) -> str:
        """Address for Dask."""
        host = f"[{self.host}]" if _is_ipv6(self.host) else self.host
        return f"{_SCHEME}{host}:{self.port}"

    @property
    def name(self) -> str:
        """Name of the model, from which `parse` gives this address again."""
        return self.url if self.key is None else f"{self.url}{_KEY}{self.key}"

    @property
    def key_file(self) -> Path:
        """File of the key."""
        return default_key() if self.key is None else self.key

    @property
    def is_any(self) -> bool:
        """Whether it stands for all interfaces, to listen on but not to connect to."""
        try:
            return not self.host or ip_address(self.host.strip("[]")).is_unspecified
        except ValueError:
            return False

    @property
    def reachable(self) -> RemoteAddress:
        """Address for other computers: with the name of this one instead of all interfaces."""
        return replace(self, host=platform.node()) if self.is_any else self

    def __str__(self) -> str:
        return self.url


def _is_host(text: str) -> bool:
    """Tell whether a text is a name, an IPv4 address, or an IPv6 address in brackets."""
    if text.startswith("[") and text.endswith("]"):
        return _is_ipv6(text[1:-1])
    try:
        text.encode("idna")
    except UnicodeError:  # as "gpu..lab"
        return False
    return bool(text) and not set(text) & set("/?#@ :[]")


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True
