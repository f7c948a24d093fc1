"""Interactive labelling: `LabelingSession` and its parts.

May import all lower packages except `batch`.
"""
