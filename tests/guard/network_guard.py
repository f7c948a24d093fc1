"""No connection but to this machine, in this process and, by ``sitecustomize``, in its children.

What is refused is also written to a file, because whoever tried may swallow the refusal.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import sys
from typing import Any

#: Where refusals are written, for the process that runs the tests.
LOG = "NAPARI_SAM3_NETWORK_LOG"
_NAMES = {"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"}
_ADDRESSES = {"socket.connect", "socket.sendto", "socket.sendmsg"}


class NetworkError(RuntimeError):
    """Something reached for another machine."""


def is_local(host: object) -> bool:
    """Whether an address or a name belongs to this machine."""
    if host in (None, "", b"", "localhost", b"localhost", socket.gethostname()):
        return True
    text = host.decode() if isinstance(host, bytes) else str(host)
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event in _NAMES:
        host = arguments[0]
    elif event in _ADDRESSES:
        family, address = arguments[0].family, arguments[1]
        if family not in (socket.AF_INET, socket.AF_INET6) or address is None:
            return  # files of this machine, and what the kernel is asked
        host = address[0]
    else:
        return
    if is_local(host):
        return
    text = f"{event} {host!r}"
    if LOG in os.environ:
        with open(os.environ[LOG], "a", encoding="utf-8") as log:
            log.write(f"{text} in process {os.getpid()}: {' '.join(sys.argv)}\n")
    raise NetworkError(f"{text}: no test may reach another machine")


def install() -> None:
    """Refuse connections in this process from now on; it cannot be undone."""
    sys.addaudithook(_watch)
