"""Questions and predictions of the model, and image features in memory and on disk.

Imports `core`, `images`, `records`, and torch through `sam3` when first needed.
"""
