"""Records on disk as JSON: operations, journals and session files.

Imports `core`, and `images.identity`.
"""
