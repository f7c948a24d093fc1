"""The dock widget and what it is wired to.

Imports Qt.
"""
