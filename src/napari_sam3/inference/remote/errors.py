"""The error of everything that can go wrong between two machines."""

from __future__ import annotations

from sam3.errors import Sam3Error

__all__ = ["RemoteError"]


class RemoteError(Sam3Error, ConnectionError):
    """A server that cannot be reached, refuses the key, or runs another version or model."""
