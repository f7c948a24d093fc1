"""Label images: targets for objects, reversible edits, measures, and files.

Imports `core` and `images`.
"""
