"""Label images: where objects are written, edits that can be undone, measures, and files.

Imports `core` and `images`.
"""
