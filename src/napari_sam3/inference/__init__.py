"""Questions to the model and its answers; features in memory and on disk.

Imports `core`, `images`, `records`, and torch through `sam3` when first needed.
"""
