"""Command line, `napari-sam3 COMMAND`.

Each command is a module; only the demo needs a viewer.
"""
