"""Weights: their files, names, download, and the embedded model."""
