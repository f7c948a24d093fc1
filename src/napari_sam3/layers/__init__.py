"""Synchronisation of a session with the layers of a viewer.

May import napari, but not Qt.
"""
