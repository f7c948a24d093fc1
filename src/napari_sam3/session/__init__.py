"""Interactive labelling: `LabelingSession` and its parts.

Imports everything below but `batch`.
"""
