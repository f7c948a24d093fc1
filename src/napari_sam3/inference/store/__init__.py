"""Features on disk: the store, and what tells one."""

from .folder import StoreError, is_store

__all__ = ["StoreError", "is_store"]
