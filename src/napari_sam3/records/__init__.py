"""What is kept on disk as JSON: operations, journals, session files.

Imports `core`, and `images.identity`.
"""
