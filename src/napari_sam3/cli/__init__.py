"""`napari-sam3 COMMAND`.

Each command is a module; none but the demo needs a viewer.
"""
