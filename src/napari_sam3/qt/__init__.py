"""The dock widget and its parts.

Imports Qt.
"""
