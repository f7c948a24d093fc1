"""Features on disk."""

from .folder import StoreError, is_store

__all__ = ["StoreError", "is_store"]
