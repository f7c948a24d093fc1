"""A session and the layers of a viewer kept in step.

Imports napari, no Qt.
"""
