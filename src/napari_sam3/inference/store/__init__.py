"""Features on disk: the store, and a test for one."""

from .folder import StoreError, is_store

__all__ = ["StoreError", "is_store"]
